"""Handles on other processes, and their file descriptors: pidfd_open(2) and pidfd_getfd(2)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
from collections.abc import Iterable

# The same number on every architecture; Linux 5.6. Python has no function for it.
_PIDFD_GETFD = 438
_END_S = 1
"""Time in which a killed process ends, unless it waits for a disk that does not answer."""


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


class Process:
    """A handle on a process: unlike its id, it never means another process.

    Args:
        pid: id of the process.

    Raises:
        OSError: there is no such process, no descriptor is free, or the kernel has no such call.
    """

    def __init__(self, pid: int) -> None:
        self._descriptor = -1
        self._descriptor = os.pidfd_open(pid)
        self._ended = select.poll()
        self._ended.register(self._descriptor, select.POLLIN)

    @classmethod
    def find(cls, pid: int) -> Process | None:
        """Return a handle on a process; None: there is none to be had."""
        if pid > 0:
            with contextlib.suppress(OSError):
                return cls(pid)
        return None

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; one that nobody has waited for has."""
        return not self._ended.poll(0)

    def await_end(self, timeout_s: float) -> None:
        """Return when it has ended, or when the time is up."""
        self._ended.poll(timeout_s * 1000)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def kill(pids: Iterable[int]) -> bool:
    """Kill processes, and return when they have ended: whether there were any.

    Until a killed process has ended, it looks as if somebody had started it again.
    """
    ending = []
    for pid in pids:
        handle = Process.find(pid)  # before the signal: the number may soon be another process's
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        ending.append(handle)
    for handle in filter(None, ending):
        handle.await_end(_END_S)
    return bool(ending)
