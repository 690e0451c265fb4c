"""Limits of logins with a password, whatever authenticator checks it: bookkeeping only.

Only failures are limited, so a class behind one address can log in at the same moment. They count
for a lane, which is the browser if its user has logged in there before, and the network otherwise:
a stranger who tries passwords delays no one who uses a browser or a network of their own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from traitlets import Int
from traitlets.config import Configurable

TABLE_ENTRIES = 10_000
"""The most lanes, and users of them, that are remembered; the oldest failures are dropped first."""
FREE_FAILURES = 5
"""Failures of a user in a lane before each further one makes that user wait there."""
FIRST_WAIT_S, LONGEST_WAIT_S = 4, 30
"""The first and the longest of these waits, which double with each further failure."""
FORGET_ONE_S = 60
"""Time after which one failure of a user in a lane is forgotten."""
FORGET_ONE_OF_SOURCE_S = 3
"""The same of a lane as a whole."""
FORGET_ONE_OF_USER_S = 10
"""The same of a user in all networks."""
FAILURES_OF_USER = 100
"""Failures of a user in all networks after which a login from an unknown browser takes longer."""
USER_DELAY_S = 5


class TooManyLoginsError(Exception):
    """A login that is refused before the password is checked."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = math.ceil(wait_s)


@dataclass
class _Turns:
    """Logins of a lane, or of one user in it."""

    free: asyncio.Semaphore
    pending: int = 0


@dataclass(frozen=True)
class Attempt:
    """A login whose password is being checked."""

    key: str
    """The lane's."""
    user: str
    delay_s: float
    """Time that it waits first."""
    turns: tuple[asyncio.Semaphore, ...]
    """Semaphores to be entered, in this order, while the password is checked: one attempt at a time
    for each user, so that many attempts for one user are no queue for others."""
    counted: tuple[tuple[str, str], ...]
    """The keys, lane and user, under which it counts as pending."""


class LoginLimits(Configurable):  # type: ignore[misc]
    """Limits of logins; for the first two, 0 is no limit."""

    failures_per_network = Int(
        100,
        min=0,
        config=True,
        help="How many wrong passwords a network may send at once; one more every 3 s.",
    )
    pending_per_network = Int(
        100,
        min=0,
        config=True,
        help="How many logins of a network may wait for an answer.",
    )
    concurrent_per_network = Int(
        4,
        min=1,
        config=True,
        help="How many passwords of a network are checked at the same time. More if a check waits"
        " for people, as a second factor does.",
    )
    concurrent = Int(
        16,
        min=1,
        config=True,
        help="How many passwords of all networks are checked at the same time.",
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._clock = clock
        self._pending: dict[tuple[str, str], _Turns] = {}
        """Failures by lane and user; "" is any."""
        self._turns = asyncio.Semaphore(self.concurrent)
        # The rest is for known browsers: strangers may have any number of networks.
        self._turns_of_strangers = asyncio.Semaphore(max(1, self.concurrent * 3 // 4))
        self._failures: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        """Number and time of the last failures, by lane and user; "" is any."""

    def begin(self, address: str, user: str, browser: str | None = None) -> Attempt:
        """Return a login that may check its password; `end` has to follow.

        Args:
            address: IP address that it comes from.
            user: the name that was typed.
            browser: identifier of a browser in which this user has logged in; None: unknown.

        Raises:
            TooManyLoginsError: it may not.
        """
        # A long name must not take memory, and "" is any.
        user, key = user[:64] or "?", browser or network(address)
        # All known browsers of a user take turns: any user may have any number of them.
        lane, user_of_lane = (key, ""), ("" if browser else key, user)
        of_lane = self._turns_of(*lane, self.concurrent_per_network)
        of_user = self._turns_of(*user_of_lane, 1)
        pending = max(of_lane.pending, of_user.pending)
        if self.pending_per_network and pending >= self.pending_per_network:
            raise TooManyLoginsError("Too many logins from your network at this moment", 1)
        is_attacked = self._count("", user, FORGET_ONE_OF_USER_S) >= FAILURES_OF_USER
        delay_s = USER_DELAY_S if is_attacked and not browser else 0
        of_kind = () if browser else (self._turns_of_strangers,)
        turns = (of_user.free, of_lane.free, *of_kind, self._turns)
        attempt = Attempt(key, user, delay_s, turns, (lane, user_of_lane))
        self.check(attempt)
        self._pending |= {lane: of_lane, user_of_lane: of_user}
        of_lane.pending += 1
        of_user.pending += 1
        return attempt

    def check(self, attempt: Attempt) -> None:
        """Refuse a login if others have failed, perhaps while this one was waiting for its turn.

        Raises:
            TooManyLoginsError: it may not check its password now.
        """
        wait_s = self._wait_s(attempt.key, attempt.user)
        if wait_s > 0:
            raise TooManyLoginsError("Too many wrong passwords", wait_s)

    def fail(self, attempt: Attempt) -> None:
        """Count a wrong password."""
        for (key, user), forget_s in self._counters(attempt.key, attempt.user):
            count = self._count(key, user, forget_s) + 1
            self._failures[key, user] = (count, self._clock())
            self._failures.move_to_end((key, user))
        while len(self._failures) > TABLE_ENTRIES:
            self._failures.popitem(last=False)

    def succeed(self, attempt: Attempt) -> None:
        """Forget this user's wrong passwords in this lane."""
        self._failures.pop((attempt.key, attempt.user), None)

    def end(self, attempt: Attempt) -> None:
        """Finish a login."""
        for key in attempt.counted:
            self._pending[key].pending -= 1
            if not self._pending[key].pending:
                del self._pending[key]

    def _turns_of(self, key: str, user: str, number: int) -> _Turns:
        return self._pending.get((key, user)) or _Turns(asyncio.Semaphore(number))

    def _wait_s(self, key: str, user: str) -> float:
        """Return how long a user has to wait in a lane; 0 or less: not at all."""
        wait_s = 0.0
        excess = self._count(key, "", FORGET_ONE_OF_SOURCE_S) - self.failures_per_network
        if self.failures_per_network and excess >= 0:
            wait_s = (excess + 1) * FORGET_ONE_OF_SOURCE_S
        count, last = self._failures.get((key, user), (0.0, 0.0))
        if count >= FREE_FAILURES:
            # After a day of failures, the power of their number would be no number any more.
            doublings = min(count - FREE_FAILURES, LONGEST_WAIT_S)
            pause_s = min(FIRST_WAIT_S * 2**doublings, LONGEST_WAIT_S)
            wait_s = max(wait_s, last + pause_s - self._clock())
        return wait_s

    def _counters(self, key: str, user: str) -> list[tuple[tuple[str, str], int]]:
        return [
            ((key, user), FORGET_ONE_S),
            ((key, ""), FORGET_ONE_OF_SOURCE_S),
            (("", user), FORGET_ONE_OF_USER_S),
        ]

    def _count(self, key: str, user: str, forget_s: float) -> float:
        """Return the number of failures that are not forgotten."""
        count, last = self._failures.get((key, user), (0.0, 0.0))
        return max(0.0, count - (self._clock() - last) / forget_s)


def network(address: str) -> str:
    """Return the network that an address belongs to: itself or, of IPv6, its first 64 bits."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if found.version == 6:
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
