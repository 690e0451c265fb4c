"""Lock files: flock(2), with the holder's process id in the file."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO, TextIO

_MODE = 0o600
"""Every user who can open a file can lock it, even one opened for reading (flock(2))."""


def lock(opened: IO[str] | int) -> None:
    """Lock an open file or directory for this process; wait while another process holds it."""
    fcntl.flock(opened, fcntl.LOCK_EX)


def try_lock(opened: IO[str] | int) -> bool:
    """Lock an open file or directory for this process; return whether no other process holds it."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def share(opened: IO[str] | int, *, is_patient: bool = False) -> bool:
    """Share a lock with other processes; return whether none holds it for itself.

    Args:
        opened: the open file or directory.
        is_patient: wait until none does.
    """
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | (0 if is_patient else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def hold(file: Path, *, is_patient: bool = False, text: str = "") -> TextIO | None:
    """Hold a lock file for as long as the result stays open.

    Args:
        file: the lock file; it is made if it does not exist.
        is_patient: wait until no other process holds it.
        text: what to write into it; "": our process id.

    Returns:
        The open file; None: another process holds it, see `holder`.
    """
    while True:
        held = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE), "a+")
        if os.fstat(held.fileno()).st_mode & 0o077:
            # Made by an earlier release: another user may hold it.
            held.close()
            file.unlink(missing_ok=True)
            continue
        if is_patient:
            lock(held)
        elif not try_lock(held):
            held.close()
            return None
        # Another process may have removed the file after we opened it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(file.stat(), os.fstat(held.fileno())):
                break
        held.close()
    held.truncate(0)
    # The lock is held even if the disk is full.
    with contextlib.suppress(OSError):
        os.write(held.fileno(), (text or f"{os.getpid()}\n").encode())
    return held


def holder(file: Path) -> str:
    """Return what the last holder has written into a lock file, such as its process id."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:  # it was released meanwhile
        return ""
