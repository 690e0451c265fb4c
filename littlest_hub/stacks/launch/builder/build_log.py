"""The log of a build: JSON lines in a file that the service shows while it grows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

_MOST_SOURCES = 20
MOST_LINES, LONGEST_LINE = 2000, 500
"""The largest log is a megabyte: uv's lines contain text of strangers."""


class BuildLog:
    """The log of one build, which replaces that of an earlier one.

    Each line has `s`, the seconds since the beginning, and `text`. The last one has `outcome`
    instead: "done" with the `key` of the environment, or "failed" with the `text` of the reason.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._began = time.monotonic()
        self._lines = 0
        self._writing = threading.Lock()
        self._opened: IO[str] | None = None

    def __enter__(self) -> Self:
        # A new file, so that readers of the old one do not see a mixture.
        self._file.unlink(missing_ok=True)
        self._opened = self._file.open("x", encoding="utf-8")
        self._file.chmod(0o644)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opened
        self._opened.close()

    def line(self, text: str) -> None:
        """Add a line for people, unless there are too many."""
        self._lines += 1
        if self._lines < MOST_LINES:
            self._write({"text": _printable(text)})
        elif self._lines == MOST_LINES:
            self._write({"text": "… more lines are left out"})

    def done(self, key: str) -> None:
        """Say that the environment is there."""
        self._write({"outcome": "done", "key": key})

    def failed(
        self, text: str, hint: str | None = None, offer: str = "", sources: Sequence[str] = ()
    ) -> None:
        """Say that there will be no environment.

        Args:
            text: why not.
            hint: what a person can do.
            offer: a date as of which there is a solution; "": there is none.
            sources: packages that would have to be built from their source.
        """
        more = {"hint": hint or "", "offer": offer, "sources": " ".join(sources[:_MOST_SOURCES])}
        given = {name: value for name, value in more.items() if value}
        self._write({"outcome": "failed", "text": _printable(text, LONGEST_LINE * 4), **given})

    def _write(self, record: dict[str, Any]) -> None:
        assert self._opened
        seconds = round(time.monotonic() - self._began, 2)
        # The proxy of code reports from threads of its own.
        with self._writing:
            print(json.dumps({"s": seconds, **record}), file=self._opened, flush=True)


def _printable(text: str, longest: int = LONGEST_LINE) -> str:
    shown = "".join(each if each.isprintable() else " " for each in text.strip())
    return shown if len(shown) <= longest else f"{shown[:longest]}…"
