"""File descriptors of other processes: pidfd_open(2) and pidfd_getfd(2)."""

from __future__ import annotations

import ctypes
import os

# The same number on every architecture; Linux 5.6. Python has no function for it.
_PIDFD_GETFD = 438


def duplicate(pidfd: int, descriptor: int) -> int:
    """Return a duplicate of a file descriptor of another process.

    Raises:
        PermissionError: it requires CAP_SYS_PTRACE; kernel.yama.ptrace_scope=3 forbids it to all.
        OSError: the process has no such descriptor, or the kernel or a container has no such call.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    copy = int(libc.syscall(_PIDFD_GETFD, pidfd, descriptor, 0))
    if copy < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"pidfd_getfd: {os.strerror(number)}")
    os.set_inheritable(copy, False)
    return copy
