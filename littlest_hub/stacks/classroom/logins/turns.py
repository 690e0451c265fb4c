"""Limits for strangers, each of whose passwords takes a processor a quarter of a second."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from littlest_hub.stacks.classroom.logins import passwords

MOST = 50
"""The most passwords that are hashed, or wait to be hashed."""
OF_SOURCE, FORGET_ONE_S = 200, 10
"""The most requests of a network at once, and the seconds after which one of them counts no more.
A class signs up from one address."""
SOURCES = 10_000
"""The most networks whose requests are counted; that of the oldest request is dropped first."""


class BusyError(Exception):
    """A request that has to be repeated later."""


class Turns:
    """The queue of passwords that are to be hashed, and the number of requests by network."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._free, self._waiting = asyncio.Semaphore(1), 0
        self._requests: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Number and time of the last requests of a network."""

    def count(self, source: str) -> None:
        """Count a request of a network, whether or not it succeeds.

        Raises:
            BusyError: the network has sent too many.
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
        """Return the hash of a password.

        Raises:
            BusyError: too many passwords wait to be hashed.
        """
        if self._waiting >= self._most:
            raise BusyError
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(passwords.hashed, password)
        finally:
            self._waiting -= 1
