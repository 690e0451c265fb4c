"""Files of upstream's wheels that the hub environment does not contain (recipe/exclusions.yaml)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from construct import document
from construct.document import Value
from littlest_hub.errors import LittlestHubError


@dataclass(frozen=True)
class Exclusion:
    """One entry of the list."""

    package: str
    """Its name in conda."""
    paths: tuple[str, ...]
    """Patterns (fnmatch) for paths below site-packages, or below the prefix."""
    why: str
    proof: str
    """The tests that would fail if something needed the files."""
    twin: str = ""
    """Folder below the prefix with the same files. A link to it replaces the folder that the only
    pattern names."""


def read(path: Path) -> list[Exclusion]:
    """Return the entries of the list.

    Raises:
        LittlestHubError: an entry is invalid.
    """
    return [_entry(entry) for entry in document.parse(document.read(path), path).items()]


def _entry(entry: Value) -> Exclusion:
    keys = entry.keys(("package", "paths", "why", "proof"), ("twin",))
    paths = keys["paths"].texts()
    twin = keys["twin"].text() if "twin" in keys else ""
    if twin and not (len(paths) == 1 and paths[0].endswith("/*")):
        raise keys["paths"].refuse("one folder for a twin: `paths: [FOLDER/*]`")
    return Exclusion(keys["package"].text(), paths, keys["why"].text(), keys["proof"].text(), twin)


class ExclusionFilter:
    """A filter for the files of one wheel, which records the patterns that have matched."""

    def __init__(self, entries: Iterable[Exclusion]) -> None:
        self.entries = tuple(entries)
        self._matched: set[str] = set()
        self._twins: dict[str, list[tuple[str, bytes]]] = {}

    def matches(self, name: str, data: bytes) -> bool:
        """Return whether to exclude a file, by its path below site-packages or below the prefix."""
        for entry in self.entries:
            for pattern in entry.paths:
                if fnmatchcase(name, pattern):
                    self._matched.add(pattern)
                    if entry.twin:
                        self._twins.setdefault(entry.twin, []).append((name, data))
                    return True
        return False

    def finish(self, tree: Path, site: Path) -> None:
        """Link to twins in the unpacked wheel, whose site-packages is ``site``.

        Raises:
            LittlestHubError: a pattern has matched no file; a twin has other files.
        """
        for entry in self.entries:
            for pattern in entry.paths:
                if pattern not in self._matched:
                    raise LittlestHubError(
                        f"no file of {entry.package} matches {pattern}",
                        "upstream has changed: check again which files can be left out, and amend"
                        " recipe/exclusions.yaml",
                    )
            if entry.twin:
                self._link(entry, tree, site)

    def _link(self, entry: Exclusion, tree: Path, site: Path) -> None:
        folder = PurePosixPath(entry.paths[0]).parent
        twin = tree / entry.twin
        found = {str(path.relative_to(twin)) for path in twin.rglob("*") if path.is_file()}
        left_out = {
            str(PurePosixPath(name).relative_to(folder)): data
            for name, data in self._twins[entry.twin]
        }
        for name, data in left_out.items():
            if name not in found or (twin / name).read_bytes() != data:
                raise LittlestHubError(
                    f"{folder}/{name} of {entry.package} is not as in {entry.twin}",
                    "it can no longer be left out: amend recipe/exclusions.yaml",
                )
        link = site / folder
        link.symlink_to(os.path.relpath(twin, link.parent))
