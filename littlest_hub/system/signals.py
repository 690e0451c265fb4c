"""Signals that end a command early, and steps that they must not interrupt."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from littlest_hub.system import progress

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command early: Ctrl-C, a shutdown, a lost connection."""


@contextlib.contextmanager
def undone_on_failure() -> Iterator[contextlib.ExitStack]:
    """Yield a stack of undo callbacks; run them, last one first, only if the block fails.

    Push a callback before its step, since the step may be interrupted. Signals do not interrupt
    the callbacks; a callback that fails does not stop the others.
    """
    undo = contextlib.ExitStack()
    try:
        yield undo
    except BaseException:
        with uninterrupted():
            try:
                undo.close()
            except Exception as error:
                progress.to_stderr(f"Could not undo everything: {error}")
        raise


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore ENDING_SIGNALS, as do the commands that are run meanwhile."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def at_most(limit_s: float) -> Iterator[None]:
    """Interrupt the block when the time is up; only in the main thread, setitimer(2).

    Raises:
        TimeoutError: the time is up.
    """
    if limit_s <= 0:
        raise TimeoutError
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
