"""The `littlest-hub` command.

What the hub's unit runs does without what it takes to read a command line: of the time until the
first page of a hub that starts that was a tenth, for it is three processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from littlest_hub.system.signals import ENDING_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 refused or failed, 2 wrong usage."""
    command: Callable[[], int | None]
    match words := list(sys.argv[1:] if arguments is None else arguments):
        case ["serve"]:
            command = _serve
        case ["serve-hub"] | ["serve-hub", "--fragments", _]:
            command = lambda: _serve_hub(words[2:])  # noqa: E731
        case _:
            from littlest_hub import cli

            command = cli.command(words)
    return _done(command)


def _done(command: Callable[[], int | None]) -> int:
    from littlest_hub.errors import LittlestHubError

    _end_on_signals()
    try:
        return int(command() or 0)
    except LittlestHubError as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        _complain("interrupted")
    return 1


def _complain(text: str) -> None:
    # A terminal that hung up does not hear it.
    with contextlib.suppress(OSError):
        print(f"littlest-hub: {text}", file=sys.stderr, flush=True)


def _enter_release() -> None:
    """Run from the release itself, not through the `hub` link.

    When the link moves on, what this process imports later has to be of the same release still.
    """
    release = os.path.realpath(sys.prefix)
    if sys.prefix != release:
        python = os.path.join(release, "bin", "python3")  # noqa: PTH118
        os.execv(python, [python, *sys.orig_argv[1:]])


def _serve() -> None:
    _enter_release()
    from littlest_hub import installation
    from littlest_hub.hub.supervisor import supervise

    supervise(installation.of_this_release())


def _serve_hub(fragments: Sequence[str]) -> None:
    from pathlib import Path

    from littlest_hub import installation
    from littlest_hub.hub.control import ControlChannel
    from littlest_hub.hub.light_imports import light_imports

    # It is the supervisor who is told to reload; this is for whoever signals the whole unit. Not
    # SIG_IGN, which what we start would inherit.
    signal.signal(signal.SIGHUP, lambda *_: None)
    control = ControlChannel.from_environ()
    with control.reporting_failure():
        with light_imports():
            from littlest_hub.hub.app import serve

        serve(installation.of_this_release(), control, Path(fragments[0]) if fragments else None)


def _end_on_signals() -> None:
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


if __name__ == "__main__":
    sys.exit(main())
