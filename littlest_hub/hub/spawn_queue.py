"""The queue of servers that wait to start: as many start at once as the machine can bear.

Starting a server takes a second of CPU time. Thirty that start together take half a minute each,
and some exceed their timeout; thirty that start in turn take as long in all, but the first is ready
after a second, none exceeds its timeout, and the pending page shows each user their position. The
queue is also in the database, so that the next hub resumes it.

Users take turns: a user's second waiting server belongs to the round after that of their first one.
So forty named servers of one user delay everyone else by one server, not by forty.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyterhub import orm
from sqlalchemy import Text, literal_column

from littlest_hub.hub.environment_name import WithEnvironmentName

EXTRA_STARTS = 1
"""Number of servers that may start at once beyond one for each processor: a starting server also
waits, for systemd and for the hub. Thirty at once, two processors, last and median ready after:
none more 16.3 and 9.2 s, one 12.0 and 6.8 s, two 14.8 and 5.7 s."""
SLOT_TIMEOUT_S = 10
"""Time for which a starting server counts against the limit; a slower one waits for something other
than the processor."""
POSITION_INTERVAL_S = 1
"""Interval at which a pending page learns its position in the queue."""
RESUMABLE_S = 3600
"""Time from joining the queue in which the next hub still resumes an interrupted spawn; after that,
the user has probably left."""

SURVIVES = "survives"
"""Key of a spawner's state: something that has begun, such as a job in the queue of a cluster. The
next hub's spawner adopts it, however long it waits."""
_WAITING_SINCE = "waiting_since"
_OPTIONS = "waiting_with_options"


def default_concurrent_starts() -> int:
    """Return how many servers may start at once on this machine."""
    return len(os.sched_getaffinity(0)) + EXTRA_STARTS


class QueueEntry:
    """One server: waiting in the queue, then among those that start."""

    def __init__(self, queue: SpawnQueue, user: str, waiting_since: float, limit: int) -> None:
        self.user = user
        self.round = 0
        """The number of the round of turns that it belongs to."""
        self.waiting_since = waiting_since
        """Time at which it joined, perhaps an earlier hub's queue, in seconds since the epoch."""
        self.limit = limit
        """The most servers that start at once, by this server's configuration; 0: no limit."""
        self.turn = asyncio.Event()
        """Set when the server may start."""
        self._queue = queue

    @property
    def is_waiting(self) -> bool:
        return self in self._queue.waiting

    def leave(self) -> None:
        """Free the place in the queue: the server has started, failed or been canceled."""
        self._queue.remove(self)

    async def positions(self) -> AsyncIterator[int]:
        """Yield how many entries are ahead of this one, at each change, until its turn comes."""
        yielded = None
        while self.is_waiting and not self._queue.is_closed:
            ahead = self._queue.waiting.index(self)
            if ahead != yielded:
                yield ahead
            yielded = ahead
            # Not at every change: in a crowd, the hub would be busy with notifications.
            turn = asyncio.ensure_future(self.turn.wait())
            try:
                await asyncio.wait([turn], timeout=POSITION_INTERVAL_S)
            finally:
                turn.cancel()


class SpawnerWithQueue(WithEnvironmentName):
    """The base of spawners whose servers wait in the queue, and that the next hub goes on with."""

    user: Any
    name: str
    _spawn_future: Any
    _entry: QueueEntry | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the server has yet to start, so that the next hub may start it instead."""
        return self._entry is not None and self._entry.is_waiting

    def leave_to_next_hub(self) -> None:
        """Record the server, if it has yet to start, so that the next hub starts it."""
        raise NotImplementedError

    def _join_queue(self, limit: int) -> QueueEntry:
        """Return the server's new place in the queue of this hub.

        Args:
            limit: how many servers may start at once; 0: no limit.
        """
        self._entry = entry = QUEUE.join(self.user.name, self.name, limit)
        # Done when the server has started and has a route, has failed, or was canceled.
        if self._spawn_future:
            self._spawn_future.add_done_callback(lambda _: entry.leave())
        return entry


def is_waiting(spawner: object) -> bool:
    """Return whether the server of any spawner waits in a queue."""
    return isinstance(spawner, SpawnerWithQueue) and spawner.is_waiting


class SpawnQueue:
    """Servers that start, and servers that wait for their turn."""

    def __init__(self) -> None:
        self.waiting: list[QueueEntry] = []
        """Entries in the order in which they start."""
        self.is_closed = False
        """Whether the remaining entries are for the next hub to start."""
        self._starting: set[QueueEntry] = set()
        self._round = 0
        """The round of the entry that started last."""
        self._next_rounds: dict[str, int] = {}
        """The first round in which a user whose turn has come may have another one, by user."""
        self._is_paused = False
        self._reserved: dict[tuple[str, str], float] = {}
        self._last_joined = 0.0
        """Time at which the last entry joined; keeps the order if the clock is set back."""

    def join(self, user: str, server: str, limit: int) -> QueueEntry:
        """Add a server to the queue, at its reserved place if it has one."""
        now = max(time.time(), self._last_joined)
        entry = QueueEntry(self, user, self._reserved.pop((user, server), now), limit)
        self._last_joined = max(entry.waiting_since, self._last_joined)
        self.waiting.append(entry)
        self._assign_rounds(user)
        self._start_next()
        return entry

    def remove(self, entry: QueueEntry) -> None:
        if entry in self.waiting:
            self.waiting.remove(entry)
            self._assign_rounds(entry.user)
        self._starting.discard(entry)
        self._start_next()

    def pause(self) -> None:
        """Start no server until `resume`."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._start_next()

    def close(self) -> None:
        """Start no more servers; pending pages reconnect, to the next hub."""
        self.is_closed = True

    def reserve(self, spawn: InterruptedSpawn) -> None:
        """Reserve the place that a server had in the queue of another hub."""
        self._reserved[spawn.user, spawn.server] = spawn.waiting_since

    def cancel_reservation(self, spawn: InterruptedSpawn) -> bool:
        """Cancel a reservation; return whether it was still unused."""
        return self._reserved.pop((spawn.user, spawn.server), None) is not None

    def _assign_rounds(self, user: str) -> None:
        """Give each waiting server of a user a round of its own, and sort the queue by rounds."""
        own = (each for each in self.waiting if each.user == user)
        first = max(self._round, self._next_rounds.get(user, 0))
        for number, entry in enumerate(sorted(own, key=lambda each: each.waiting_since), first):
            entry.round = number
        self.waiting.sort(key=lambda each: (each.round, each.waiting_since))

    def _start_next(self) -> None:
        while self.waiting and not (self._is_paused or self.is_closed):
            first = self.waiting[0]
            if first.limit and len(self._starting) >= first.limit:
                return
            self.waiting.remove(first)
            self._starting.add(first)
            self._round = first.round
            self._next_rounds[first.user] = first.round + 1
            first.turn.set()
            asyncio.get_running_loop().call_later(SLOT_TIMEOUT_S, first.leave)
        if not self.waiting and not self._starting:
            self._round = 0
            self._next_rounds.clear()


QUEUE = SpawnQueue()
"""The queue of this hub."""


# --- from one hub to the next


@dataclass(frozen=True, order=True)
class InterruptedSpawn:
    """A server that was waiting when its hub ended."""

    waiting_since: float
    user: str
    server: str
    form_options: dict[str, Any] | None = field(default=None, compare=False)
    """The choice of its user in the administrator's form; None: there was no form."""
    has_begun: bool = field(default=False, compare=False)
    """Whether there is something for its spawner to adopt, or to end."""


def waiting_state(
    state: dict[str, Any], entry: QueueEntry, form_options: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the state of a spawner whose server waits."""
    return {**state, _WAITING_SINCE: entry.waiting_since, _OPTIONS: form_options}


def is_waiting_state(state: Mapping[str, Any]) -> bool:
    """Return whether a server with this state has yet to start."""
    return _WAITING_SINCE in state


def take_interrupted(db: Any) -> list[InterruptedSpawn]:
    """Take the servers that were waiting when the last hub ended from the database, in order.

    Their rows keep only the time since which they wait: this hub may fail before it serves.
    """
    found = list(_take_interrupted(db, time.time() - RESUMABLE_S))
    db.commit()
    return sorted(found)


def _take_interrupted(db: Any, earliest: float) -> Iterator[InterruptedSpawn]:
    is_marked = literal_column("spawners.state", Text).contains(_WAITING_SINCE)
    for spawner in db.query(orm.Spawner).filter(is_marked).all():
        state = spawner.state or {}
        if not is_waiting_state(state):
            continue
        begun = {SURVIVES: state[SURVIVES]} if SURVIVES in state else {}
        token = orm.APIToken.find(db, state.get("api_token") or "")
        if token:
            db.delete(token)
        # With these set, JupyterHub would consider the server running.
        spawner.server = spawner.started = None
        since = state[_WAITING_SINCE]
        options = state.get(_OPTIONS)
        kept = {_WAITING_SINCE: since, _OPTIONS: options, **begun}
        spawner.state = kept if begun or since > earliest else {}
        if spawner.state:
            name = spawner.name or ""
            yield InterruptedSpawn(since, spawner.user.name, name, options, bool(begun))


def forget_interrupted(db: Any, spawn: InterruptedSpawn) -> None:
    """Make sure that no later hub starts the server either."""
    user = orm.User.find(db, spawn.user)
    spawner = user and user.orm_spawners.get(spawn.server)
    if spawner:
        spawner.state = {}
        db.commit()


def waiting_message(ahead: int) -> str:
    """Return the message for a user whose server waits behind so many others."""
    if not ahead:
        return "Many servers start at the moment: yours is next"
    # Not people: a user may have several servers.
    servers = "1 server" if ahead == 1 else f"{ahead} servers"
    return f"Many servers start at the moment: {servers} before yours"
