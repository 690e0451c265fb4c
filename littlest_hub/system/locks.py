"""Lock files: flock(2), with the holder's process id as the first line of the file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, TextIO


def try_lock(opened: IO[str]) -> bool:
    """Lock an open file for this process; return whether no other process holds it."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold(file: Path, *, is_patient: bool = False) -> TextIO | None:
    """Hold a lock file for as long as the result stays open, and write our process id into it.

    Args:
        file: the lock file; it is made if it does not exist.
        is_patient: wait until nobody else holds it.

    Returns:
        The open file; None: another process holds it, see `holder`.
    """
    held = file.open("a+")
    if is_patient:
        fcntl.flock(held, fcntl.LOCK_EX)
    elif not try_lock(held):
        held.close()
        return None
    held.truncate(0)
    held.write(f"{os.getpid()}\n")
    held.flush()
    return held


def holder(file: Path) -> str:
    """Return the process id that was last written into a lock file."""
    return file.read_text().strip()
