"""Running restores of visitors of the page, one for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from littlest_hub.stacks.backups.page.client import RefusedError

_MOST = 10_000
"""Outcomes that are remembered."""


@dataclass
class Job:
    """A restore, or how it ended."""

    what: str
    """The files that are restored, as people read it."""
    is_running: bool = True
    files: int = 0
    size_bytes: int = 0
    left_out: int = 0
    place: str = ""
    """The directory in which the files are."""
    problem: str = ""

    def told(self, line: dict[str, Any]) -> None:
        """Take up a line of the helper."""
        self.files, self.size_bytes = int(line["files"]), int(line["bytes"])
        self.left_out = int(line["left_out"])


Restore = Callable[[Callable[[dict[str, Any]], object]], Coroutine[Any, Any, dict[str, Any]]]


class Jobs:
    """The last restore of each visitor."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, visitor: str) -> Job | None:
        return self._jobs.get(visitor)

    def forget(self, visitor: str) -> None:
        """Forget how the last one ended."""
        job = self._jobs.get(visitor)
        if job and not job.is_running:
            del self._jobs[visitor]

    async def start(self, visitor: str, what: str, restore: Restore, wait_s: float) -> None:
        """Start a restore, and wait for a moment: most are done by then.

        Args:
            visitor: for whom; if something is being restored for them, nothing is done.
            what: for people.
            restore: does it, and tells of its progress.
            wait_s: the longest time to wait.
        """
        present = self._jobs.get(visitor)
        if present and present.is_running:
            return
        if len(self._jobs) >= _MOST:
            self._jobs = {name: job for name, job in self._jobs.items() if job.is_running}
        job = self._jobs[visitor] = Job(what)
        task = asyncio.create_task(self._run(job, restore))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task], timeout=wait_s)

    async def _run(self, job: Job, restore: Restore) -> None:
        try:
            done = await restore(job.told)
            job.told(done)
            job.place = str(done["place"])
        except RefusedError as error:
            job.problem = str(error)
        except (KeyError, ValueError, TypeError):
            job.problem = "The answer cannot be understood; ask the administrator."
        finally:
            job.is_running = False
