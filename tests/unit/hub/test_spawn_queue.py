"""Who starts when many want to, and what the others hear meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from jupyterhub import orm
from tornado.web import Finish

from littlest_hub.hub import spawn_queue
from littlest_hub.hub.spawn_queue import (
    FORGOTTEN_S,
    LONGEST_S,
    Left,
    Place,
    Queue,
    forget_left,
    take_left,
    told,
)
from tests.unit.hub.test_spawner import make

pytestmark = pytest.mark.unit


def started(places: list[Place]) -> list[int]:
    return [number for number, place in enumerate(places) if place.turn.is_set()]


def crowd(queue: Queue, number: int, limit: int) -> list[Place]:
    return [queue.join(f"person{each}", "", limit) for each in range(number)]


def in_a_loop(what: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(what, 30))


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    monkeypatch.setattr(spawn_queue, "QUEUE", queue)
    monkeypatch.setattr(spawn_queue, "TOLD_S", 0.01)
    return queue


def test_as_many_start_as_may_and_the_others_follow_in_order() -> None:
    async def scenario() -> None:
        places = crowd(Queue(), 5, limit=2)
        assert started(places) == [0, 1]
        places[1].leave()
        assert started(places) == [0, 1, 2]
        places[1].leave()  # again
        assert started(places) == [0, 1, 2]
        places[0].leave()
        places[2].leave()
        assert started(places) == [0, 1, 2, 3, 4]

    in_a_loop(scenario())


def test_without_a_limit_nobody_waits() -> None:
    async def scenario() -> None:
        assert started(crowd(Queue(), 50, limit=0)) == list(range(50))

    in_a_loop(scenario())


def test_who_leaves_the_queue_lets_those_behind_move_up() -> None:
    async def scenario() -> None:
        queue = Queue()
        places = crowd(queue, 4, limit=1)
        places[1].leave()
        assert not places[1].is_waiting
        assert [queue.waiting.index(place) for place in places[2:]] == [0, 1]
        places[0].leave()
        assert started(places) == [0, 2]

    in_a_loop(scenario())


def test_a_server_that_does_not_come_up_keeps_nobody_waiting_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert LONGEST_S < 60  # JupyterHub's start_timeout
    monkeypatch.setattr(spawn_queue, "LONGEST_S", 0.01)

    async def scenario() -> None:
        places = crowd(Queue(), 3, limit=1)
        await places[2].turn.wait()
        assert started(places) == [0, 1, 2]

    in_a_loop(scenario())


def test_nobody_starts_while_the_hub_does_nor_when_it_is_to_end() -> None:
    async def scenario() -> None:
        queue = Queue()
        queue.hold()
        places = crowd(queue, 3, limit=1)
        assert started(places) == []
        queue.go_on()
        assert started(places) == [0]
        queue.end()
        places[0].leave()
        assert started(places) == [0]
        assert [place.is_waiting for place in places] == [False, True, True]

    in_a_loop(scenario())


def test_who_waited_at_the_hub_before_waits_before_those_who_came_since() -> None:
    async def scenario() -> None:
        queue = Queue()
        queue.hold()
        queue.expect(Left(200.0, "bob", ""))
        queue.expect(Left(100.0, "alice", "lab"))
        new, bob = queue.join("alice", "", 1), queue.join("bob", "", 1)
        alice = queue.join("alice", "lab", 1)
        assert queue.waiting == [alice, bob, new]
        # Once: whoever stops it and starts it again queues again.
        assert queue.join("bob", "", 1).since > new.since

    in_a_loop(scenario())


def test_a_clock_that_is_set_back_lets_nobody_overtake(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        queue = Queue()
        queue.hold()
        first = queue.join("first", "", 1)
        monkeypatch.setattr(time, "time", lambda: first.since - 3600)
        assert queue.waiting == [first, queue.join("second", "", 1)]

    in_a_loop(scenario())


def test_a_place_that_nobody_comes_for_is_kept_no_longer() -> None:
    async def scenario() -> None:
        queue, left = Queue(), Left(100.0, "alice", "")
        queue.expect(left)
        assert queue.expect_no_more(left)
        assert queue.join("alice", "", 1).since > left.since
        queue.expect(left)
        queue.join("alice", "", 1)
        assert not queue.expect_no_more(left)

    in_a_loop(scenario())


def test_a_page_hears_how_many_are_before_it_whenever_that_changes(queue: Queue) -> None:
    async def scenario() -> None:
        places = crowd(queue, 4, limit=1)
        heard: list[int] = []

        async def listen() -> None:
            async for ahead in places[3].ahead():
                heard.append(ahead)

        listening = asyncio.ensure_future(listen())
        for place in places[:3]:
            await asyncio.sleep(0.05)
            place.leave()
        await listening
        assert heard == [2, 1, 0]

    in_a_loop(scenario())


@pytest.mark.parametrize(
    ("ahead", "words"), [(0, "yours is next"), (1, "1 person before"), (12, "12 people before")]
)
def test_the_page_says_it_in_words(ahead: int, words: str) -> None:
    assert words in told(ahead)


# --- a spawner in the queue


def test_the_hook_of_the_administrator_runs_when_it_is_ones_turn(queue: Queue) -> None:
    async def scenario() -> None:
        first = queue.join("first", "", 1)
        made = make()
        made.concurrent_starts = 1
        made.pre_spawn_hook = lambda spawner: hooked.append(spawner)
        hooked: list[object] = []
        made._spawn_future = asyncio.get_running_loop().create_future()
        made._spawn_pending = True
        spawn = asyncio.ensure_future(made.run_pre_spawn_hook())
        events = made.progress()
        assert "yours is next" in (await anext(events))["message"]
        assert (made.is_waiting, hooked) == (True, [])
        assert made.orm_spawner.state["waiting_since"] > 0
        first.leave()
        await spawn
        assert (made.is_waiting, hooked) == (False, [made])
        assert (await anext(events))["progress"] == 50
        made._spawn_future.set_result(None)
        await asyncio.sleep(0)
        assert queue.join("next", "", 1).turn.is_set()

    in_a_loop(scenario())


def test_who_gives_up_while_waiting_is_gone_from_the_queue(queue: Queue) -> None:
    async def scenario() -> None:
        queue.join("first", "", 1)
        made = make()
        made.concurrent_starts = 1
        made._spawn_future = spawn = asyncio.ensure_future(made.run_pre_spawn_hook())
        while not made.is_waiting:
            await asyncio.sleep(0)
        spawn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await spawn
        await asyncio.sleep(0)
        assert queue.waiting == []
        assert take_left(made.user.db) == []

    in_a_loop(scenario())


def test_a_page_that_waits_is_sent_to_the_next_hub(queue: Queue) -> None:
    async def scenario() -> None:
        queue.join("first", "", 1)
        made = make()
        made.concurrent_starts = 1
        made._spawn_future = asyncio.ensure_future(made.run_pre_spawn_hook())
        events = made.progress()
        await anext(events)
        queue.end()
        with pytest.raises(Finish):
            await anext(events)
        made._spawn_future.cancel()

    in_a_loop(scenario())


def test_a_page_waits_for_its_place_in_this_start_and_not_in_one_before(queue: Queue) -> None:
    async def scenario() -> None:
        made = make()
        made.concurrent_starts = 1
        await made.run_pre_spawn_hook()
        assert made._place is not None
        made._place.leave()
        queue.join("first", "", 1)
        made.clear_state()  # as JupyterHub does before each start
        made._spawn_pending = True
        event = asyncio.ensure_future(anext(made.progress()))
        await asyncio.sleep(0)
        made._spawn_future = asyncio.ensure_future(made.run_pre_spawn_hook())
        assert "yours is next" in (await event)["message"]
        made._spawn_future.cancel()

    in_a_loop(scenario())


# --- from one hub to the next


def test_what_waited_is_taken_out_of_the_database_in_order() -> None:
    now = time.time()
    db = orm.new_session_factory("sqlite:///:memory:")()
    # Whose tokens those of the hub's own pages are.
    db.add(orm.OAuthClient(identifier="jupyterhub"))

    def server(name: str, state: dict[str, object]) -> orm.Spawner:
        user = orm.User(name=name)
        spawner = orm.Spawner(name="", user=user, server=orm.Server(base_url="/"), state=state)
        db.add_all([user, spawner])
        db.commit()
        return spawner

    runs = server("runs", {"unit_name": "jupyter-runs"})
    late = server("late", {"waiting_since": now - 1})
    token = late.user.new_api_token()
    late.state = {**late.state, "api_token": token}
    early = server("early", {"waiting_since": now - 2, "api_token": "unknown"})
    gone = server("gone", {"waiting_since": now - FORGOTTEN_S})
    left = [Left(now - 2, "early", ""), Left(now - 1, "late", "")]
    assert take_left(db) == left
    assert orm.APIToken.find(db, token) is None
    assert [each.server for each in (late, early, gone)] == [None] * 3
    assert runs.server is not None
    assert db.query(orm.Server).count() == 1
    # The hub that has taken them may fail before it serves.
    assert take_left(db) == left
    assert (gone.state, runs.state) == ({}, {"unit_name": "jupyter-runs"})
    forget_left(db, left[0])
    assert take_left(db) == left[1:]
    forget_left(db, Left(now, "nobody", ""))
