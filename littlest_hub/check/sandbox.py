"""The sandbox that fragments are run in to be checked.

As root with systemd it is a unit made of the hub's own unit file and drop-ins: it has the hub's
user, rights, environment and credentials, and changes nothing.
Otherwise it is a child process with limits of time and memory only. It has the rights of the user
who runs the check; a hub that this user starts runs the same fragments with the same rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from littlest_hub.check.configuration import Setting
from littlest_hub.check.messages import Credentials, Domain, Done, Message, Request, Running, decode
from littlest_hub.check.report import Problem
from littlest_hub.check.trial_directory import remove_unit, trial_directory
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import unit_files
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.system.files import write
from littlest_hub.system.systemctl import show, systemctl
from littlest_hub.units.trial import LIMIT_S, MEMORY, trial_unit

# A line that faulthandler prints.
_FRAME = re.compile(r'  File "(.*)", line (\d+) in ')


_NOT_CONFINED = (
    "The fragments were run with your own rights. Only a check by root, on a machine with systemd,"
    " keeps them from writing files and giving orders to systemd."
)


@dataclass(frozen=True)
class Outcome:
    """The messages that came back from the sandbox, and how it ended."""

    problems: tuple[Problem, ...]
    domains: tuple[Domain, ...]
    settings: tuple[Setting, ...]
    credentials: dict[str, str] | None
    """Digests of the credentials that the unit has; None: no unit ran them."""
    printed: str
    """Text that the fragments wrote to standard output and standard error."""
    note: str = ""
    """Restrictions that the sandbox could not apply; usually empty."""


def run(layout: Layout, request: Request) -> Outcome:
    """Run `littlest_hub.check.evaluator` in the sandbox.

    Raises:
        LittlestHubError: systemd did not start the unit.
    """
    if request.facts.is_service:
        return _run_in_unit(layout, request)
    return _run_in_child(layout, request)


def _run_in_unit(layout: Layout, request: Request) -> Outcome:
    python = release_of_this_interpreter() / "bin" / "python3"
    command = [str(python), "-I", "-m", "littlest_hub.check.evaluator"]
    with trial_directory(layout) as directory:
        files = {each: directory / each for each in ("request", "report", "printed")}
        files["request"].write_text(json.dumps(request.to_json()))
        for file in (files["report"], files["printed"]):
            file.touch(mode=0o600)
        unit = directory / f"{directory.name}.service"
        # Readable, as systemd complains otherwise; the directory above it is root's own.
        write(unit, trial_unit(layout, unit_files.texts(layout), command, **files))
        code, reason = _start(unit)
        report, printed = (
            files[each].read_text(errors="replace") for each in ("report", "printed")
        )
    if not report:
        reason = printed.strip() or reason or "systemd skipped the unit, as it would the hub's"
        raise LittlestHubError(
            f"the fragments could not be checked: {reason}",
            "See: journalctl -b -n 20. With systemd 247, a drop-in with LoadCredential= needs the"
            " line ExecCondition= too",
        )
    return _parse(layout, report, printed, code)


def _start(unit: Path) -> tuple[int, str]:
    """Let systemd run a oneshot unit; return how it ended, as `_parse` wants it, and why."""
    # Linked by systemd, since the hub's unit may not write to systemd's directory. A new unit
    # needs no daemon-reload, which would apply changes of other units as well.
    systemctl("link", "--runtime", "--no-reload", "--quiet", str(unit))
    try:
        systemctl("start", unit.name)
    except LittlestHubError as error:
        names = ("Result", "ExecMainCode", "ExecMainStatus")
        result, how, status = (show(unit.name, name) for name in names)
        if result == "timeout":
            return -signal.SIGKILL, error.message
        # waitid(2): CLD_EXITED is 1.
        return (int(status) if how == "1" else -int(status)), error.message
    finally:
        remove_unit(unit.name)
    return 0, ""


def _run_in_child(layout: Layout, request: Request) -> Outcome:
    with tempfile.TemporaryFile("w+") as report, tempfile.TemporaryFile("w+") as printed:
        sys.stdout.flush()
        sys.stderr.flush()
        if threading.current_thread() is not threading.main_thread():
            # A fork would wait forever for locks that other threads hold, such as those of imports.
            pid = _spawn(request, report.fileno(), printed.fileno())
        else:
            # Forked: a caller that has imported JupyterHub already saves a second. Not by
            # multiprocessing, which waits for the child when this process ends.
            pid = os.fork()
            if pid == 0:
                _evaluate(request, report.fileno(), printed.fileno())
        code = _wait(pid)
        report.seek(0)
        printed.seek(0)
        outcome = _parse(layout, report.read(), printed.read(), code)
    return replace(outcome, credentials=None, note=_NOT_CONFINED)


def _spawn(request: Request, report: int, printed: int) -> int:
    """Start the evaluator as a program of its own, and return its process."""
    with tempfile.TemporaryFile("w+") as file:
        json.dump(request.to_json(), file)
        file.flush()
        file.seek(0)
        descriptors = (file.fileno(), report, printed)
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-m", "littlest_hub.check.evaluator"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, each, to) for to, each in enumerate(descriptors)],
            setsid=True,
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )


def _wait(pid: int) -> int:
    """Return a child's exit code, or minus the signal that ended it; kill it after LIMIT_S."""
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], LIMIT_S)[0]:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(descriptor)
        # The programs that the fragments started; if this process is interrupted, the child too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _evaluate(request: Request, report: int, printed: int) -> NoReturn:
    """Run the evaluator in this process, which is a child of the check, then end the process."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        from littlest_hub.check import evaluator

        evaluator.evaluate(request, report)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        # Do not wait for threads that the fragments started, and never return into the caller.
        os._exit(code)


def _parse(layout: Layout, report: str, printed: str, code: int) -> Outcome:
    """Parse the evaluator's messages; add a problem if it ended without the last one.

    Args:
        layout: the installation.
        report: lines of JSON, among them a traceback of faulthandler if a fragment was stuck.
        printed: what the fragments printed.
        code: the exit code of the evaluator, or minus the signal that ended it.
    """
    messages: list[Message] = []
    file, line, is_stuck = str(layout.fragments), 0, False
    for text in report.splitlines():
        if not text.startswith("{"):
            frame = _FRAME.match(text)
            # faulthandler prints the innermost frame first.
            if frame and not is_stuck and frame[1] == file:
                line, is_stuck = int(frame[2]), True
            continue
        message = decode(text)
        if isinstance(message, Running):
            file, line = (message.file, 1) if message.file else (str(layout.fragments), 0)
        messages.append(message)
    if not any(isinstance(each, Done) for each in messages):
        reason = "takes too long and cannot be interrupted" if is_stuck else _reason_of_end(code)
        messages.append(Problem(file, line, reason))
    digests = (each.digests for each in messages if isinstance(each, Credentials))
    return Outcome(
        problems=tuple(each for each in messages if isinstance(each, Problem)),
        domains=tuple(each for each in messages if isinstance(each, Domain)),
        settings=tuple(each for each in messages if isinstance(each, Setting)),
        credentials=next(digests, None),
        printed=printed,
    )


def _reason_of_end(code: int) -> str:
    number = max(0, -code)
    if number == signal.SIGKILL:
        return (
            f"was killed during the check: it used all of the memory ({MEMORY}) or took more than"
            f" {LIMIT_S} s"
        )
    if number:
        return f"ended the check with signal {number}"
    return f"ended the check (exit code {code})"
