"""The `littlest-hub` command.

`serve` and `serve-hub` import neither argparse nor `cli`: importing them took a tenth of the time
until the first page. `reload` imports both.
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
    """Run one command; return 0 if done, 1 if refused or failed, 2 for wrong usage."""
    command: Callable[[], int | None]
    match words := list(sys.argv[1:] if arguments is None else arguments):
        case ["serve"]:
            command = _serve
        case ["serve-hub"] | ["serve-hub", "--fragments", _]:
            command = lambda: _serve_hub(words[2:])  # noqa: E731
        case _:
            from littlest_hub import cli

            command = cli.command(words)
    return _run(command)


def _run(command: Callable[[], int | None]) -> int:
    from littlest_hub.errors import LittlestHubError

    _raise_on_ending_signals()
    try:
        return int(command() or 0)
    except LittlestHubError as error:
        _print_error(str(error))
    except OSError as error:
        _print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        _print_error("interrupted")
    return 1


def _print_error(text: str) -> None:
    # The terminal may be gone.
    with contextlib.suppress(OSError):
        print(f"littlest-hub: {text}", file=sys.stderr, flush=True)


def _enter_release() -> None:
    """Restart this process with the real path of the release instead of the `hub` link.

    An upgrade changes the link; later imports have to come from the same release.
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

    # Ignore SIGHUP, which is for the supervisor but may be sent to the whole unit. Not by SIG_IGN,
    # which children would inherit.
    signal.signal(signal.SIGHUP, lambda *_: None)
    control = ControlChannel.from_environ()
    with control.reporting_failure():
        # Here, since it imports JupyterHub.
        from littlest_hub.hub.light_imports import light_imports

        with light_imports():
            from littlest_hub.hub.app import serve

        serve(installation.of_this_release(), control, Path(fragments[0]) if fragments else None)


def _raise_on_ending_signals() -> None:
    """Make Ctrl-C, a shutdown and a lost connection raise KeyboardInterrupt."""
    for number in ENDING_SIGNALS:
        # A signal that is ignored (nohup(1), shells) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Only once: undoing an installation must not be interrupted.
    for ending in ENDING_SIGNALS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
