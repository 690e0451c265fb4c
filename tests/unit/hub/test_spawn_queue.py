"""The order in which servers start, and what pending pages show meanwhile."""

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
    RESUMABLE_S,
    SLOT_TIMEOUT_S,
    SURVIVES,
    InterruptedSpawn,
    QueueEntry,
    SpawnQueue,
    forget_interrupted,
    take_interrupted,
    waiting_message,
)
from tests.unit.hub.test_spawner import make

pytestmark = pytest.mark.unit


def started(entries: list[QueueEntry]) -> list[int]:
    return [number for number, entry in enumerate(entries) if entry.turn.is_set()]


def crowd(queue: SpawnQueue, number: int, limit: int) -> list[QueueEntry]:
    return [queue.join(f"person{each}", "", limit) for each in range(number)]


def in_a_loop(what: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(what, 30))


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> SpawnQueue:
    queue = SpawnQueue()
    monkeypatch.setattr(spawn_queue, "QUEUE", queue)
    monkeypatch.setattr(spawn_queue, "POSITION_INTERVAL_S", 0.01)
    return queue


def test_servers_start_up_to_the_limit_and_the_others_follow_in_order() -> None:
    async def scenario() -> None:
        entries = crowd(SpawnQueue(), 5, limit=2)
        assert started(entries) == [0, 1]
        entries[1].leave()
        assert started(entries) == [0, 1, 2]
        entries[1].leave()  # again
        assert started(entries) == [0, 1, 2]
        entries[0].leave()
        entries[2].leave()
        assert started(entries) == [0, 1, 2, 3, 4]

    in_a_loop(scenario())


def test_without_a_limit_no_server_waits() -> None:
    async def scenario() -> None:
        assert started(crowd(SpawnQueue(), 50, limit=0)) == list(range(50))

    in_a_loop(scenario())


def test_an_entry_that_leaves_the_queue_lets_those_behind_it_move_up() -> None:
    async def scenario() -> None:
        queue = SpawnQueue()
        entries = crowd(queue, 4, limit=1)
        entries[1].leave()
        assert not entries[1].is_waiting
        assert [queue.waiting.index(entry) for entry in entries[2:]] == [0, 1]
        entries[0].leave()
        assert started(entries) == [0, 2]

    in_a_loop(scenario())


def test_a_server_that_does_not_come_up_blocks_the_queue_only_briefly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert SLOT_TIMEOUT_S < 60  # JupyterHub's start_timeout
    monkeypatch.setattr(spawn_queue, "SLOT_TIMEOUT_S", 0.01)

    async def scenario() -> None:
        entries = crowd(SpawnQueue(), 3, limit=1)
        await entries[2].turn.wait()
        assert started(entries) == [0, 1, 2]

    in_a_loop(scenario())


def test_no_server_starts_while_the_queue_is_paused_or_closed() -> None:
    async def scenario() -> None:
        queue = SpawnQueue()
        queue.pause()
        entries = crowd(queue, 3, limit=1)
        assert started(entries) == []
        queue.resume()
        assert started(entries) == [0]
        queue.close()
        entries[0].leave()
        assert started(entries) == [0]
        assert [entry.is_waiting for entry in entries] == [False, True, True]

    in_a_loop(scenario())


def test_a_server_that_waited_at_an_earlier_hub_is_ahead_of_later_ones() -> None:
    async def scenario() -> None:
        queue = SpawnQueue()
        queue.pause()
        queue.reserve(InterruptedSpawn(200.0, "bob", ""))
        queue.reserve(InterruptedSpawn(100.0, "alice", "lab"))
        new, bob = queue.join("alice", "", 1), queue.join("bob", "", 1)
        alice = queue.join("alice", "lab", 1)
        assert queue.waiting == [alice, bob, new]
        # Once: a server that is stopped and started again joins at the end.
        assert queue.join("bob", "", 1).waiting_since > new.waiting_since

    in_a_loop(scenario())


@pytest.mark.row(36)
def test_forty_servers_of_one_user_delay_each_other_user_by_one() -> None:
    async def scenario() -> None:
        queue = SpawnQueue()
        greedy = [queue.join("greedy", f"{number}", 2) for number in range(40)]
        assert started(greedy) == [0, 1]
        others = crowd(queue, 3, limit=2)
        # The place that a page shows is the place in which the server starts.
        assert queue.waiting[:4] == [*others, greedy[2]]
        assert queue.waiting[4:] == greedy[3:]
        order = []
        running = greedy[:2]
        while queue.waiting:
            expected = queue.waiting[0]
            running.pop(0).leave()
            assert expected.turn.is_set()
            order.append(expected)
            running.append(expected)
            # A user who comes now is behind those who came before, and ahead of all but one.
            if expected is greedy[2]:
                late = queue.join("late", "", 2)
                assert queue.waiting.index(late) <= 1
        assert set(order) == {*others, late, *greedy[2:]}

    in_a_loop(scenario())


@pytest.mark.row(36)
def test_servers_of_one_user_start_in_their_order_at_the_next_hub_too() -> None:
    async def scenario() -> None:
        queue = SpawnQueue()
        queue.pause()
        for number in range(5):
            queue.reserve(InterruptedSpawn(100.0 + number, "greedy", f"{number}"))
        queue.reserve(InterruptedSpawn(200.0, "alice", ""))
        joined = {name: queue.join("greedy", name, 1) for name in "31420"}
        alice = queue.join("alice", "", 1)
        in_order = [joined[name] for name in "01234"]
        assert queue.waiting == [in_order[0], alice, *in_order[1:]]
        in_order[0].leave()
        assert queue.waiting == [in_order[1], alice, *in_order[2:]]

    in_a_loop(scenario())


def test_a_clock_that_is_set_back_does_not_change_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        queue = SpawnQueue()
        queue.pause()
        first = queue.join("first", "", 1)
        monkeypatch.setattr(time, "time", lambda: first.waiting_since - 3600)
        assert queue.waiting == [first, queue.join("second", "", 1)]

    in_a_loop(scenario())


def test_an_abandoned_entry_is_removed() -> None:
    async def scenario() -> None:
        queue, left = SpawnQueue(), InterruptedSpawn(100.0, "alice", "")
        queue.reserve(left)
        assert queue.cancel_reservation(left)
        assert queue.join("alice", "", 1).waiting_since > left.waiting_since
        queue.reserve(left)
        queue.join("alice", "", 1)
        assert not queue.cancel_reservation(left)

    in_a_loop(scenario())


def test_a_page_gets_its_position_whenever_that_changes(queue: SpawnQueue) -> None:
    async def scenario() -> None:
        entries = crowd(queue, 4, limit=1)
        heard: list[int] = []

        async def listen() -> None:
            async for ahead in entries[3].positions():
                heard.append(ahead)

        listening = asyncio.ensure_future(listen())
        for entry in entries[:3]:
            await asyncio.sleep(0.05)
            entry.leave()
        await listening
        assert heard == [2, 1, 0]

    in_a_loop(scenario())


@pytest.mark.parametrize(
    ("ahead", "words"), [(0, "yours is next"), (1, "1 server before"), (12, "12 servers before")]
)
def test_the_page_shows_the_position_in_words(ahead: int, words: str) -> None:
    assert words in waiting_message(ahead)


# --- a spawner in the queue


def test_the_pre_spawn_hook_runs_when_the_servers_turn_has_come(queue: SpawnQueue) -> None:
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


def test_a_spawn_that_is_canceled_while_waiting_leaves_the_queue(queue: SpawnQueue) -> None:
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
        assert take_interrupted(made.user.db) == []

    in_a_loop(scenario())


def test_a_pending_page_reconnects_to_the_next_hub(queue: SpawnQueue) -> None:
    async def scenario() -> None:
        queue.join("first", "", 1)
        made = make()
        made.concurrent_starts = 1
        made._spawn_future = asyncio.ensure_future(made.run_pre_spawn_hook())
        events = made.progress()
        await anext(events)
        queue.close()
        with pytest.raises(Finish):
            await anext(events)
        made._spawn_future.cancel()

    in_a_loop(scenario())


def test_a_page_waits_for_its_entry_in_this_start_and_not_in_one_before(queue: SpawnQueue) -> None:
    async def scenario() -> None:
        made = make()
        made.concurrent_starts = 1
        await made.run_pre_spawn_hook()
        assert made._entry is not None
        made._entry.leave()
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
    # The client of the tokens of the hub's own pages.
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
    gone = server("gone", {"waiting_since": now - RESUMABLE_S})
    left = [InterruptedSpawn(now - 2, "early", ""), InterruptedSpawn(now - 1, "late", "")]
    assert take_interrupted(db) == left
    assert orm.APIToken.find(db, token) is None
    assert [each.server for each in (late, early, gone)] == [None] * 3
    assert runs.server is not None
    assert db.query(orm.Server).count() == 1
    # The hub that took them may fail before it serves.
    assert take_interrupted(db) == left
    assert (gone.state, runs.state) == ({}, {"unit_name": "jupyter-runs"})
    forget_interrupted(db, left[0])
    assert take_interrupted(db) == left[1:]
    forget_interrupted(db, InterruptedSpawn(now, "nobody", ""))
    # A start that has begun goes on, however long it waits.
    begun = {"job": "31", "api_token": "secret"}
    job = server("job", {"waiting_since": now - 9 * RESUMABLE_S, SURVIVES: begun})
    assert [each.has_begun for each in take_interrupted(db)] == [True, False]
    assert job.state[SURVIVES] == begun
