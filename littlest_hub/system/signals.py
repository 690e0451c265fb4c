"""Ending early, and not being ended while something is put back."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command early: Ctrl-C, a shutdown, a connection that is lost."""

Undo = list[Callable[[], object]]
"""How to undo what is done, in that order; in here before the deed, which may be interrupted."""


@contextlib.contextmanager
def undone_on_failure() -> Iterator[Undo]:
    """Undoes what was collected, last first, if all ends in an error."""
    undo: Undo = []
    try:
        yield undo
    except BaseException:
        with uninterrupted():
            for step in reversed(undo):
                _attempt(step)
        raise


def _attempt(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:
        tell(f"Could not undo everything: {error}")


def tell(text: str) -> None:
    """A line on standard error, for whoever waits; there may be nobody left: a lost terminal."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Neither we nor the commands we call can be ended early."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
