"""The cluster's queue, from one query for all servers of the hub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.jobs import SQUEUE_FORMAT, Job, Phase, parse_squeue

INTERVAL_S = 10
"""The greatest age of an answer about a running job."""
WAITING_INTERVAL_S = 3
"""The greatest age of an answer about a job for which somebody waits."""
SPACING_S = 1
"""The least time between two queries; in a crowd, it grows to `WAITING_INTERVAL_S`."""
MAX_PAUSE_S = 60
"""The longest pause between two tries while the controller does not answer."""
_UNKNOWN_JOB = "Invalid job id"


class JobQueue:
    """The jobs of this hub, as Slurm knows them.

    There is one query at a time for all servers, and at most one in `SPACING_S`. While many people
    start servers, a query waits for more of them: any number of jobs costs Slurm the same.

    Args:
        run: runs a command, as `commands.run`.
        clock: returns seconds, which only increase.
        sleep: waits for so many of them.
    """

    def __init__(
        self,
        run: Callable[[Sequence[str]], Awaitable[str]],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._run, self._clock, self._sleep = run, clock, sleep
        self._numbers: set[str] = set()
        """Jobs of this hub."""
        self._asked: set[str] = set()
        """Those that the last query was about."""
        self._new = 0
        """Number of those that the query before had not been about."""
        self._jobs: dict[str, Job] = {}
        self._asked_at = float("-inf")
        self._failure: SlurmError | None = None
        self._pause_s = 0.0
        self._query: asyncio.Task[None] | None = None

    def watch(self, number: str) -> None:
        """Include a job in the queries."""
        self._numbers.add(number)

    def forget(self, number: str) -> None:
        """Leave a job, whose server has ended, out of the queries."""
        self._numbers.discard(number)
        self._asked.discard(number)
        self._jobs.pop(number, None)

    def last(self, number: str) -> Job | None:
        """Return a job as the last answer had it, however old that is; None: it had not."""
        return self._jobs.get(number)

    async def look(
        self, number: str, age_s: float = INTERVAL_S, waiting_age_s: float | None = None
    ) -> Job | None:
        """Return a job; None: Slurm does not know it any more, or it was forgotten meanwhile.

        Args:
            number: of the job.
            age_s: the greatest age of the answer.
            waiting_age_s: the same if the job does not run in it; None: as `age_s`.

        Raises:
            SlurmError: Slurm does not answer.
        """
        self.watch(number)
        now = self._clock()
        ages_s = (age_s, age_s if waiting_age_s is None else waiting_age_s)
        while number in self._numbers and not self._has_answer(number, now, *ages_s):
            if self._is_pausing():
                break
            await self._refresh()
        if self._failure:
            raise self._failure
        return self._jobs.get(number)

    def _has_answer(self, number: str, now: float, age_s: float, waiting_age_s: float) -> bool:
        """Return whether the last answer is about a job, and young enough."""
        # A job that was submitted after a query had begun is not in its answer.
        if number not in self._asked:
            return False
        job = self._jobs.get(number)
        runs = job is not None and job.phase is Phase.RUNNING
        return self._asked_at >= now - (age_s if runs else waiting_age_s)

    def _is_pausing(self) -> bool:
        """Return whether a query has failed, and it is too early for the next one."""
        is_early = self._clock() < self._asked_at + self._pause_s
        return not self._is_asking() and self._failure is not None and is_early

    def _is_asking(self) -> bool:
        # Not by a callback of the task, which runs later than others may come here.
        return self._query is not None and not self._query.done()

    async def _refresh(self) -> None:
        """Wait for the query that is under way, or for a new one."""
        if not self._is_asking():
            self._query = asyncio.create_task(self._ask())
        assert self._query
        # A caller that is canceled does not cancel the query, which others wait for as well.
        await asyncio.shield(self._query)

    async def _ask(self) -> None:
        spacing_s = min(max(SPACING_S, self._new * SPACING_S), WAITING_INTERVAL_S)
        # Jobs that are submitted meanwhile are in its answer.
        await self._sleep(max(0, self._asked_at + spacing_s - self._clock()))
        numbers = sorted(self._numbers)
        if not numbers:
            return  # without numbers, squeue shows the jobs of everybody
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
        self._new = len({*numbers} - self._asked)
        self._asked_at, self._asked = asked_at, {*numbers}

    def _fail(self, error: SlurmError) -> None:
        self._failure = error
        self._pause_s = min(max(2 * self._pause_s, WAITING_INTERVAL_S), MAX_PAUSE_S)
