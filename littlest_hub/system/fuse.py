"""A file system in userspace, mounted by root for a program that has no rights (mount.fuse3(8)).

The program gets the open device: it needs no capability for it, and no program with set-user-ID.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

DEVICE = Path("/dev/fuse")
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
"""Flags of mount(2)."""


def mount_read_only(path: Path, kind: str) -> int:
    """Mount a directory that all users may read, and return its device, which is to be served.

    Args:
        path: the directory.
        kind: of the file system, for people who list mounts.

    Raises:
        OSError: there is no device, or it cannot be mounted.
    """
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    source, type_ = kind.encode(), f"fuse.{kind}".encode()
    if libc.mount(source, os.fsencode(path), type_, flags, options.encode()):
        number = ctypes.get_errno()
        os.close(device)
        raise OSError(number, os.strerror(number), str(path))
    return device


def unmount(path: Path) -> None:
    """End a mount, also one whose program does not answer, or that programs use."""
    words = ["umount", "--internal-only", "--force", "--lazy", str(path)]
    subprocess.run(words, capture_output=True)
