"""The gallery: launches that people publish, and administrators show to everybody.

It is one file of the service. A launch is known by what it launches, so the same published twice is
one entry, and a launch counts wherever its link was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.system.files import write

MOST, MOST_OF_PERSON = 500, 20
"""The most entries of all, and of one person."""
LONGEST_TITLE, LONGEST_ABOUT = 80, 300
_FILE = "gallery.json"
_LIMIT_BYTES = 1 << 20
# Nothing about a person's own server: neither its name nor its people, volumes or resources.
_PARTS = ("repository", "ref", "path", "urlpath", "as_of", "built")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A published launch."""

    launch: Mapping[str, str]
    """The fields of its configuration that others launch too."""
    title: str
    about: str
    owner: str
    """The person who has published it."""
    time_s: int
    is_shown: bool = False
    """Whether an administrator has decided that everybody sees it."""
    launches: int = 0

    @property
    def key(self) -> str:
        return key_of(self.launch)

    @property
    def configuration(self) -> Configuration:
        return Configuration(**dict(self.launch))  # type: ignore[arg-type]

    def matches(self, words: Sequence[str]) -> bool:
        """Return whether each word is in its texts."""
        text = " ".join((self.title, self.about, self.owner, self.launch["repository"])).lower()
        return all(word.lower() in text for word in words)


def parts_of(configuration: Configuration) -> dict[str, str]:
    """Return the fields of a configuration by which the gallery knows it."""
    return {name: str(getattr(configuration, name)) for name in _PARTS}


def key_of(launch: Mapping[str, str]) -> str:
    """Return the name of an entry."""
    return hashlib.sha256(json.dumps(launch, sort_keys=True).encode()).hexdigest()[:32]


class Gallery:
    """The entries on disk, for the service alone.

    Args:
        directory: that of the service.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / _FILE

    def entries(self) -> dict[str, Entry]:
        """Return all entries by key, those that are launched most first."""
        found = [*self._read().values()]
        found.sort(key=lambda each: (-each.launches, each.title.lower()))
        return {each.key: each for each in found}

    def publish(self, configuration: Configuration, title: str, about: str, owner: str) -> str:
        """Add a launch, which waits until an administrator shows it, and return its key.

        Raises:
            LittlestHubError: it is there already, the texts are not valid, or there are too many.
        """
        title, about = " ".join(title.split()), " ".join(about.split())
        for text, name, longest in (
            (title, "title", LONGEST_TITLE),
            (about, "description", LONGEST_ABOUT),
        ):
            if len(text) > longest or not text.isprintable():
                raise LittlestHubError(
                    f"the {name} has {len(text)} characters; expected at most {longest}, printable"
                )
        if not title:
            raise LittlestHubError("the title is missing")
        entries = self._read()
        entry = Entry(parts_of(configuration), title, about, owner, int(time.time()))
        if entry.key in entries:
            raise LittlestHubError("this launch is in the gallery, or waits for it, already")
        own = [each for each in entries.values() if each.owner == owner]
        if len(own) >= MOST_OF_PERSON or len(entries) >= MOST:
            raise LittlestHubError(
                f"expected at most {MOST_OF_PERSON} entries of one person, and {MOST} of all"
            )
        self._write({**entries, entry.key: entry})
        return entry.key

    def show(self, key: str) -> None:
        """Let everybody see an entry."""
        entries = self._read()
        if key in entries:
            self._write({**entries, key: replace(entries[key], is_shown=True)})

    def remove(self, key: str) -> None:
        """Remove an entry."""
        self._write({name: each for name, each in self._read().items() if name != key})

    def count(self, configuration: Configuration) -> None:
        """Count a launch, if it is in the gallery."""
        key, entries = key_of(parts_of(configuration)), self._read()
        if key in entries and entries[key].is_shown:
            counted = replace(entries[key], launches=entries[key].launches + 1)
            self._write({**entries, key: counted})

    def _read(self) -> dict[str, Entry]:
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return {}
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            found = [_entry(each) for each in json.loads(text)]
            return {each.key: each for each in found}
        _log.warning("a damaged %s counts as empty", _FILE)
        return {}

    def _write(self, entries: Mapping[str, Entry]) -> None:
        text = json.dumps([asdict(each) for each in entries.values()], indent=1)
        if len(text) > _LIMIT_BYTES:
            raise LittlestHubError("the gallery is full")
        write(self._file, text, 0o600)


def _entry(values: Mapping[str, Any]) -> Entry:
    """Return an entry of the file.

    Raises:
        TypeError, KeyError, ValueError: it is none.
    """
    entry = Entry(**values)
    if sorted(entry.launch) != sorted(_PARTS):
        raise ValueError(entry.launch)
    return entry
