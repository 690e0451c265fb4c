"""Turns of strangers, whose passwords take a quarter of a second of a processor each."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from littlest_hub.stacks.classroom.logins import passwords

MOST = 50
"""How many passwords are hashed, or wait for that."""
OF_SOURCE, FORGET_ONE_S = 200, 10
"""How many requests a network may send at once, and after how many seconds one is forgotten. A
class signs up from one address."""
SOURCES = 10_000
"""How many networks are remembered; the oldest request is forgotten first."""


class BusyError(Exception):
    """A request that has to come again later."""


class Turns:
    """Turns of people whose password is to be hashed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._free, self._waiting = asyncio.Semaphore(1), 0
        self._requests: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Number and time of the last requests of a network."""

    def count(self, source: str) -> None:
        """Count a request of a network, whether or not anything comes of it.

        Raises:
            BusyError: there were too many.
        """
        now = self._clock()
        number, last = self._requests.get(source, (0.0, now))
        number = max(0.0, number - (now - last) / FORGET_ONE_S)
        if number >= OF_SOURCE:
            raise BusyError
        self._requests[source] = (number + 1, now)
        self._requests.move_to_end(source)
        if len(self._requests) > SOURCES:
            self._requests.popitem(last=False)

    async def hashed(self, password: str) -> str:
        """Return what is stored of a password.

        Raises:
            BusyError: too many wait for that.
        """
        if self._waiting >= self._most:
            raise BusyError
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(passwords.hashed, password)
        finally:
            self._waiting -= 1
