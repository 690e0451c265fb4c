"""Directories of packages that come last on the import path, behind Python's own."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from littlest_hub.system.locks import share


def append_packages(directory: str | Path | None, name: str) -> None:
    """Let this process import from DIRECTORY/NAME; nothing there replaces an earlier package.

    The process shares the lock of the directory until it ends; whoever removes packages tries to
    get that lock first. Files named *.pth are not run, since this is no site directory (Python's
    module site).

    Args:
        directory: sets of packages; None: there are none.
        name: the set to import from.
    """
    if directory is None:
        return
    with contextlib.suppress(OSError):
        # Never closed, so that the lock lasts; execve closes it.
        share(os.open(directory, os.O_RDONLY | os.O_DIRECTORY))
    path = os.path.join(directory, name)  # noqa: PTH118
    if os.path.isdir(path):  # noqa: PTH112
        sys.path.append(path)
