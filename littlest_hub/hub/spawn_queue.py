"""Who may start when many want to: as many at once as the machine can bear, the others in order.

Starting a server is a second of the processor. Thirty that start together take half a minute, every
one of them, and then some are given up on; thirty that start in turn take as long in all, but the
first is there after a second, nobody is given up on, and who waits can be told how long the queue
is. Whoever waits is in the database, so that the next hub goes on where this one ended.
"""

from __future__ import annotations

import asyncio
import bisect
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

from jupyterhub import orm
from sqlalchemy import Text, literal_column

MORE_STARTS = 1
"""How many more servers may start at once than there are processors: who starts also waits, for
systemd and for the hub. Thirty at once, two processors, last and median ready after: none more 16.3
and 9.2 s, one 12.0 and 6.8 s, two 14.8 and 5.7 s."""
LONGEST_S = 10
"""How long a server that starts keeps others waiting; what takes longer waits for something else
than the processor."""
TOLD_S = 1
"""How often somebody who waits is told how many are before them."""
FORGOTTEN_S = 3600
"""After how long the next hub does not start any more what waited when this one ended: that of
somebody who has gone long ago."""

_SINCE = "waiting_since"


def bearable() -> int:
    """How many servers may start at once on this machine."""
    return len(os.sched_getaffinity(0)) + MORE_STARTS


class Place:
    """One server's place: in the queue, then among those that start."""

    def __init__(self, queue: Queue, since: float, limit: int) -> None:
        self.since = since
        """When it joined, in seconds since the epoch; in the queue of another hub, maybe."""
        self.limit = limit
        """How many may start at once as far as this one knows; 0: as many as want to."""
        self.turn = asyncio.Event()
        self._queue = queue

    @property
    def is_waiting(self) -> bool:
        return self in self._queue.waiting

    def leave(self) -> None:
        """Keep nobody waiting any more: started, failed, or given up."""
        self._queue.forget(self)

    async def ahead(self) -> AsyncIterator[int]:
        """How many wait before this one, whenever that has changed, until it is its turn."""
        told = None
        while self.is_waiting and not self._queue.is_over:
            ahead = self._queue.waiting.index(self)
            if ahead != told:
                yield ahead
            told = ahead
            # Not with every change: a crowd would keep the hub busy with telling each other.
            turn = asyncio.ensure_future(self.turn.wait())
            try:
                await asyncio.wait([turn], timeout=TOLD_S)
            finally:
                turn.cancel()


class Queue:
    """Servers that start, and servers that wait for their turn."""

    def __init__(self) -> None:
        self.waiting: list[Place] = []
        self.is_over = False
        """Whether the rest is for the next hub to start."""
        self._starting: set[Place] = set()
        self._is_held = False
        self._since: dict[tuple[str, str], float] = {}
        self._latest = 0.0
        """When the last one joined; a clock that is set back lets nobody overtake."""

    def join(self, user: str, server: str, limit: int) -> Place:
        """Take a place; that of an earlier hub, if it had one there."""
        now = max(time.time(), self._latest)
        place = Place(self, self._since.pop((user, server), now), limit)
        self._latest = max(place.since, self._latest)
        bisect.insort(self.waiting, place, key=lambda each: each.since)
        self._call()
        return place

    def forget(self, place: Place) -> None:
        if place in self.waiting:
            self.waiting.remove(place)
        self._starting.discard(place)
        self._call()

    def hold(self) -> None:
        """Let nobody start until `go_on`."""
        self._is_held = True

    def go_on(self) -> None:
        self._is_held = False
        self._call()

    def end(self) -> None:
        """Let nobody start any more, and have everybody ask the next hub."""
        self.is_over = True

    def expect(self, left: Left) -> None:
        """Keep the place of a server that waited when another hub ended."""
        self._since[left.user, left.server] = left.since

    def expect_no_more(self, left: Left) -> bool:
        """Keep its place no longer; whether that was still free."""
        return self._since.pop((left.user, left.server), None) is not None

    def _call(self) -> None:
        while self.waiting and not (self._is_held or self.is_over):
            first = self.waiting[0]
            if first.limit and len(self._starting) >= first.limit:
                return
            self.waiting.remove(first)
            self._starting.add(first)
            first.turn.set()
            asyncio.get_running_loop().call_later(LONGEST_S, first.leave)


QUEUE = Queue()
"""That of this hub."""


# --- from one hub to the next


class Left(NamedTuple):
    """A server that waited when its hub ended."""

    since: float
    user: str
    server: str


def waiting_state(state: dict[str, Any], place: Place) -> dict[str, Any]:
    """The state of a spawner whose server waits."""
    return {**state, _SINCE: place.since}


def take_left(db: Any) -> list[Left]:
    """Who waited when the last hub ended, in order.

    The database keeps that they wait, and nothing else of it: this hub may fail before it serves.
    """
    found = list(_take_left(db, time.time() - FORGOTTEN_S))
    db.commit()
    return sorted(found)


def _take_left(db: Any, earliest: float) -> Iterator[Left]:
    is_marked = literal_column("spawners.state", Text).contains(_SINCE)
    for spawner in db.query(orm.Spawner).filter(is_marked).all():
        state = spawner.state or {}
        if _SINCE not in state:
            continue
        token = orm.APIToken.find(db, state.get("api_token") or "")
        if token:
            db.delete(token)
        # JupyterHub would take it for one that runs.
        spawner.server = spawner.started = None
        since = state[_SINCE]
        spawner.state = {_SINCE: since} if since > earliest else {}
        if spawner.state:
            yield Left(since, spawner.user.name, spawner.name or "")


def forget_left(db: Any, left: Left) -> None:
    """Have no other hub start it either."""
    user = orm.User.find(db, left.user)
    spawner = user and user.orm_spawners.get(left.server)
    if spawner:
        spawner.state = {}
        db.commit()


def told(ahead: int) -> str:
    """What somebody who waits is told."""
    if not ahead:
        return "Many servers start at the moment: yours is next"
    people = "1 person" if ahead == 1 else f"{ahead} people"
    return f"Many servers start at the moment: {people} before you"
