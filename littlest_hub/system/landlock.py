"""Landlock: a process gives up access to files for good, landlock(7). It needs no rights.

Of the network, it can restrict TCP only. It does not prevent connections to sockets of this user's
other programs in the file system.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

# The numbers are the same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
LEAST_VERSION = 2
"""The version from which files may be moved and linked between directories (Linux 5.19)."""
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ACCESSES = {2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All kinds of access that the kernel can take away, by the version that knows them first."""
_TCP_VERSION, _TCP, _CONNECT, _NET_PORT = 4, 0b11, 0b10, 2
"""The version that restricts TCP: to listen and to connect; of rules, the kind for a port."""
_SCOPES_VERSION, _SCOPES = 6, 0b11
"""The version that keeps signals and abstract sockets to processes that are restricted too."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def version() -> int:
    """Return the version of Landlock that this kernel has; 0: it has none, or does not use it."""
    found = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _GET_VERSION)
    return max(0, int(found))


def is_usable() -> bool:
    """Return whether this kernel can restrict a process."""
    return version() >= LEAST_VERSION


def restrict(readable: Iterable[Path], writable: Iterable[Path], port: int = 0) -> bool:
    """Let this process, and all that it starts, use files below some paths only.

    Files that are open already stay so. Paths that do not exist are left out.

    Args:
        readable: what may be read and executed.
        writable: what may be changed, too.
        port: the only TCP port that may be connected to, if this kernel can tell (Linux 6.7), at
            any address; 0: any.

    Returns:
        Whether this kernel can; if not, everything stays as it was.

    Raises:
        OSError: it refuses.
    """
    found = version()
    if found < LEAST_VERSION:
        return False
    handled = _ACCESSES[max(each for each in _ACCESSES if each <= found)]
    tcp = _TCP if port and found >= _TCP_VERSION else 0
    scopes = _SCOPES if found >= _SCOPES_VERSION else 0
    # The kernel takes longer ones, if what it does not know is 0.
    attributes = struct.pack("=3Q", handled, tcp, scopes)
    rules = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for accesses, paths in ((_READ, readable), (handled, writable)):
            for path in paths:
                _permit(rules, path, accesses & handled)
        if tcp:
            _call(_ADD_RULE, rules, _NET_PORT, struct.pack("=2Q", _CONNECT, port), 0)
        if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise _error()
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
    return True


def _permit(rules: int, path: Path, accesses: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            accesses &= _OF_FILES
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", accesses, opened), 0)
    finally:
        os.close(opened)


def _call(number: int, *arguments: int | bytes) -> int:
    words = (each if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments)
    found = int(_libc.syscall(ctypes.c_long(number), *words))
    if found < 0:
        raise _error()
    return found


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"landlock: {os.strerror(number)}")
