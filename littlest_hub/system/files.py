"""Files and links that are the old or the new at any moment, never something between."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def write(
    file: Path,
    text: str,
    mode: int = 0o644,
    *,
    is_lasting: bool = True,
    through: Path | None = None,
) -> bool:
    """Have `text` in `file`, by rename, so that a reader finds the old or the new.

    Args:
        file: what to write; directories above it are made.
        text: its content.
        mode: its permissions, whatever the umask and whatever they were.
        is_lasting: whether it has to survive a power failure that follows at once.
        through: directory on the same file system to make it in; None: where it is to be.

    Returns:
        Whether anything changed.
    """
    # Bytes: what is there may be no text at all.
    if file.is_file() and not file.is_symlink() and file.read_bytes() == text.encode():
        return permit(file, mode)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, through) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        permit(temporary, mode)
        if is_lasting:
            _flush(temporary)
    if is_lasting:
        _flush(file.parent)
    return True


def remove(directory: Path) -> None:
    """Have a directory gone with all that is in it, as far as that can be; shutil is a megabyte."""
    if directory.is_symlink():
        return directory.unlink()
    for place, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            path = Path(place, name)
            with contextlib.suppress(OSError):
                (path.rmdir if path.is_dir() and not path.is_symlink() else path.unlink)()
    with contextlib.suppress(OSError):
        directory.rmdir()


def permit(path: Path, mode: int) -> bool:
    """Have `mode` on a file or directory.

    Returns:
        Whether anything changed.
    """
    if stat.S_IMODE(path.stat().st_mode) == mode:
        return False
    path.chmod(mode)
    return True


def link(name: Path, target: Path, *, keep_others: bool = False) -> bool:
    """Have a symlink, replaced in one step.

    Args:
        name: the link.
        target: what it is to hold.
        keep_others: leave alone what stands there and leads elsewhere.

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
def replacing(path: Path, through: Path | None = None) -> Iterator[Path]:
    """A name to make something at, which then replaces `path` in one step.

    Args:
        through: directory of that name; None: that of `path`.
    """
    # Its end is no suffix that anybody loads: traefik reads every .toml, systemd every .service.
    temporary = (through or path.parent) / f".{path.name}.new"
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have a file or a directory on the disk: some file systems rename first and write later."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprint(file: Path) -> object:
    """Return something that differs once a file is replaced, changed, made or removed."""
    try:
        status = file.stat()
    except OSError as error:
        return error.errno
    return status.st_ino, status.st_size, status.st_mtime_ns
