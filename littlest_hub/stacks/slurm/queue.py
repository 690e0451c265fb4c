"""The cluster's queue, from one query for all servers of the hub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.jobs import SQUEUE_FORMAT, Job, parse_squeue

INTERVAL_S = 10
"""The greatest age of an answer about a running job."""
WAITING_INTERVAL_S = 3
"""The greatest age of an answer about a job for which somebody waits."""
MAX_PAUSE_S = 60
"""The longest pause between two tries while the controller does not answer."""
_UNKNOWN_JOB = "Invalid job id"


class JobQueue:
    """The jobs of this hub, as Slurm knows them.

    There is one query at a time for all servers, and at most one in `WAITING_INTERVAL_S`.

    Args:
        run: runs a command, as `commands.run`.
        clock: returns seconds, which only increase.
    """

    def __init__(
        self,
        run: Callable[[Sequence[str]], Awaitable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._clock = run, clock
        self._numbers: dict[str, float] = {}
        """Jobs of this hub, and the times from which it has known them."""
        self._jobs: dict[str, Job] = {}
        self._asked_at = float("-inf")
        self._failure: SlurmError | None = None
        self._pause_s = 0.0
        self._query: asyncio.Task[None] | None = None

    def watch(self, number: str) -> None:
        """Include a job in the queries."""
        self._numbers.setdefault(number, self._clock())

    def forget(self, number: str) -> None:
        """Leave a job, whose server has ended, out of the queries."""
        self._numbers.pop(number, None)
        self._jobs.pop(number, None)

    def last(self, number: str) -> Job | None:
        """Return a job as the last answer had it, however old that is; None: it had not."""
        return self._jobs.get(number)

    async def look(self, number: str, age_s: float = INTERVAL_S) -> Job | None:
        """Return a job; None: Slurm does not know it any more.

        Args:
            number: of the job.
            age_s: the greatest age of the answer.

        Raises:
            SlurmError: Slurm does not answer.
        """
        self.watch(number)
        # A job that was submitted after a query had begun is not in its answer.
        needed = max(self._clock() - age_s, self._numbers[number])
        while self._asked_at < needed and not self._is_pausing():
            await self._refresh()
        if self._failure:
            raise self._failure
        return self._jobs.get(number)

    def _is_pausing(self) -> bool:
        """Return whether a query has failed, and it is too early for the next one."""
        is_early = self._clock() < self._asked_at + self._pause_s
        return self._query is None and self._failure is not None and is_early

    async def _refresh(self) -> None:
        """Wait for the query that is under way, or for a new one."""
        if self._query is None:
            self._query = asyncio.create_task(self._ask())
            self._query.add_done_callback(lambda _: setattr(self, "_query", None))
        # A caller that is canceled does not cancel the query, which others wait for as well.
        await asyncio.shield(self._query)

    async def _ask(self) -> None:
        numbers = sorted(self._numbers)
        options = ["--noheader", "--states=all", f"--format={SQUEUE_FORMAT}"]
        asked_at = self._clock()
        try:
            printed = await self._run(["squeue", *options, f"--jobs={','.join(numbers)}"])
            self._jobs = parse_squeue(printed)
            self._failure, self._pause_s = None, 0.0
        except SlurmError as error:
            if not error.is_silent and _UNKNOWN_JOB in str(error):
                # Slurm knows none of the jobs.
                self._jobs, self._failure, self._pause_s = {}, None, 0.0
            else:
                self._fail(error)
        except ValueError as error:
            self._fail(SlurmError(str(error), is_silent=True))
        self._asked_at = asked_at

    def _fail(self, error: SlurmError) -> None:
        self._failure = error
        self._pause_s = min(max(2 * self._pause_s, WAITING_INTERVAL_S), MAX_PAUSE_S)
