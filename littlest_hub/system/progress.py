"""Lines for the user about what a long command is doing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

Progress = Callable[[str], object]
"""A function that shows one line to the user."""


def to_stderr(text: str) -> None:
    """Print a line on standard error; do nothing if the terminal is gone."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
