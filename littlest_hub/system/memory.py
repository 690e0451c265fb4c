"""The memory of this process, which may contain secrets: prctl(2)."""

from __future__ import annotations

import ctypes
import os

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Keep other processes of the same user from this one's memory, and the kernel from dumping it.

    It ends when the process executes another program; its children that do so are as usual.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
