"""Files and links that are replaced in one step: a reader finds the old one or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from littlest_hub.errors import LittlestHubError


def why_unwritable(path: Path) -> int:
    """Return the errno of writing to a file or in a directory, access(2); 0: it may be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.access(os.fsencode(path), os.W_OK) else 0


def write(
    file: Path,
    text: str,
    mode: int = 0o644,
    *,
    is_durable: bool = True,
    scratch: Path | None = None,
) -> bool:
    """Write a file, by rename, unless it has this content already.

    Args:
        file: the file; directories above it are made.
        text: its content.
        mode: its permissions, regardless of the umask.
        is_durable: whether it has to survive a power failure right afterwards.
        scratch: directory on the same file system to write it in first; None: that of the file.

    Returns:
        Whether anything changed.
    """
    # Bytes: the present content may not be text.
    if file.is_file() and not file.is_symlink() and file.read_bytes() == text.encode():
        return set_mode(file, mode)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, scratch) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        set_mode(temporary, mode)
        if is_durable:
            _flush(temporary)
    if is_durable:
        _flush(file.parent)
    return True


def remove_tree(directory: Path) -> None:
    """Remove a directory and everything in it, as far as possible; importing shutil costs 1 MB."""
    if directory.is_symlink():
        return directory.unlink()
    for place, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            path = Path(place, name)
            with contextlib.suppress(OSError):
                (path.rmdir if path.is_dir() and not path.is_symlink() else path.unlink)()
    with contextlib.suppress(OSError):
        directory.rmdir()


def set_mode(path: Path, mode: int) -> bool:
    """Set the permissions of a file or directory.

    Returns:
        Whether anything changed.
    """
    if stat.S_IMODE(path.stat().st_mode) == mode:
        return False
    path.chmod(mode)
    return True


def link(name: Path, target: Path, *, keep_others: bool = False) -> bool:
    """Make a symlink, or replace one.

    Args:
        name: the link.
        target: its content.
        keep_others: leave alone a file, or a link with another content.

    Returns:
        Whether anything changed.
    """
    exists = name.is_symlink() or name.exists()
    if exists and (keep_others or (name.is_symlink() and name.readlink() == target)):
        return False
    name.parent.mkdir(parents=True, exist_ok=True)
    with replacing(name) as temporary:
        temporary.symlink_to(target)
    _flush(name.parent)
    return True


@contextlib.contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; what the block makes there then replaces `path` in one step.

    Args:
        path: what to replace.
        scratch: directory of the temporary path; None: that of `path`.
    """
    temporary = _half(path, scratch)
    with naming(path, temporary):
        temporary.unlink(missing_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_half(path: Path) -> None:
    """Remove what `replacing` or `new_file` has left if it was killed."""
    _half(path).unlink(missing_ok=True)


def _half(path: Path, scratch: Path | None = None) -> Path:
    # Not a suffix that is loaded: traefik reads every .toml, systemd every .service.
    return (scratch or path.parent) / f".{path.name}.new"


def refuse_unwritable(file: Path) -> None:
    """Refuse a new file that cannot be made, before the work for its content begins.

    Raises:
        LittlestHubError: a file of that name exists, or there is no such directory.
        OSError: the directory cannot be written to.
    """
    if file.exists() or file.is_symlink():
        raise LittlestHubError(f"{file} exists", "Give another name")
    directory = file.parent
    if not directory.is_dir():
        raise LittlestHubError(f"{file}: there is no directory {directory}", "Make it first")
    if number := why_unwritable(directory):
        raise OSError(number, os.strerror(number), str(file))


@contextlib.contextmanager
def new_file(file: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name when it is complete, and never replaces one.

    Raises:
        LittlestHubError: a file of that name exists, or there is no such directory.
        OSError: it cannot be written; nothing is left of it.
    """
    refuse_unwritable(file)
    temporary = _half(file)
    temporary.unlink(missing_ok=True)
    try:
        with naming(file, temporary):
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as opened:
                os.fchmod(descriptor, 0o600)
                yield opened
                opened.flush()
                os.fsync(descriptor)
        try:
            # Fails if the file exists; rename would replace it.
            file.hardlink_to(temporary)
        except FileExistsError:
            raise LittlestHubError(f"{file} exists by now", "Give another name") from None
        except OSError:  # a file system without links
            temporary.rename(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(file: Path, temporary: Path) -> Iterator[None]:
    """Let an error in the block, such as a full disk, name the file instead of its temporary one.

    Errors of write(2) contain no name at all.
    """
    try:
        yield
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(file)
        raise


def _flush(path: Path) -> None:
    """Flush a file or directory to disk: some file systems rename first and write later."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_file_system(path: Path) -> None:
    """Flush everything on the file system of a path to disk, syncfs(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def fingerprint(file: Path) -> object:
    """Return a value that changes when a file is replaced, changed, made or removed."""
    try:
        status = file.stat()
    except OSError as error:
        return error.errno
    return status.st_ino, status.st_size, status.st_mtime_ns
