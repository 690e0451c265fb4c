"""Consistent copies of SQLite databases that are in use, such as gradebooks.

They belong to users, who could put a link or a pipe in the place of any file, lock a database, or
make it as large as they like. So a file is found without following links, and copied by a process
of its own, with limits of time and size. A copy counts only if SQLite has opened that very file,
and no file of another directory besides.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.presentation import plain

OF_AN_OWNER_S = 600
"""Time that the databases of one owner may take together; those of others get their turn."""
_HEADER = b"SQLite format 3\0"
_BUSY_S = 30
_PAGES = 1000
"""Number of pages that are copied before others may write."""
_DEEPEST = 100
"""Directories below a folder; deeper ones have no database that counts. Each is an open file."""
_MOST_PROBLEMS = 20
_BESIDE = ("", "-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite opens for a database."""


def copy_all(
    folders: Sequence[str], names: Sequence[str], target: Path, of_an_owner_s: float = OF_AN_OWNER_S
) -> tuple[int, list[str]]:
    """Copy the databases of given names below folders; copies of earlier runs are removed.

    Args:
        folders: absolute paths, without links.
        names: names of files.
        target: the directory of the copies, in which they have their whole paths.
        of_an_owner_s: time that those of one owner may take.

    Returns:
        How many were copied, and why others were not.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700, parents=True)
    number = 0
    problems: list[str] = []
    left_s: dict[int, float] = {}
    for found, opened in _found(folders, frozenset(names)):
        owner, began = os.fstat(opened).st_uid, time.monotonic()
        left = left_s.get(owner, of_an_owner_s)
        problem = _copied_apart(found, opened, target / found.relative_to("/"), left)
        left_s[owner] = left - (time.monotonic() - began)
        if not problem:
            number += 1
        elif len(problems) < _MOST_PROBLEMS:
            problems.append(f"{plain(str(found))}: {plain(problem)}")
    return number, problems


def _found(folders: Sequence[str], names: frozenset[str]) -> Iterator[tuple[Path, int]]:
    """Yield databases, and a descriptor of each."""
    for folder in folders:
        deepest = folder.count("/") + _DEEPEST
        for place, inside, files, descriptor in os.fwalk(folder, follow_symlinks=False):
            if place.count("/") >= deepest:
                inside.clear()
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


def _copied_apart(path: Path, opened: int, copied: Path, left_s: float) -> str:
    """Copy a database in a child; return why it was not copied, or ""."""
    if left_s <= 0:
        return "the databases of its owner have taken too long"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _copy_as_child(path, opened, copied, left_s, writing)
    os.close(writing)
    with open(reading, "rb") as answer:
        problem = answer.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        is_late = os.WTERMSIG(status) == signal.SIGALRM
        problem = "it took too long" if is_late else "it cannot be read"
    if problem:
        with contextlib.suppress(OSError):  # its path may be too long to exist
            copied.unlink()
    return problem


def _copy_as_child(path: Path, opened: int, copied: Path, left_s: float, writing: int) -> None:
    """Copy a database, send why that has failed, and end."""
    problem = "it cannot be read"
    try:
        # SQLite waits for a pipe and for locks, and no exception of Python's interrupts it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, left_s)
        copied.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _limit_size(opened, copied.parent)
        _copy(path, opened, copied)
        problem = ""
    except Exception as error:
        problem = str(error) or problem
    finally:
        with contextlib.suppress(OSError):
            os.write(writing, problem.encode(errors="replace")[:500])
        os._exit(0)


def _limit_size(opened: int, directory: Path) -> None:
    """Leave half of the free disk to others, however large a database is, or becomes.

    Raises:
        LittlestHubError: it is larger already.
    """
    free = os.statvfs(directory)
    most = free.f_bavail * free.f_frsize // 2
    if os.fstat(opened).st_size > most:
        raise LittlestHubError("its copy would take more than half of the disk that is left")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _copy(path: Path, opened: int, copied: Path) -> None:
    """Copy a database with SQLite's backup interface, which waits for its writers.

    Raises:
        LittlestHubError: another file is at the path by now, or beside it.
        sqlite3.Error: it cannot be copied.
    """
    before, known = _descriptors_of(opened), _descriptors()
    uri = f"file:{quote(os.fsencode(path))}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as source:
        source.execute("PRAGMA schema_version").fetchone()
        if not _descriptors_of(opened) - before:
            raise LittlestHubError("it was replaced while it was opened")
        _refuse_elsewhere(path, known)
        with contextlib.closing(sqlite3.connect(copied)) as target:
            source.backup(target, pages=_PAGES)
        _refuse_elsewhere(path, known)
    copied.chmod(0o600)


def _refuse_elsewhere(path: Path, known: set[int]) -> None:
    """Refuse a database of which another directory's files were opened: a log of somebody else's.

    Args:
        path: of the database.
        known: descriptors that have nothing to do with it.

    Raises:
        LittlestHubError: there is such a file.
    """
    expected = {f"{path}{suffix}" for suffix in _BESIDE}
    for each in _descriptors() - known:
        with contextlib.suppress(FileNotFoundError):
            # The kernel's own path, whatever links have led there.
            leads_to = str(Path(f"/proc/self/fd/{each}").readlink())
            if leads_to.removesuffix(" (deleted)") not in expected:
                raise LittlestHubError("its directory was replaced while it was opened")


def _descriptors() -> set[int]:
    listed = [*Path("/proc/self/fd").iterdir()]
    # The directory's own is closed by now; SQLite may get its number.
    return {int(each.name) for each in listed if each.is_symlink()}


def _descriptors_of(opened: int) -> set[int]:
    """Return the descriptors of this process that are of the same file."""
    wanted = os.fstat(opened)
    return {each for each in _descriptors() if _is(each, wanted)}


def _is(descriptor: int, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), wanted)
    except OSError:
        return False
