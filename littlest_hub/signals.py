"""How a command is ended early."""

from __future__ import annotations

import signal
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command early: Ctrl-C, a shutdown, a connection that is lost."""


def end_on_signals() -> None:
    """Ctrl-C, a shutdown and a lost connection end a command in the same way."""
    for number in ENDING_SIGNALS:
        # nohup(1) and shells ignore some on our behalf.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once only: what undoes an installation must not be interrupted in its turn.
    for ending in ENDING_SIGNALS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt
