"""What of upstream's wheels the hub environment leaves out, by recipe/left-out.yaml."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from construct.definition import check_entry
from littlest_hub.errors import LittlestHubError

_REQUIRED = {"package": str, "paths": list, "why": str, "proof": str}
_OPTIONAL = {"twin": str}


@dataclass(frozen=True)
class LeftOut:
    """One entry of the list."""

    package: str
    """As conda calls it."""
    paths: tuple[str, ...]
    """Patterns (fnmatch) against paths below site-packages, or below the prefix."""
    why: str
    proof: str
    """The tests that would notice if something needed the files."""
    twin: str = ""
    """Folder below the prefix with the same files: a link to it takes the place of the folder that
    the one pattern names."""


def read(path: Path) -> list[LeftOut]:
    """The list.

    Raises:
        LittlestHubError: an entry that cannot be applied; which, and why.
    """
    return [_entry(path.name, entry) for entry in yaml.safe_load(path.read_text())]


def _entry(file: str, entry: Mapping[str, Any]) -> LeftOut:
    where = f"{file}: {entry.get('package', entry)}"
    check_entry(where, entry, _REQUIRED, _OPTIONAL)
    if entry.get("twin") and not (len(entry["paths"]) == 1 and entry["paths"][0].endswith("/*")):
        raise LittlestHubError(f"{where}: a twin is of one folder: `paths: [FOLDER/*]`")
    return LeftOut(**{**entry, "paths": tuple(entry["paths"])})


class Sieve:
    """Decides about the files of one wheel, and remembers what it was for."""

    def __init__(self, entries: Iterable[LeftOut]) -> None:
        self.entries = tuple(entries)
        self._matched: set[str] = set()
        self._twins: dict[str, list[tuple[str, bytes]]] = {}

    def leaves_out(self, name: str, data: bytes) -> bool:
        """Whether a file is left out, by its path below site-packages or below the prefix."""
        for entry in self.entries:
            for pattern in entry.paths:
                if fnmatchcase(name, pattern):
                    self._matched.add(pattern)
                    if entry.twin:
                        self._twins.setdefault(entry.twin, []).append((name, data))
                    return True
        return False

    def finish(self, tree: Path, site: Path) -> None:
        """Put the links to twins into the laid out wheel; ``site`` is its site-packages.

        Raises:
            LittlestHubError: a pattern that no file matched; a twin that is not one.
        """
        for entry in self.entries:
            for pattern in entry.paths:
                if pattern not in self._matched:
                    raise LittlestHubError(
                        f"no file of {entry.package} matches {pattern}",
                        "upstream has changed: look again what may be left out, and amend"
                        " recipe/left-out.yaml",
                    )
            if entry.twin:
                self._link(entry, tree, site)

    def _link(self, entry: LeftOut, tree: Path, site: Path) -> None:
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
                    "it can no longer be left out: amend recipe/left-out.yaml",
                )
        link = site / folder
        link.symlink_to(os.path.relpath(twin, link.parent))
