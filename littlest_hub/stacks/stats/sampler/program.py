"""Samples taken at intervals and kept, whatever happens to the hub, the clock, and the disk.

A sample that fails is a gap. What happened is printed once, and is in the status file, which
`doctor` reads.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.service.hub_client import HubClient
from littlest_hub.stacks.stats.sampler.look import Look
from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.recording import Recorder
from littlest_hub.stacks.stats.values import DAY_S, Values

STATUS = "status.json"
_CHECK_S = DAY_S
"""Interval at which old figures are deleted, and the database is examined."""
_AGAIN_S = 3
"""Time that it waits after the first failure; after each further one twice as long."""
_LIMIT_BYTES = 10_000


@dataclass(frozen=True)
class Status:
    """The sampler's report to `doctor`."""

    time_s: int = 0
    """Time of the last try."""
    sampled_s: int = 0
    """Time of the last success; 0: never."""
    every_s: int = 60
    problem: str = ""
    """The reason why the last sample was not taken or kept."""

    @classmethod
    def from_text(cls, text: str) -> Status:
        """Parse the text of a status.

        Raises:
            ValueError, TypeError, KeyError: the text is none.
        """
        found = json.loads(text[:_LIMIT_BYTES])
        numbers = {name: int(found[name]) for name in ("time_s", "sampled_s", "every_s")}
        problem = "".join(each if each.isprintable() else " " for each in str(found["problem"]))
        return cls(**numbers, problem=problem)


class Sampler:
    """Takes samples.

    Args:
        hub: the hub.
        layout: its installation.
        directory: of the database.
    """

    def __init__(self, hub: HubClient, layout: Layout, directory: Path) -> None:
        self._hub, self._layout, self._directory = hub, layout, directory
        self._values = Values()
        self._look: Look | None = None
        self._db: sqlite3.Connection | None = None
        self._last_s: float | None = None
        """Time at which the last sample was kept, on a clock that nobody sets."""
        self._checked_s: float | None = None
        self._status = Status()

    def run(self, is_over: threading.Event) -> None:
        """Sample until the event is set."""
        failed = 0
        while not is_over.is_set():
            began_s = time.monotonic()
            is_kept = self.step(time.time(), began_s)
            failed = 0 if is_kept else failed + 1
            # From the beginning of a sample to that of the next one.
            interval_s = self._values.every_s
            if failed:
                interval_s = min(interval_s, _AGAIN_S * 2 ** min(failed - 1, 10))
            is_over.wait(max(1, interval_s - (time.monotonic() - began_s)))
        self._close()

    def step(self, time_s: float, now_s: float) -> bool:
        """Take one sample and keep it; if that fails, record why, and return False.

        Args:
            time_s: the time, in seconds since the epoch.
            now_s: the same on a clock that nobody sets.
        """
        try:
            self._sample(time_s, now_s)
            problem, sampled_s = "", int(time_s)
        except (LittlestHubError, sqlite3.Error, OSError) as error:
            problem, sampled_s = str(error), self._status.sampled_s
            if isinstance(error, sqlite3.Error):
                problem = f"{database.FILE}: {error}"
                problem += self._after(error)
        if problem and problem != self._status.problem:
            print(f"no sample: {problem}", flush=True)
        elif self._status.problem and not problem:
            print("samples are taken again", flush=True)
        self._status = Status(int(time_s), sampled_s, self._values.every_s, problem)
        self._tell()
        return not problem

    def _sample(self, time_s: float, now_s: float) -> None:
        recorder = self._recorder()
        if self._look is None:
            self._look = Look(self._hub, self._layout, recorder.memo)
        self._values = self._look.values()
        covered_s = float(self._values.every_s)
        if self._last_s is not None:
            covered_s = min(covered_s, now_s - self._last_s)
        counted = self._look.counted
        sample = self._look.sample(time_s, now_s, covered_s)
        try:
            recorder.record(sample)
        except sqlite3.Error:
            self._look.again(counted)
            raise
        self._last_s = now_s
        if self._checked_s is None or now_s > self._checked_s + _CHECK_S:
            self._checked_s = now_s
            recorder.prune(self._values)
            if self._db:
                database.check(self._db)

    def _recorder(self) -> Recorder:
        """Return what writes into the database.

        Raises:
            sqlite3.Error: it cannot be opened.
            LittlestHubError: a later release has written it.
        """
        if self._db is not None and not (self._directory / database.FILE).exists():
            self._close()  # somebody has removed it
        if self._db is None:
            self._db = database.open_to_write(self._directory)
        return Recorder(self._db)

    def _after(self, error: sqlite3.Error) -> str:
        """Close the database, set it aside if it is damaged, and return what was done."""
        self._close()
        if not database.is_damage(error):
            return ""
        try:
            aside = database.set_aside(self._directory)
        except OSError as reason:
            return f"; it cannot be set aside: {reason}"
        return f"; it is {aside.name} now, and another one begins"

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def _tell(self) -> None:
        file = self._directory / STATUS
        temporary = file.with_suffix(".new")
        # Not flushed to the disk: the next one comes in a minute.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(asdict(self._status)))
            temporary.replace(file)
