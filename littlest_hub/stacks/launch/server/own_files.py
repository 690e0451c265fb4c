"""A directory of a person's, changed file by file, by a program that runs as this person.

The directory belongs to the person, or to whoever works in their name. So no link in it is
followed: a part of a path that is no directory is an obstacle. Each file is its old or its new self
at any moment, and a file that has changed since it was looked at is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.stacks.launch.server.three_way import ABSENT
from littlest_hub.system import locks

OWN = ".littlest-hub"
"""The directory in it that is ours; no file of a repository may have this name."""
_NEW = "new"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_OTHER = "neither a file nor a link"
_LINK = "link "


class ObstacleError(Exception):
    """Something that is no directory, where there has to be one.

    Args:
        path: where.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is no directory")
        self.path = path


class Seen(NamedTuple):
    """A file as it was when somebody looked at it."""

    state: str
    """State of the file, as in `three_way`."""
    identity: tuple[int, ...] = ()
    """Changes with the file."""


class OwnFiles:
    """The directory, open and locked until it is closed.

    Args:
        home: the home directory.
        names: of the directories down to this one, which are made if they do not exist.

    Raises:
        ObstacleError: one of them is a link, or no directory.
        BlockingIOError: another process works in it.
        OSError: it cannot be made.
    """

    def __init__(self, home: Path, *names: str) -> None:
        place = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for number, name in enumerate(names, 1):
            place = _entered(place, name, "/".join(names[:number]))
        self.path = home.joinpath(*names)
        self._root, self._own = place, _entered(place, OWN, OWN)
        if not _is_locked(self._own):
            self.close()
            raise BlockingIOError(errno.EAGAIN, "another server of yours is updating the files")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=self._own)

    def close(self) -> None:
        os.close(self._own)
        os.close(self._root)

    def seen(self, path: str) -> Seen:
        """Return a file as it is.

        Raises:
            ObstacleError: there is none, since something above it is no directory.
            OSError: it cannot be read.
        """
        try:
            with self._parent(path) as (place, name):
                identity = _identity(place, name)
                return Seen(_state(place, name), identity)
        except FileNotFoundError:
            return Seen(ABSENT)

    def write(self, path: str, file: Path, seen: Seen) -> bool:
        """Write a copy of a file or link, unless there is something else now than was seen.

        Args:
            path: the place of the copy.
            file: the file.
            seen: what is there.

        Returns:
            Whether it was written.

        Raises:
            ObstacleError, OSError: it cannot be written.
        """
        with self._parent(path, is_made=True) as (place, name):
            try:
                self._copy(file)
                if _identity_or_none(place, name) != seen.identity:
                    return False
                if seen.state == ABSENT:
                    return self._name(place, name)
                os.rename(_NEW, name, src_dir_fd=self._own, dst_dir_fd=place)
                return True
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(_NEW, dir_fd=self._own)

    def remove(self, path: str, seen: Seen) -> bool:
        """Remove a file, unless there is something else now than was seen."""
        with self._parent(path) as (place, name):
            if _identity_or_none(place, name) != seen.identity:
                return False
            os.unlink(name, dir_fd=place)
            return True

    def remove_empty_above(self, path: str) -> None:
        """Remove the directories above a path that are empty."""
        above = path.split("/")[:-1]
        with contextlib.suppress(OSError, ObstacleError):
            for number in range(len(above), 0, -1):
                with self._parent("/".join(above[:number])) as (place, name):
                    os.rmdir(name, dir_fd=place)

    def flush(self, path: str) -> None:
        """Flush a file to disk: otherwise it may be empty after a power failure."""
        with contextlib.suppress(OSError, ObstacleError), self._parent(path) as (place, name):
            opened = os.open(name, _READ, dir_fd=place)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)

    def own_text(self, name: str) -> str:
        """Return the text of a file of ours; "": there is none that can be read."""
        try:
            with open(os.open(name, _READ, dir_fd=self._own), "rb") as file:
                return file.read().decode()
        except (OSError, ValueError):
            return ""

    def write_own(self, name: str, text: str) -> None:
        """Replace a file of ours; after a power failure, it is the old or the new one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=self._own)
        with open(os.open(_NEW, _WRITE, 0o666, dir_fd=self._own), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.rename(_NEW, name, src_dir_fd=self._own, dst_dir_fd=self._own)

    # --- steps

    @contextlib.contextmanager
    def _parent(self, path: str, *, is_made: bool = False) -> Iterator[tuple[int, str]]:
        """Yield the open directory above a path, and the last name of the path."""
        *above, name = path.split("/")
        with contextlib.ExitStack() as opened:
            place = self._root
            for number, each in enumerate(above, 1):
                if is_made:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(each, dir_fd=place)
                place = _opened(place, each, "/".join(above[:number]))
                opened.callback(os.close, place)
            yield place, name

    def _copy(self, file: Path) -> None:
        """Write a copy of a file or link under our own name."""
        if file.is_symlink():
            os.symlink(target_of(state(file)) or "", _NEW, dir_fd=self._own)
            return
        with open(os.open(file, _READ), "rb") as source:
            # The umask of the person's server takes away what others shall not have.
            is_program = os.fstat(source.fileno()).st_mode & 0o100
            mode = 0o777 if is_program else 0o666
            with open(os.open(_NEW, _WRITE, mode, dir_fd=self._own), "wb") as copy:
                while chunk := source.read(_CHUNK_BYTES):
                    copy.write(chunk)

    def _name(self, place: int, name: str) -> bool:
        """Give the copy its name, unless something has it."""
        try:
            os.link(_NEW, name, src_dir_fd=self._own, dst_dir_fd=place, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            # A file system without hard links.
            os.rename(_NEW, name, src_dir_fd=self._own, dst_dir_fd=place)
        return True


def _is_locked(place: int) -> bool:
    """Lock a directory; return whether no other process has."""
    try:
        return locks.try_lock(place)
    except OSError:  # a file system without locks
        return True


def state(file: Path) -> str:
    """Return the state of a file, as in `three_way`.

    Raises:
        OSError: it cannot be read, or there is none.
    """
    place = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _state(place, file.name)
    finally:
        os.close(place)


def target_of(state: str) -> str | None:
    """Return the target of a link with this state; None: it is no link."""
    return state.removeprefix(_LINK) if state.startswith(_LINK) else None


def _state(place: int, name: str) -> str:
    mode = os.stat(name, dir_fd=place, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        return _LINK + os.readlink(name, dir_fd=place)
    if not stat.S_ISREG(mode):
        return _OTHER
    with open(os.open(name, _READ, dir_fd=place), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entered(place: int, name: str, shown: str) -> int:
    """Return a directory, open, which is made if it does not exist; close the one above it."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=place)
        return _opened(place, name, shown)
    finally:
        if name != OWN:
            os.close(place)


def _opened(place: int, name: str, shown: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=place)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise ObstacleError(shown) from None
        raise


def _identity(place: int, name: str) -> tuple[int, ...]:
    found = os.stat(name, dir_fd=place, follow_symlinks=False)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _identity_or_none(place: int, name: str) -> tuple[int, ...]:
    try:
        return _identity(place, name)
    except FileNotFoundError:
        return ()
