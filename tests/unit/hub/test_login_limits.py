"""Limits of logins: failures count, right passwords do not, and strangers delay no one else."""

from __future__ import annotations

import asyncio

import pytest

from littlest_hub.hub import login_limits
from littlest_hub.hub.login_limits import (
    FAILURES_OF_USER,
    FREE_FAILURES,
    LONGEST_WAIT_S,
    TABLE_ENTRIES,
    LoginLimits,
    TooManyLoginsError,
    network,
)

pytestmark = pytest.mark.unit

SCHOOL, HOME = "192.0.2.1", "2001:db8::1"


class Clock:
    """A clock that tests turn."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> LoginLimits:
    return LoginLimits(clock)


def log_in(
    limits: LoginLimits, address: str, user: str, *, is_right: bool, browser: str | None = None
) -> float:
    """Log in, and return the delay before the password is checked."""
    attempt = limits.begin(address, user, browser)
    (limits.succeed if is_right else limits.fail)(attempt)
    limits.end(attempt)
    return attempt.delay_s


@pytest.mark.row(35)
def test_failures_without_end_are_limited_and_no_error(limits: LoginLimits, clock: Clock) -> None:
    for _ in range(2500):
        log_in(limits, SCHOOL, "alice", is_right=False)
        clock.now_s += LONGEST_WAIT_S
    clock.now_s -= 1
    with pytest.raises(TooManyLoginsError):
        limits.begin(SCHOOL, "alice")


@pytest.mark.row(35)
def test_right_passwords_are_never_limited(limits: LoginLimits) -> None:
    attempts = [limits.begin(SCHOOL, f"pupil{number}") for number in range(60)]
    for attempt in attempts:
        limits.succeed(attempt)
        limits.end(attempt)
    for _ in range(1000):
        assert log_in(limits, SCHOOL, "alice", is_right=True) == 0


@pytest.mark.row(35)
def test_each_further_failure_of_a_user_in_a_network_doubles_the_wait(
    limits: LoginLimits, clock: Clock
) -> None:
    for _ in range(FREE_FAILURES):
        log_in(limits, SCHOOL, "alice", is_right=False)
    waits = []
    for _ in range(8):
        with pytest.raises(TooManyLoginsError) as refused:
            limits.begin(SCHOOL, "alice")
        waits.append(refused.value.wait_s)
        clock.now_s += refused.value.wait_s
        log_in(limits, SCHOOL, "alice", is_right=False)
    assert waits[:2] == [4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_S
    assert log_in(limits, HOME, "alice", is_right=True) == 0
    assert log_in(limits, SCHOOL, "bob", is_right=True) == 0
    clock.now_s += LONGEST_WAIT_S
    assert log_in(limits, SCHOOL, "alice", is_right=True) == 0
    assert log_in(limits, SCHOOL, "alice", is_right=False) == 0
    assert log_in(limits, SCHOOL, "alice", is_right=True) == 0


@pytest.mark.row(35)
def test_a_network_with_too_many_failures_waits_but_not_a_known_browser_in_it(
    limits: LoginLimits, clock: Clock
) -> None:
    for number in range(limits.failures_per_network):
        log_in(limits, SCHOOL, f"user{number}", is_right=False)
    with pytest.raises(TooManyLoginsError) as refused:
        limits.begin(SCHOOL, "alice")
    assert refused.value.wait_s == 3
    assert log_in(limits, SCHOOL, "alice", is_right=True, browser="hers") == 0
    assert log_in(limits, HOME, "alice", is_right=True) == 0
    clock.now_s += 4
    assert log_in(limits, SCHOOL, "alice", is_right=True) == 0


@pytest.mark.row(35)
def test_a_stranger_with_many_networks_delays_a_user_but_locks_no_one_out(
    limits: LoginLimits,
) -> None:
    for number in range(FAILURES_OF_USER):
        log_in(limits, f"198.51.100.{number}", "alice", is_right=False)
    assert log_in(limits, HOME, "alice", is_right=True) == login_limits.USER_DELAY_S
    assert log_in(limits, HOME, "alice", is_right=True, browser="hers") == 0
    assert log_in(limits, HOME, "bob", is_right=True) == 0


@pytest.mark.row(35)
def test_logins_that_wait_for_an_answer_are_bounded_for_each_network(limits: LoginLimits) -> None:
    pending = [limits.begin(SCHOOL, f"user{n}") for n in range(limits.pending_per_network)]
    with pytest.raises(TooManyLoginsError, match="at this moment"):
        limits.begin(SCHOOL, "alice")
    limits.end(limits.begin(HOME, "alice"))
    for attempt in pending:
        limits.end(attempt)
    limits.end(limits.begin(SCHOOL, "alice"))
    assert not limits._pending


@pytest.mark.row(35)
def test_attempts_for_one_user_are_one_after_the_other_and_stop_at_the_limit(
    limits: LoginLimits,
) -> None:
    pending = [limits.begin(SCHOOL, "alice") for _ in range(40)]
    other = limits.begin(SCHOOL, "bob")
    assert len({attempt.turns[0] for attempt in pending}) == 1
    assert pending[0].turns[0]._value == 1
    assert other.turns[0] is not pending[0].turns[0]
    assert other.turns[1:] == pending[0].turns[1:]
    checked = 0
    for attempt in pending:
        try:
            limits.check(attempt)
            checked += 1
            limits.fail(attempt)
        except TooManyLoginsError:
            pass
        limits.end(attempt)
    assert checked == FREE_FAILURES
    limits.check(other)


@pytest.mark.row(35)
def test_what_is_remembered_is_bounded(limits: LoginLimits) -> None:
    for number in range(TABLE_ENTRIES):
        log_in(limits, f"2001:db8:{number:x}::1", "x" * 100_000, is_right=False)
    assert len(limits._failures) == TABLE_ENTRIES
    assert max(len(user) for _, user in limits._failures) == 64


@pytest.mark.row(35)
def test_a_limit_of_zero_is_no_limit(clock: Clock) -> None:
    limits = LoginLimits(clock, failures_per_network=0, pending_per_network=0)
    for number in range(500):
        attempt = limits.begin(SCHOOL, f"user{number}")
        limits.fail(attempt)


@pytest.mark.row(35)
def test_more_passwords_are_checked_at_once_if_a_fragment_says_so(clock: Clock) -> None:
    limits = LoginLimits(clock, concurrent_per_network=20, concurrent=30)
    _, of_lane, _, of_all = limits.begin(SCHOOL, "alice").turns
    assert (of_lane._value, of_all._value) == (20, 30)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_a_network_is_an_ipv4_address_or_64_bits_of_an_ipv6_address(
    address: str, found: str
) -> None:
    assert network(address) == found


async def enter(attempt: login_limits.Attempt) -> None:
    for turn in attempt.turns:
        await turn.acquire()


@pytest.mark.row(35)
@pytest.mark.parametrize("has_cookie", [False, True], ids=["of networks", "of own browsers"])
def test_no_number_of_others_keeps_a_known_browser_waiting(
    limits: LoginLimits, has_cookie: bool
) -> None:
    async def log_in_among_others() -> None:
        others = [
            # Each from another network, or the same user in many browsers.
            limits.begin(SCHOOL, "mallory", f"browser{number}")
            if has_cookie
            else limits.begin(f"2001:db8:{number:x}::1", f"pupil{number}")
            for number in range(90)
        ]
        waiting = [asyncio.create_task(enter(each)) for each in others]
        await asyncio.sleep(0)
        alice = limits.begin(HOME, "alice", "alices browser")
        await asyncio.wait_for(enter(alice), 5)
        for each in waiting:
            each.cancel()
        for attempt in (alice, *others):
            limits.end(attempt)

    asyncio.run(log_in_among_others())
    assert not limits._pending
