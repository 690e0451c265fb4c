"""The sandbox that fragments are run in to be checked.

As root with systemd it is a transient unit, which reads what the hub reads and changes nothing.
Otherwise it is a child process with limits of time and memory only. It has the rights of the user
who runs the check; a hub that this user starts runs the same fragments with the same rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from littlest_hub.check.messages import Domain, Done, Request, Running, decode
from littlest_hub.check.report import Problem
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.system.systemctl import systemctl
from littlest_hub.units.unit import SANDBOX

LIMIT_S = 60
"""Time limit of all fragments together."""
MEMORY = "1536M"
TASKS = 64

# Sources of user, group and host names; none of these sockets accepts commands.
_LOOKUPS = (
    "-/run/nscd -/run/nslcd -/run/systemd/userdb -/run/systemd/resolve -/run/resolvconf"
    " -/run/NetworkManager/resolv.conf -/run/secrets"
)
_PROPERTIES = {
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    # The rest of /run holds sockets that accept commands: systemd's, D-Bus's, Docker's.
    "TemporaryFileSystem": "/run:ro",
    "BindReadOnlyPaths": _LOOKUPS,
    "PrivateNetwork": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    # Reads what the hub reads. As root it could kill every other process of root.
    "DynamicUser": "yes",
    "CapabilityBoundingSet": "CAP_DAC_READ_SEARCH",
    "AmbientCapabilities": "CAP_DAC_READ_SEARCH",
    "UnsetEnvironment": "HOME LOGNAME USER SHELL",
    "SystemCallFilter": "@system-service",
    "RuntimeMaxSec": str(LIMIT_S),
    "TimeoutStopSec": "2",
    "MemoryMax": MEMORY,
    "MemorySwapMax": "0",
    "TasksMax": str(TASKS),
    # The same limit where control groups do not count tasks.
    "LimitNPROC": str(TASKS),
    "OOMScoreAdjust": "1000",
    "UMask": "0077",
}
# systemd-run accepts these as `systemctl show` prints them.
_COPIED = ("Environment", "PassEnvironment", "ProtectHome", "BindReadOnlyPaths")
# `systemctl show` does not print these; systemd before 250 does not know the second. Values in the
# unit itself (SetCredential=) are left out: as arguments every user could read them.
_CREDENTIALS = ("LoadCredential", "LoadCredentialEncrypted")
_ENVIRONMENT_FILE = re.compile(r"(.*) \(ignore_errors=(yes|no)\)")
# A line that faulthandler prints.
_FRAME = re.compile(r'  File "(.*)", line (\d+) in ')


_NOT_CONFINED = (
    "The fragments were run with your own rights: only as root, with systemd, does a check keep"
    " them from writing files and using the network."
)


@dataclass(frozen=True)
class Outcome:
    """The messages that came back from the sandbox, and how it ended."""

    problems: tuple[Problem, ...]
    domains: tuple[Domain, ...]
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
    properties = {**{setting.key: setting.value for setting in SANDBOX}, **_PROPERTIES}
    assignments = [f"{key}={value}" for key, value in properties.items()]
    assignments += _properties_of_hub(layout)
    command = [
        *("systemd-run", "--quiet", "--pipe", "--wait", "--collect"),
        f"--unit={layout.instance}-check-{secrets.token_hex(4)}",
        f"--description=Littlest Hub at {layout.base}: check of the fragments",
        *(f"--property={each}" for each in assignments),
        *(str(python), "-I", "-m", "littlest_hub.check.evaluator"),
    ]
    done = subprocess.run(
        command,
        input=json.dumps(request.to_json()),
        capture_output=True,
        text=True,
        errors="replace",
    )
    if not done.stdout:
        reason = done.stderr.strip() or f"systemd-run ended with exit code {done.returncode}"
        raise LittlestHubError(
            f"the fragments could not be checked: {reason}", "See: journalctl -b -n 20"
        )
    return _parse(layout, done.stdout, done.stderr, done.returncode)


def _properties_of_hub(layout: Layout) -> Iterator[str]:
    """Yield the properties of the hub's unit, drop-ins included, that fragments depend on."""
    names = [f"--property={name}" for name in ("EnvironmentFiles", *_COPIED)]
    for line in systemctl("show", *names, layout.hub_service, is_checked=False).splitlines():
        name, _, value = line.partition("=")
        file = _ENVIRONMENT_FILE.fullmatch(value)
        if name == "EnvironmentFiles" and file:
            yield f"EnvironmentFile={'-' if file[2] == 'yes' else ''}{file[1]}"
        elif name in _COPIED and value:
            yield line
    yield from _credentials(layout.hub_service)


def _credentials(unit: str) -> Iterator[str]:
    """Yield the properties that name a unit's credential files, systemd.exec(5)."""
    escaped = re.sub(r"[^A-Za-z0-9]|^[0-9]", lambda found: f"_{ord(found[0]):02x}", unit)
    where = ("org.freedesktop.systemd1", f"/org/freedesktop/systemd1/unit/{escaped}")
    ask = ["busctl", "--json=short", "get-property", *where, "org.freedesktop.systemd1.Service"]
    for name in _CREDENTIALS if shutil.which("busctl") else ():
        answer = subprocess.run([*ask, name], capture_output=True, text=True).stdout
        for credential, source in json.loads(answer or "{}").get("data", ()):
            yield f"{name}={credential}:{source}"


def _run_in_child(layout: Layout, request: Request) -> Outcome:
    with tempfile.TemporaryFile("w+") as report, tempfile.TemporaryFile("w+") as printed:
        sys.stdout.flush()
        sys.stderr.flush()
        # Forked: a caller that has imported JupyterHub already saves a second. Not by
        # multiprocessing, which waits for the child when this process ends.
        pid = os.fork()
        if pid == 0:
            _evaluate(request, report.fileno(), printed.fileno())
        code = _wait(pid)
        report.seek(0)
        printed.seek(0)
        outcome = _parse(layout, report.read(), printed.read(), code)
    return replace(outcome, note=_NOT_CONFINED)


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
        code: the exit code of the evaluator; negative or 128 + N if signal N ended it.
    """
    problems: list[Problem] = []
    domains: list[Domain] = []
    file, line, is_stuck, is_done = str(layout.fragments), 0, False, False
    for text in report.splitlines():
        if not text.startswith("{"):
            frame = _FRAME.match(text)
            # faulthandler prints the innermost frame first.
            if frame and not is_stuck and frame[1] == file:
                line, is_stuck = int(frame[2]), True
            continue
        match decode(text):
            case Problem() as problem:
                problems.append(problem)
            case Running(running):
                file, line = (running, 1) if running else (str(layout.fragments), 0)
            case Domain() as domain:
                domains.append(domain)
            case Done():
                is_done = True
    if not is_done:
        reason = "takes too long and cannot be interrupted" if is_stuck else _reason_of_end(code)
        problems.append(Problem(file, line, reason))
    return Outcome(tuple(problems), tuple(domains), printed)


def _reason_of_end(code: int) -> str:
    # systemd-run exits with 128 + signal, or with 255 for reasons of its own.
    number = -code if code < 0 else code - 128 if 128 < code < 192 else 0
    if number == signal.SIGKILL:
        return (
            f"was killed during the check: it used all of the memory ({MEMORY}) or took more than"
            f" {LIMIT_S} s"
        )
    if number:
        return f"ended the check with signal {number}"
    return f"ended the check (exit code {code})"
