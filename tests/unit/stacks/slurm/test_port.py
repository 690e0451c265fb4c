"""The API that jobs report to: one port, once, from the job itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import HTTPError

from littlest_hub.hub.spawn_queue import SURVIVES
from littlest_hub.stacks.slurm.port import PortHandler
from littlest_hub.stacks.slurm.spawner import SlurmSpawner
from tests.unit.reports import Request


class Starting(SlurmSpawner):
    """A spawner whose job has been submitted; nothing is written to a database."""

    def __init__(self, token: str) -> None:
        self.api_token = token
        self.reported = asyncio.get_running_loop().create_future()

    def report(self, port: int) -> None:
        assert self.reported
        self.reported.set_result(port)


class Report(Request, PortHandler):
    """A request with a token and a body."""


def status(user: Any, token: str, body: object) -> int:
    report = Report(user, token, body)
    try:
        report.post()
    except HTTPError as error:
        return int(error.status_code)
    return report.status


def user_with(*spawners: Any, states: tuple[Any, ...] = ()) -> Any:
    rows = [SimpleNamespace(state=state) for state in states]
    orm_user = SimpleNamespace(_orm_spawners=rows)
    names = map(str, range(len(spawners)))
    return SimpleNamespace(spawners=dict(zip(names, spawners, strict=True)), orm_user=orm_user)


def in_a_loop(scenario: Callable[[], None]) -> None:
    async def run() -> None:
        scenario()

    asyncio.run(run())


def test_a_job_reports_its_port_once() -> None:
    def scenario() -> None:
        other, spawner = Starting("other"), Starting("own")
        user = user_with(other, spawner)
        assert status(user, "own", {"port": 4321}) == 201
        assert spawner.reported
        assert spawner.reported.result() == 4321
        assert status(user, "own", {"port": 4322}) == 409
        spawner.reported = None
        assert status(user, "own", {"port": 4322}) == 409
        assert other.reported
        assert not other.reported.done()

    in_a_loop(scenario)


@pytest.mark.parametrize(
    "body",
    [
        {"cmd": "changed"},
        {"port": 4321, "cmd": "changed"},
        {"port": "4321"},
        {"port": True},
        {"port": 0},
        {"port": 65536},
        {},
        None,
        [4321],
    ],
)
def test_anything_but_a_port_is_refused(body: object) -> None:
    def scenario() -> None:
        spawner = Starting("own")
        assert status(user_with(spawner), "own", body) == 400
        assert spawner.reported
        assert not spawner.reported.done()

    in_a_loop(scenario)


@pytest.mark.parametrize("token", ["", "another"])
def test_only_the_token_of_the_job_may_report(token: str) -> None:
    def scenario() -> None:
        spawner = Starting("own")
        assert status(user_with(spawner), token, {"port": 4321}) == 403
        assert status(None, token, {"port": 4321}) == 403
        assert status(SimpleNamespace(name="a service"), token, {"port": 4321}) == 403
        assert spawner.reported
        assert not spawner.reported.done()

    in_a_loop(scenario)


def test_a_job_of_the_last_hub_is_asked_to_try_again() -> None:
    states = (None, {SURVIVES: {"job": "31", "api_token": "own"}})
    assert status(user_with(states=states), "own", {"port": 4321}) == 503
    assert status(user_with(states=states), "another", {"port": 4321}) == 403
