"""Starts in waves: no more requests at once than allowed, and none after an interruption."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from littlest_hub.errors import LittlestHubError


class Outcome(StrEnum):
    """The outcome of the start of a member's server."""

    STARTED = "started"
    RUNS = "runs"
    """It ran already."""
    LOCKED = "locked"
    """Its user may not log in, so nothing was asked."""
    GONE = "gone"
    """Its user is a member of the group, and not in the class: removed, or never let in."""
    FAILED = "failed"
    NOT_ASKED = "not asked"
    """Somebody has interrupted the command before its turn."""


@dataclass(frozen=True)
class Result:
    """The outcome for one member."""

    name: str
    outcome: Outcome
    reason: str = ""
    """The reason why the server did not start."""
    duration_s: float = 0


Start = Callable[[str], tuple[Outcome, str]]
"""Starts the server of a person, waits until it runs or has failed, and says why it has failed."""


class Waves:
    """Starts servers of several people.

    Args:
        names: the people.
        at_once: how many servers may start at the same time.
        start: starts one; it is called in a thread.
    """

    def __init__(self, names: Sequence[str], at_once: int, start: Start) -> None:
        self._start = start
        self._left = queue.SimpleQueue[str]()
        for name in names:
            self._left.put(name)
        self._results = queue.SimpleQueue[Result | None]()
        self._is_interrupted = threading.Event()
        # They end with the program: after a second Ctrl-C nobody waits for servers that start.
        self._threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(min(at_once, len(names)))
        ]

    def results(self) -> Iterator[Result]:
        """Start the servers, and yield each result as it comes."""
        working = len(self._threads)
        for thread in self._threads:
            thread.start()
        while working:
            found = self._results.get()
            if found is None:
                working -= 1
            else:
                yield found

    def interrupt(self) -> None:
        """Ask for no more servers; those that start go on."""
        self._is_interrupted.set()

    def _work(self) -> None:
        try:
            while True:
                self._results.put(self._one(self._left.get_nowait()))
        except queue.Empty:
            self._results.put(None)

    def _one(self, name: str) -> Result:
        if self._is_interrupted.is_set():
            return Result(name, Outcome.NOT_ASKED)
        began_s = time.monotonic()
        try:
            outcome, reason = self._start(name)
        except LittlestHubError as error:
            outcome, reason = Outcome.FAILED, error.message
        except Exception as error:
            outcome, reason = Outcome.FAILED, f"{type(error).__name__}: {error}"
        return Result(name, outcome, reason, time.monotonic() - began_s)
