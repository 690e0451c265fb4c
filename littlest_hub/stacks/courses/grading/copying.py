"""Copies of what somebody else may have written: regular files only, and not too much of them.

The source may change while it is copied. So nothing is looked up by a path that its owner could
replace by a link meanwhile.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from littlest_hub.errors import LittlestHubError

_CHUNK = 1 << 20
_MAX_ENTRIES = 10_000
_MAX_DEPTH = 20


class _Limits:
    """The sizes that a copy may still have."""

    def __init__(self, size_bytes: int, mode: int, directory_mode: int) -> None:
        self.size_bytes = self.left_bytes = size_bytes
        self.left_entries = _MAX_ENTRIES
        self.mode, self.directory_mode = mode, directory_mode
        self.left_out: list[str] = []
        self.changed_s = 0.0

    def take(self, name: str, size_bytes: int) -> None:
        self.left_bytes -= size_bytes
        if self.left_bytes < 0:
            most = f"{self.size_bytes >> 20} MB"
            raise LittlestHubError(f"its files have more than {most} together, with {name!r}")


def copy_tree(
    source: Path, target: Path, size_bytes: int, *, mode: int = 0o600, directory_mode: int = 0o700
) -> tuple[list[str], float]:
    """Copy a directory whose owner may be hostile.

    Args:
        source: the directory; it may be a link only if its path is the caller's own.
        target: a directory that does not exist.
        size_bytes: the most that all files may have together.
        mode: permissions of files in the copy.
        directory_mode: the same for directories.

    Returns:
        What was left out, since it is neither a file nor a directory; and when the newest file or
        directory was changed last, as the kernel has recorded it, in seconds since the epoch.

    Raises:
        LittlestHubError: it is too large, or has too many files.
        OSError: it cannot be read.
    """
    limits = _Limits(size_bytes, mode, directory_mode)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(source, flags)
    try:
        _copy(descriptor, target, "", limits, 0)
    finally:
        os.close(descriptor)
    return limits.left_out, limits.changed_s


def _copy(directory: int, target: Path, inside: str, limits: _Limits, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise LittlestHubError(f"{inside!r} is more than {_MAX_DEPTH} directories deep")
    target.mkdir(mode=0o700)
    limits.changed_s = max(limits.changed_s, os.fstat(directory).st_ctime)
    for name in sorted(os.listdir(directory)):
        limits.left_entries -= 1
        if limits.left_entries < 0:
            raise LittlestHubError(f"it has more than {_MAX_ENTRIES} files")
        path = f"{inside}/{name}".lstrip("/")
        # O_NONBLOCK: a pipe that nobody writes to must not hold us up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            opened = os.open(name, flags, dir_fd=directory)
        except OSError:  # a link, a socket, or gone meanwhile
            limits.left_out.append(path)
            continue
        try:
            status = os.fstat(opened)
            if stat.S_ISDIR(status.st_mode):
                _copy(opened, target / name, path, limits, depth + 1)
            elif stat.S_ISREG(status.st_mode):
                limits.changed_s = max(limits.changed_s, status.st_ctime)
                _copy_file(opened, target / name, path, limits)
            else:
                limits.left_out.append(path)
        finally:
            os.close(opened)
    target.chmod(limits.directory_mode)


def _copy_file(opened: int, target: Path, path: str, limits: _Limits) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    copy = os.open(target, flags, 0o600)
    try:
        while data := os.read(opened, _CHUNK):
            limits.take(path, len(data))
            while data:
                data = data[os.write(copy, data) :]
        os.fchmod(copy, limits.mode)
    finally:
        os.close(copy)
