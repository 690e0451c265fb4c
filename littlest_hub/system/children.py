"""A child process and its parent: prctl(2)."""

from __future__ import annotations

import ctypes
import signal

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Request SIGTERM, in a child process, for when the parent ends, even if killed (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
