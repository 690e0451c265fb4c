"""Wait for a condition; no other part of the tests sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


class NotInTimeError(AssertionError):
    """A condition did not become true; the message has the time and the last value seen."""


def eventually(
    predicate: Callable[[], Value | None], timeout_s: float, what: str, *, interval_s: float = 0.1
) -> Value:
    """Call `predicate` until it returns a true value, and return that value.

    An `AssertionError` or `OSError` counts as "not yet" (a closed port, a missing file); any other
    exception is raised. `what` completes the sentence "waited for …".

    Raises:
        NotInTimeError: it did not return a true value within `timeout_s` seconds.
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
