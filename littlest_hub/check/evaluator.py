"""The program in the sandbox: it runs the fragments and reports their problems."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from traitlets.config import Config

from littlest_hub.check import trial
from littlest_hub.check.effective import effective_settings
from littlest_hub.check.explanations import explanation
from littlest_hub.check.jupyterhub_api import FragmentError, complete, defaults, execute
from littlest_hub.check.messages import Credentials, Domain, Done, Message, Request, Running, encode
from littlest_hub.check.origins import (
    Origin,
    RecordingConfig,
    origin_of_error,
    origin_of_frame,
)
from littlest_hub.check.report import Problem
from littlest_hub.check.validation import validate
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.unit_files import credential_digests
from littlest_hub.layout import Layout, PackageSet
from littlest_hub.system import import_path
from littlest_hub.system.seccomp import change_no_other_process
from littlest_hub.units.environment import UnitEnvironment

FRAGMENT_S = 10
"""Time limit of one fragment."""
DATA_BYTES = 1 << 30

# Name and password in a URL, or in what was meant to be one.
_USER_INFO = re.compile(r"(?<=://)\S*@|[\w.+-]+:(?!//)\S*@")


def evaluate(request: Request, report: int) -> None:
    """Run all fragments and write messages to a file descriptor, one per line.

    Args:
        request: the fragments and the facts about the machine.
        report: a descriptor that nothing else writes to.
    """

    def send(message: Message) -> None:
        if isinstance(message, Problem):
            message = replace(message, message=_USER_INFO.sub("…@", message.message))
        os.write(report, f"{encode(message)}\n".encode())

    layout = Layout(Path(request.base), hub_user=request.hub_user)
    import_path.append_packages(request.overlay, PackageSet.HUB)
    config = RecordingConfig()
    sockets = request.facts.hub_sockets
    address = (sockets[0][0].strip("[]"), sockets[0][1]) if sockets else None
    unit = UnitEnvironment.from_environ(hub_address=address)
    for section, values in defaults(layout, unit).items():
        config[section].update(values)
    with contextlib.suppress(OSError):
        os.chdir(layout.hub_state)  # the hub's working directory
    _limit_memory()
    send(Credentials(credential_digests(os.environ.get("CREDENTIALS_DIRECTORY"))))
    has_errors = False
    for name in request.files:
        send(Running(name))
        for problem in _run_fragment(Path(name), config, request.facts.is_service, report):
            has_errors = True
            send(problem)
    send(Running(""))
    with contextlib.suppress(Exception):
        complete(config)
    release = partial(defaults, layout, unit)
    judged = _judged(config, layout, request, release, has_errors)
    for message in effective_settings(config) if request.wants_settings else judged:
        send(message)
    send(Done())


def _judged(
    config: RecordingConfig,
    layout: Layout,
    request: Request,
    release: Callable[[], Config],
    has_errors: bool,
) -> Iterator[Problem | Domain]:
    """Yield what is wrong with the settings, and the domains to look up."""
    known = (layout, request.facts, request.files)
    problems = set(validate(config, *known, is_whole=not has_errors))
    if not has_errors:
        # `littlest-hub run` serves only the user who starts it, and keeps a password for that.
        is_for_owner = not request.facts.is_service and layout.run_password.exists()
        problems.update(
            trial.failures(config, layout, problems, release, is_for_owner=is_for_owner)
        )
    has_errors = has_errors or not all(problem.is_warning for problem in problems)
    for problem in sorted(problems):
        # An error may be the cause of a warning about the whole: report the error only.
        if not (has_errors and problem.is_warning and not problem.line):
            yield problem
    yield from _domains(config)


def _domains(config: RecordingConfig) -> Iterator[Domain]:
    names = config.HubProxy.get("domains")
    for name in names if isinstance(names, list) else ():
        origin = config.HubProxy.origin("domains", name)
        if origin and isinstance(name, str):
            yield Domain(name, *origin)


class _TimeLimitExceeded(BaseException):
    """Time limit of a fragment exceeded; not an Exception, because fragments catch those."""

    def __init__(self, origin: Origin | None) -> None:
        super().__init__()
        self.origin = origin


def _run_fragment(
    file: Path, config: RecordingConfig, is_sandboxed: bool, report: int
) -> Iterator[Problem]:
    """Run one fragment on the configuration and yield the error that it ends with, if any."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _TimeLimitExceeded(origin_of_frame(frame))

    pid = os.getpid()
    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(FRAGMENT_S)
    # For a fragment that catches every exception, or that a library's C code does not return to.
    faulthandler.dump_traceback_later(FRAGMENT_S + 2, exit=True, file=report)
    try:
        execute(file, config)
    except FragmentError as failure:
        error = failure.__cause__ or failure
        text = f"{_description(error, failure)}{explanation(error, is_sandboxed)}"
        yield Problem(*origin_of_error(error, file), text)
    except _TimeLimitExceeded as late:
        origin = late.origin or Origin(str(file), 1)
        yield Problem(*origin, f"still at this line after {FRAGMENT_S} s; a fragment must end")
    except BaseException as error:
        yield Problem(*origin_of_error(error, file), f"{type(error).__name__}: {error}")
    finally:
        if os.getpid() != pid:
            os._exit(0)  # a child process that the fragment has forked
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def _limit_memory() -> None:
    """Make a line that needs too much memory fail before the machine runs out of it."""
    with contextlib.suppress(ValueError, OSError):
        # Besides the memory of the process that has forked this one; proc(5), statm.
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        most = DATA_BYTES + pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _description(error: BaseException, failure: FragmentError) -> str:
    if isinstance(error, LittlestHubError):
        return str(error)  # for people as it is
    if isinstance(error, MemoryError):
        return f"MemoryError: needs more than {DATA_BYTES >> 30} GiB"
    if isinstance(error, OSError) and error.filename:
        return f"{type(error).__name__}: {error.filename}: {error.strerror}"
    return failure.reason


def main() -> None:
    """Evaluate a request: JSON from standard input, messages to standard output."""
    request = Request.from_json(json.loads(sys.stdin.read()))
    # Output of the fragments goes to standard error instead.
    report = os.dup(1)
    os.dup2(2, 1)
    if request.facts.is_service:  # others may not, and have no rights over processes of root
        change_no_other_process()
    evaluate(request, report)
    sys.stdout.flush()
    sys.stderr.flush()
    # Do not wait for threads that the fragments started.
    os._exit(0)


if __name__ == "__main__":
    main()
