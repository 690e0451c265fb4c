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
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_standard_streams()
    _raise_on_ending_signals()
    from littlest_hub.errors import LittlestHubError

    try:
        return _run(words)
    except LittlestHubError as error:
        _print_error(str(error))
    except BrokenPipeError:
        pass  # the reader of a pipe has seen enough: `littlest-hub doctor | head`
    except OSError as error:
        from littlest_hub.system.failures import explained

        _print_error(str(explained(error, [_program(), *words])))
    except KeyboardInterrupt:
        _print_error("interrupted")
    return 1


def _run(words: list[str]) -> int:
    try:
        return int(_command(words)() or 0)
    finally:
        try:
            # At the end of the process it would be too late to report a full disk.
            sys.stdout.flush()
        except OSError:
            # Python tries again at the end of the process.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise


def _command(words: list[str]) -> Callable[[], int | None]:
    match words:
        case ["serve"]:
            return _serve
        case ["serve-hub"] | ["serve-hub", "--fragments", _]:
            return lambda: _serve_hub(words[2:])
    _use_utf8()
    _leave_user_server()
    from littlest_hub import cli

    return cli.command(words)


def _program() -> str:
    """Return this program as it was called, or its path after `python -m littlest_hub`."""
    called = sys.argv[0]
    return called if not called.endswith(".py") else f"{sys.prefix}/bin/littlest-hub"


def _open_standard_streams() -> None:
    """Open /dev/null in place of closed standard streams; the next file would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115


def _use_utf8() -> None:
    """Restart this process in Python's UTF-8 mode if the locale has another encoding.

    Fragments, records, and what we print are UTF-8 (PEP 540).
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _leave_user_server() -> None:
    """See the machine's files: a user server, where an administrator uses sudo, hides the hub's."""
    if os.geteuid() != 0:
        return
    from littlest_hub import installation
    from littlest_hub.errors import LittlestHubError
    from littlest_hub.system.namespaces import leave_unit

    with contextlib.suppress(LittlestHubError):  # no release: a checkout
        leave_unit(installation.of_this_release().users_slice)


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
    from littlest_hub.layout import PackageSet
    from littlest_hub.system import import_path

    # Ignore SIGHUP, which is for the supervisor but may be sent to the whole unit. Not by SIG_IGN,
    # which children would inherit.
    signal.signal(signal.SIGHUP, lambda *_: None)
    layout = installation.of_this_release()
    overlay = installation.active_overlay(layout, installation.release_of_this_interpreter())
    import_path.append_packages(overlay, PackageSet.HUB)
    control = ControlChannel.from_environ()
    with control.reporting_failure():
        # Here, since it imports JupyterHub.
        from littlest_hub.hub.light_imports import light_imports

        with light_imports():
            from littlest_hub.hub.app import serve

        serve(layout, control, Path(fragments[0]) if fragments else None)


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
