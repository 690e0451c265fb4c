"""Files written to a home directory, by a process that has become its owner.

A user controls everything below the home: it may contain links to anywhere, and change at any time.
So root writes nothing there. The files come as a stream in tar's format; a directory appears under
its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from littlest_hub.errors import LittlestHubError

RESTORED = "restored"
"""The directory in the home for everything that is restored."""
UNFINISHED = ".unfinished-"
"""Beginning of the name of a directory that is not complete; the next restore removes it."""


def into_restored(
    stream: IO[bytes], is_whole: Callable[[], bool], home: Path, label: str
) -> dict[str, object]:
    """Write files to a new directory in ~/restored, as its owner.

    Args:
        stream: the files.
        is_whole: is asked at the end whether the stream contains everything.
        home: the home directory.
        label: name of the new directory.

    Returns:
        The new directory as "place".

    Raises:
        LittlestHubError: they cannot be written; nothing of them is left.
    """
    with _restored(home) as directory:
        name = f"{UNFINISHED}{secrets.token_hex(4)}"
        os.mkdir(name, 0o700, dir_fd=directory)
        try:
            extract(stream, _path(directory) / name)
            if not is_whole():
                raise LittlestHubError("the files could not be read to their end")
            final = _unused(directory, label)
            os.rename(name, final, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException as error:
            shutil.rmtree(_path(directory) / name, ignore_errors=True)
            if isinstance(error, OSError):
                raise explained(error) from error
            raise
        return {"place": f"{home}/{RESTORED}/{final}"}


def extract(stream: IO[bytes], target: Path) -> None:
    """Write the files of a stream below a directory, with their times and permissions.

    Raises:
        LittlestHubError: the stream is damaged.
        OSError: a file cannot be written.
    """
    directories: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                parts = member.name.split("/")
                if ".." in parts or member.name.startswith("/"):
                    raise LittlestHubError(f"{member.name!r} leads out of the directory")
                if member.isdir():
                    (target / member.name).mkdir(mode=0o700, exist_ok=True)
                    directories.append(member)
                elif member.isfile() or member.issym():
                    # No programs that act with the rights of their owner.
                    member.mode &= 0o777
                    # A file that is there twice: the later one counts.
                    with contextlib.suppress(FileNotFoundError):
                        (target / member.name).unlink()
                    tar.extract(member, target, set_attrs=True, filter="fully_trusted")
    except tarfile.TarError as error:
        raise LittlestHubError(f"the files could not be read to their end: {error}") from error
    # Last: one may not write to some of them, and writing changes their times.
    for member in reversed(directories):
        path = target / member.name
        path.chmod(member.mode & 0o777)
        os.utime(path, (member.mtime, member.mtime))


def explained(error: OSError) -> LittlestHubError:
    """Return the error for a person whose files could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LittlestHubError(
            "there is not enough room in your home directory; nothing was restored. Remove what you"
            " do not need, or choose a smaller folder"
        )
    return LittlestHubError(f"your home directory cannot be written to: {error.strerror}")


@contextlib.contextmanager
def _restored(home: Path) -> Iterator[int]:
    """Open ~/restored, which is made if it is missing, and remove what was left unfinished there.

    Raises:
        LittlestHubError: it is a link or a file, or another restore goes on.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        place = os.open(home, flags)
    except OSError as error:
        raise explained(error) from error
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(RESTORED, 0o700, dir_fd=place)
        directory = os.open(RESTORED, flags | os.O_NOFOLLOW, dir_fd=place)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise LittlestHubError(
                f"{RESTORED} in your home directory is a link or a file; expected a directory. Give"
                " it another name, then try again"
            ) from error
        raise explained(error) from error
    finally:
        os.close(place)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LittlestHubError("something of yours is being restored right now") from None
        for left in _path(directory).glob(f"{UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield directory
    finally:
        os.close(directory)


def _path(directory: int) -> Path:
    return Path(f"/proc/self/fd/{directory}")


def _unused(directory: int, label: str) -> str:
    taken = {each.name for each in _path(directory).iterdir()}
    names = (label, *(f"{label} ({number})" for number in range(2, 1000)))
    for name in names:
        if name not in taken:
            return name
    raise LittlestHubError(f"{RESTORED} has too many directories of this date; remove some")
