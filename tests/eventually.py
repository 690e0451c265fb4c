"""Waiting for something to become true: the only place in the tests that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


class NotInTimeError(AssertionError):
    """What was waited for did not become true; says what, how long, and the last thing seen."""


def eventually(
    predicate: Callable[[], Value | None], timeout_s: float, what: str, *, interval_s: float = 0.1
) -> Value:
    """Call `predicate` until it returns something true, and return that.

    An `AssertionError` or `OSError` counts as "not yet" (a port that refuses, a file that is
    missing); anything else is a mistake and is raised. `what` ends the sentence "waited for …".

    Raises:
        NotInTimeError: `timeout_s` seconds went by.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen: object
        try:
            value = predicate()
        except (AssertionError, OSError) as error:
            seen = error
        else:
            if value:
                return value
            seen = repr(value)
        if time.monotonic() >= deadline:
            raise NotInTimeError(f"waited {timeout_s:g} s for {what}; last seen: {seen}")
        time.sleep(interval_s)
