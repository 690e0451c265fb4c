"""Plain values at the top of the stack's fragment, which root reads without running it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from littlest_hub.layout import Layout
from littlest_hub.manifest import plain_values

STACK = "backups"
FRAGMENT = "56-backups.py"
# A unit of ours sees other directories there, or what is there is gone after a restart.
_VOLATILE = ("/tmp", "/var/tmp", "/dev", "/proc", "/run", "/sys")
_REMOTE = re.compile(r"(sftp|rest|s3):[^\s]+")
_WITH_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")


@dataclass(frozen=True)
class Settings:
    """Values of variables at the top of the fragment; each field is one in lower case."""

    repository: str = "/var/backups/littlest-hub"
    password_file: str = ""
    """A file with the password of a repository that exists; "": none."""
    folders: Sequence[str] = ("/home", "/srv")
    excluded: Sequence[str] = (".cache", "__pycache__", ".local/share/Trash")
    """Patterns of restic, which match anywhere below the folders."""
    databases: Sequence[str] = ("gradebook.db",)
    """Names of SQLite files of which consistent copies are made."""
    daily: int = 14
    weekly: int = 8
    monthly: int = 12
    people_restore: bool = True
    """Whether the page lets people restore their own files."""

    @property
    def is_local(self) -> bool:
        """Whether the repository is a directory of this machine."""
        return self.repository.startswith("/")

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        wrong = [
            (name.upper(), f"found {getattr(self, name)!r}, expected {expected}")
            for name, (is_right, expected) in _EXPECTED.items()
            if not is_right(getattr(self, name))
        ]
        return wrong or [*self._wrong_values()]

    def _wrong_values(self) -> Iterator[tuple[str, str]]:
        yield from self._wrong_repository()
        for each in self.folders:
            if not _is_path(each) or each == "/":
                yield "FOLDERS", f"found {each!r}, expected an absolute path such as /home"
            elif _is_below(each, ("/dev", "/proc", "/run", "/sys")):
                yield "FOLDERS", f"{each} has no files that can be restored"
        for each in self.databases:
            if "/" in each or each in ("", ".", ".."):
                yield "DATABASES", f"found {each!r}, expected the name of a file"
        if not (self.daily or self.weekly or self.monthly):
            yield "DAILY", "DAILY, WEEKLY and MONTHLY are 0: no backup would be kept"

    def _wrong_repository(self) -> Iterator[tuple[str, str]]:
        found = self.repository
        if _WITH_PASSWORD.search(found):
            text = "contains a password; expected it in a file that only root reads"
            yield "REPOSITORY", f"{text}: RESTIC_REPOSITORY=… in state/stacks/backups/variables"
        elif self.is_local:
            if not _is_path(found) or found == "/":
                yield "REPOSITORY", f"found {found!r}, expected an absolute path"
            elif _is_below(found, _VOLATILE):
                yield "REPOSITORY", f"{found}: what is there does not last"
        elif not _REMOTE.fullmatch(found):
            expected = "an absolute path, sftp:USER@HOST:/PATH, rest:https://…, or s3:https://…"
            yield "REPOSITORY", f"found {found!r}, expected {expected}"


def read(layout: Layout) -> Settings:
    """Return the values of the fragment on disk.

    Raises:
        LittlestHubError: there is no such fragment, or a value cannot be used.
    """
    return plain_values.read(layout, FRAGMENT, Settings)


def _is_path(text: str) -> bool:
    return text.startswith("/") and posixpath.normpath(text) == text and text.isprintable()


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 1000


_EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "repository": (_is_text, "a text"),
    "password_file": (lambda value: value == "" or _is_text(value), "a path, or nothing"),
    "folders": (lambda value: _is_list(value) and bool(value), "a list of directories"),
    **dict.fromkeys(("excluded", "databases"), (_is_list, "a list of texts")),
    **dict.fromkeys(("daily", "weekly", "monthly"), (_is_count, "a number from 0 to 1000")),
    "people_restore": (lambda value: type(value) is bool, "True or False"),
}
"""The test of each value, and what it expects, in words."""
