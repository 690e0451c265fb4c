"""One query of Slurm for the whole hub, however many servers ask."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.jobs import Phase
from littlest_hub.stacks.slurm.queue import (
    INTERVAL_S,
    MAX_PAUSE_S,
    SPACING_S,
    WAITING_INTERVAL_S,
    JobQueue,
)


class Slurm:
    """Answers queries; counts them."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.jobs: dict[str, str] = {}
        self.queries: list[str] = []
        self.failure: SlurmError | None = None
        self.queue = JobQueue(self.answer, clock=lambda: self.now_s, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)

    async def answer(self, command: Sequence[str]) -> str:
        self.queries.append(command[-1])
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        asked = command[-1].removeprefix("--jobs=").split(",")
        known = [number for number in asked if number in self.jobs]
        if not known:
            raise SlurmError("slurm_load_jobs error: Invalid job id specified", is_silent=False)
        rest = "c1|N/A|N/A|main|1:00:00|None"
        return "".join(f"{number}|{self.jobs[number]}|{rest}\n" for number in known)


@pytest.fixture
def slurm() -> Slurm:
    return Slurm()


def in_a_loop(what: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(what, 30))


def test_many_who_ask_at_once_cause_one_query(slurm: Slurm) -> None:
    async def scenario() -> None:
        slurm.jobs = {str(number): "RUNNING" for number in range(200)}
        for number in slurm.jobs:
            slurm.queue.watch(number)
        jobs = await asyncio.gather(*(slurm.queue.look(number) for number in slurm.jobs))
        assert {job.phase for job in jobs if job} == {Phase.RUNNING}
        assert len(slurm.queries) == 1
        slurm.now_s += INTERVAL_S - 1
        await slurm.queue.look("7")
        assert len(slurm.queries) == 1
        slurm.now_s += 2
        await slurm.queue.look("7")
        assert len(slurm.queries) == 2

    in_a_loop(scenario())


def test_a_job_that_was_submitted_after_the_last_query_causes_another_one(slurm: Slurm) -> None:
    async def scenario() -> None:
        slurm.jobs = {"1": "RUNNING"}
        await slurm.queue.look("1")
        slurm.now_s += 0.1
        slurm.jobs["2"] = "PENDING"
        job = await slurm.queue.look("2")
        assert job
        assert job.phase is Phase.WAITING
        assert slurm.queries == ["--jobs=1", "--jobs=1,2"]

    in_a_loop(scenario())


def test_a_job_that_was_submitted_while_a_query_is_under_way_is_in_the_next_answer(
    slurm: Slurm,
) -> None:
    async def scenario() -> None:
        slurm.jobs = {"1": "RUNNING"}
        first = asyncio.create_task(slurm.queue.look("1"))
        while not slurm.queries:
            await asyncio.sleep(0)
        slurm.now_s += 0.1
        slurm.jobs |= {str(number): "PENDING" for number in range(2, 100)}
        jobs = await asyncio.gather(*(slurm.queue.look(number) for number in slurm.jobs))
        assert all(jobs), "Slurm knows all of them"
        assert await first
        assert len(slurm.queries) == 2

    in_a_loop(scenario())


def test_a_class_that_starts_its_servers_at_once_causes_a_query_each_3_seconds(
    slurm: Slurm,
) -> None:
    async def scenario() -> None:
        looking = []
        for number in map(str, range(200)):
            slurm.jobs[number] = "PENDING"
            looking.append(asyncio.create_task(slurm.queue.look(number)))
            await asyncio.sleep(0)
            slurm.now_s += 0.05  # a submission
        assert all(await asyncio.gather(*looking))
        assert len(slurm.queries) <= 2 + slurm.now_s / WAITING_INTERVAL_S
        slurm.queries.clear()
        begun_s = slurm.now_s
        for _ in range(3):
            await slurm.queue.look("7", age_s=0)
            slurm.now_s += 0.1
        assert slurm.now_s - begun_s < WAITING_INTERVAL_S + 3 * SPACING_S, "the crowd is over"

    in_a_loop(scenario())


def test_a_job_that_has_reported_is_looked_at_only_if_the_last_answer_has_it_waiting(
    slurm: Slurm,
) -> None:
    async def scenario() -> None:
        slurm.jobs = {"1": "PENDING", "2": "RUNNING"}
        for number in slurm.jobs:
            slurm.queue.watch(number)
        await slurm.queue.look("1")
        slurm.now_s += INTERVAL_S - 1
        slurm.jobs["1"] = "RUNNING"
        assert await slurm.queue.look("2", INTERVAL_S, 0)
        assert len(slurm.queries) == 1
        job = await slurm.queue.look("1", INTERVAL_S, 0)
        assert job
        assert job.phase is Phase.RUNNING
        assert len(slurm.queries) == 2

    in_a_loop(scenario())


def test_who_asks_about_a_job_whose_server_ends_meanwhile_does_not_ask_forever(
    slurm: Slurm,
) -> None:
    async def scenario() -> None:
        slurm.jobs = {"1": "RUNNING"}
        await slurm.queue.look("1")
        slurm.now_s += INTERVAL_S + 1
        polling = asyncio.create_task(slurm.queue.look("1"))
        await asyncio.sleep(0)
        slurm.queue.forget("1")
        assert await polling is None
        assert len(slurm.queries) == 1, "squeue without numbers shows the jobs of everybody"

    in_a_loop(scenario())


def test_a_job_that_slurm_has_forgotten_is_none(slurm: Slurm) -> None:
    async def scenario() -> None:
        assert await slurm.queue.look("1") is None
        slurm.jobs = {"2": "RUNNING"}
        slurm.now_s += INTERVAL_S + 1
        assert await slurm.queue.look("2")
        assert await slurm.queue.look("1") is None

    in_a_loop(scenario())


def test_while_slurm_does_not_answer_nothing_is_known_and_the_pauses_grow(slurm: Slurm) -> None:
    async def scenario() -> None:
        slurm.jobs = {"1": "RUNNING"}
        await slurm.queue.look("1")
        slurm.failure = SlurmError("Unable to contact slurm controller", is_silent=True)
        for _ in range(600):
            slurm.now_s += INTERVAL_S + 1
            with pytest.raises(SlurmError, match="Unable to contact"):
                await slurm.queue.look("1")
        seconds = 600 * (INTERVAL_S + 1)
        assert len(slurm.queries) < 10 + seconds / (MAX_PAUSE_S - INTERVAL_S)
        slurm.failure = None
        slurm.now_s += MAX_PAUSE_S
        assert await slurm.queue.look("1"), "it answers again"

    in_a_loop(scenario())


def test_an_answer_that_is_nonsense_is_none(slurm: Slurm) -> None:
    async def scenario() -> None:
        slurm.jobs = {"1": "???"}
        with pytest.raises(SlurmError, match="squeue prints"):
            await slurm.queue.look("1")

    in_a_loop(scenario())


def test_somebody_who_gives_up_does_not_end_the_query_of_others(slurm: Slurm) -> None:
    async def scenario() -> None:
        slurm.jobs = {"1": "RUNNING", "2": "RUNNING"}
        slurm.queue.watch("2")
        impatient = asyncio.create_task(slurm.queue.look("1"))
        patient = asyncio.create_task(slurm.queue.look("2"))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient
        assert impatient.cancelled()

    in_a_loop(scenario())
