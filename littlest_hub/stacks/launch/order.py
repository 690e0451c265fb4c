"""An order: everything that decides an environment, and nothing that runs.

The service writes it, and the builder reads it as text of a stranger: the service may be hijacked.
Its id is the SHA-256 of its canonical JSON, so that nobody can order something else under the id
that a person has seen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.environment.contents import LOCK_LIMIT_BYTES, Read
from littlest_hub.stacks.launch.environment.environment_files import Environment
from littlest_hub.stacks.launch.environment.requirements import is_name

LIMIT_BYTES = 2 * LOCK_LIMIT_BYTES
"""Size of the largest order."""
_SOURCE = re.compile(r"[0-9a-f]{40,64}-(?:[0-9a-f]{16}|[0-9a-f]{32})")
_OWNER = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}Z)?")


@dataclass(frozen=True)
class Order:
    """An order to the builder."""

    files: Mapping[str, str] = field(default_factory=dict)
    """The environment's files, as text."""
    code: tuple[str, ...] = ()
    """Reasons why building runs code, which somebody has approved."""
    as_of: str = ""
    """A date: later versions are left out; "": the newest ones are taken."""
    committed: str = ""
    """The date of the commit, for an offer if there is no solution."""
    lock: str = ""
    """The lock that has been made before from these files; "": it is made now."""
    source: str = ""
    """The directory with the repository's files, which code of it needs."""
    built: tuple[str, ...] = ()
    """Packages that somebody has approved to be built from their source."""
    hosts: tuple[str, ...] = ()
    """Hosts besides the usual indexes that code may reach, as somebody has approved."""
    is_online: bool = False
    """Whether code may reach package indexes, and these hosts, as somebody has approved."""
    owner: str = ""
    """Digest of the person whose private repository it is: its log, its result, and what its code
    has made are nobody else's."""

    @property
    def canonical(self) -> str:
        """Its JSON, of which there is one spelling."""
        given = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(given, sort_keys=True, separators=(",", ":"))

    @property
    def id(self) -> str:
        """Its name."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def of_environment(
    environment: Environment,
    read: Read,
    committed: str = "",
    source: str = "",
    built: tuple[str, ...] = (),
) -> Order:
    """Return the order for an environment, in which everything is approved that it asks for.

    Args:
        environment: what a repository asks for.
        read: reads a file of the repository.
        committed: the date of its commit, or "".
        source: the directory of its files.
        built: packages that may be built from their source.

    Raises:
        LittlestHubError: it cannot be built.
    """
    if environment.refused:
        raise LittlestHubError("; ".join(map(str, environment.refused)))
    files = {}
    for file in environment.files:
        data = read(file, LOCK_LIMIT_BYTES)
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        files[file] = data.decode(encoding)
    found = Order(files=files, committed=committed)
    if not environment.code and not built:
        # Nothing of the commit: one that changes a notebook orders the same.
        return found
    return replace(
        found,
        code=tuple(map(str, environment.code)),
        source=source if environment.code else "",
        built=built,
        hosts=environment.hosts,
        is_online=True,
    )


def of_json(text: str, name: str) -> Order:
    """Return the order with this JSON and this id.

    Raises:
        LittlestHubError: it is damaged, or another one.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        found = Order(
            files=_texts(data.pop("files", {})),
            code=tuple(map(str, data.pop("code", ()))),
            as_of=_matching(_DATE, data.pop("as_of", "")),
            committed=_matching(_DATE, data.pop("committed", "")),
            lock=str(data.pop("lock", "")),
            source=_matching(_SOURCE, data.pop("source", "")),
            built=tuple(map(_name, data.pop("built", ()))),
            hosts=tuple(map(str, data.pop("hosts", ()))),
            is_online=data.pop("is_online", False) is True,
            owner=_matching(_OWNER, data.pop("owner", "")),
        )
        if not data and found.canonical == text and found.id == name:
            return found
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    # The message quotes nothing of the text: a hijacked service could have linked any file here.
    raise LittlestHubError(f"this is not the order {name[:64]}")


def _texts(data: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in data.items()}


def _matching(pattern: re.Pattern[str], text: Any) -> str:
    """Return a text that is empty or matches.

    Raises:
        ValueError, TypeError: it is something else.
    """
    if text and not pattern.fullmatch(text):
        raise ValueError
    return str(text)


def _name(text: Any) -> str:
    if not is_name(text):
        raise ValueError
    return str(text)
