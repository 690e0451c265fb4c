"""Progress of a long build: one line on stderr for each step, with its time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """The numbered steps of one stage. Several threads may use it.

    ``with progress.step("openssl 3.5.7"): …`` prints ``[compile 3/9] openssl 3.5.7: 121.4 s`` when
    the block ends. A slow step is also announced when it begins.
    """

    def __init__(self, stage: str, total: int, stream: TextIO | None = None) -> None:
        self.stage = stage
        self.total = total
        self._stream = stream or sys.stderr
        self._done = 0
        self._lock = threading.Lock()

    @contextmanager
    def step(self, what: str, *, announce: bool = False) -> Iterator[list[str]]:
        """Time a block and report it as one more finished step.

        The block may append details, such as a size, to the list that it receives.
        """
        if announce:
            self._print(f"[{self.stage}] {what} …")
        started_s = time.monotonic()
        details: list[str] = []
        yield details
        elapsed_s = time.monotonic() - started_s
        text = ", ".join([*details, f"{elapsed_s:.1f} s"])
        with self._lock:
            self._done += 1
            done = self._done
        self._print(f"[{self.stage} {done}/{self.total}] {what}: {text}")

    def note(self, text: str) -> None:
        """Print a line that is not a step."""
        self._print(f"[{self.stage}] {text}")

    def _print(self, line: str) -> None:
        with self._lock:
            print(line, file=self._stream, flush=True)


def megabytes(size_bytes: int) -> str:
    """Format a size for people."""
    return f"{size_bytes / 1e6:.1f} MB"
