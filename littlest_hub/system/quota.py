"""The disk quota of a user on a filesystem, quotactl(2)."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import NamedTuple

# quotactl_fd of Linux 5.14, the same number on all architectures: it needs no device file.
_QUOTACTL_FD = 443
_GET_OF_USER = 0x800007 << 8  # QCMD(Q_GETQUOTA, USRQUOTA)
# struct if_dqblk of linux/quota.h; limits in units of 1024 bytes.
_RECORD = struct.Struct("=8QI")
_LIMIT_UNIT_BYTES = 1024


class Quota(NamedTuple):
    """Space that a user has taken on a filesystem, and may take; in bytes."""

    used: int
    limit: int


def of(path: Path, uid: int) -> Quota | None:
    """Return the quota of a user on the filesystem of a path; None: there is none, or no answer.

    Everybody may ask for their own.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    buffer = ctypes.create_string_buffer(_RECORD.size + 8)
    try:
        arguments = (descriptor, ctypes.c_uint(_GET_OF_USER), ctypes.c_uint(uid), buffer)
        failed = ctypes.CDLL(None, use_errno=True).syscall(_QUOTACTL_FD, *arguments)
    finally:
        os.close(descriptor)
    return None if failed else parse(buffer.raw[: _RECORD.size])


def parse(record: bytes) -> Quota | None:
    """Return what the kernel's record says; None: the user has no limit."""
    hard, soft, used, *_ = _RECORD.unpack(record)
    limit = hard or soft
    return Quota(used, limit * _LIMIT_UNIT_BYTES) if limit else None
