"""Consistent copies of SQLite databases that are in use, such as gradebooks.

They belong to users, who could put a link in their place. So a file is found without following
links, and copied only if SQLite has opened that very file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from littlest_hub.errors import LittlestHubError

_HEADER = b"SQLite format 3\0"
_BUSY_S = 30
_PAGES = 1000
"""Number of pages that are copied before others may write."""


def copy_all(folders: Sequence[str], names: Sequence[str], target: Path) -> tuple[int, list[str]]:
    """Copy the databases of given names below folders; copies of earlier runs are removed.

    Args:
        folders: absolute paths.
        names: names of files.
        target: the directory of the copies, in which they have their whole paths.

    Returns:
        How many were copied, and why others were not.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700, parents=True)
    number, problems = 0, []
    for found, opened in _found(folders, frozenset(names)):
        copied = target / found.relative_to("/")
        copied.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _copy(found, opened, copied)
            number += 1
        except (sqlite3.Error, OSError, LittlestHubError) as error:
            copied.unlink(missing_ok=True)
            problems.append(f"{found}: {error}")
    return number, problems


def _found(folders: Sequence[str], names: frozenset[str]) -> Iterator[tuple[Path, int]]:
    """Yield databases, and a descriptor of each."""
    for folder in folders:
        for place, _, files, descriptor in os.fwalk(folder, follow_symlinks=False):
            for name in names.intersection(files):
                with contextlib.suppress(OSError), _opened(name, descriptor) as opened:
                    if os.pread(opened, len(_HEADER), 0) == _HEADER:
                        yield Path(place, name), opened


@contextlib.contextmanager
def _opened(name: str, directory: int) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{name} is no regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _copy(path: Path, opened: int, copied: Path) -> None:
    """Copy a database with SQLite's backup interface, which waits for its writers.

    Raises:
        LittlestHubError: another file is at the path by now.
        sqlite3.Error: it cannot be copied.
    """
    before = _descriptors_of(opened)
    uri = f"file:{quote(str(path))}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as source:
        source.execute("PRAGMA schema_version").fetchone()
        if not _descriptors_of(opened) - before:
            raise LittlestHubError("it was replaced while it was opened")
        with contextlib.closing(sqlite3.connect(copied)) as target:
            source.backup(target, pages=_PAGES)
    copied.chmod(0o600)


def _descriptors_of(opened: int) -> set[int]:
    """Return the descriptors of this process that are of the same file."""
    wanted = os.fstat(opened)
    found = (int(each.name) for each in Path("/proc/self/fd").iterdir())
    return {each for each in found if _is(each, wanted)}


def _is(descriptor: int, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), wanted)
    except OSError:
        return False
