"""What a long build says while it runs: one line on stderr when a step is done, with its time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Numbered steps of one stage; safe to use from several threads.

    ``with progress.step("openssl 3.5.7"): …`` prints ``[compile 3/9] openssl 3.5.7: 121.4 s`` when
    the block ends. A step that starts anything slow is also announced when it begins.
    """

    def __init__(self, stage: str, total: int, stream: TextIO | None = None) -> None:
        self.stage = stage
        self.total = total
        self._stream = stream or sys.stderr
        self._done = 0
        self._lock = threading.Lock()

    @contextmanager
    def step(self, what: str, *, announce: bool = False) -> Iterator[list[str]]:
        """Time a block and report it as one more step done.

        The block may append to what it is given, to say how much it did.
        """
        if announce:
            self._say(f"[{self.stage}] {what} …")
        started_s = time.monotonic()
        amounts: list[str] = []
        yield amounts
        elapsed_s = time.monotonic() - started_s
        said = ", ".join([*amounts, f"{elapsed_s:.1f} s"])
        with self._lock:
            self._done += 1
            done = self._done
        self._say(f"[{self.stage} {done}/{self.total}] {what}: {said}")

    def note(self, text: str) -> None:
        """One line that is no step."""
        self._say(f"[{self.stage}] {text}")

    def _say(self, line: str) -> None:
        with self._lock:
            print(line, file=self._stream, flush=True)


def megabytes(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 1e6:.1f} MB"
