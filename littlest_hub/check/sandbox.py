"""Where fragments are run to be checked: they can read what the hub can, and change nothing.

As root on a systemd machine that is a transient unit; elsewhere a child in namespaces of its own,
as far as the kernel allows that.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.units import hub
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import SANDBOX, directives

LIMIT_S = 60
"""How long all fragments together may take."""
MEMORY = "1536M"
TASKS = 64

# What the names of users and groups, and of hosts, come from; nothing there takes orders.
_LOOKUPS = (
    "-/run/nscd -/run/nslcd -/run/systemd/userdb -/run/systemd/resolve -/run/resolvconf"
    " -/run/NetworkManager/resolv.conf -/run/secrets"
)
_PROPERTIES = {
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    # The rest of /run is sockets that take orders: systemd's, D-Bus's, Docker's.
    "TemporaryFileSystem": "/run:ro",
    "BindReadOnlyPaths": _LOOKUPS,
    "PrivateNetwork": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    # Reads what the hub reads. As root it could end every other process of root's.
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
    # The same where control groups do not count tasks.
    "LimitNPROC": str(TASKS),
    "OOMScoreAdjust": "1000",
    "UMask": "0077",
}
# systemd-run takes these as `systemctl show` gives them.
_AS_SHOWN = ("Environment", "PassEnvironment", "ProtectHome", "BindReadOnlyPaths")
_FROM_HUB = ("LoadState", "EnvironmentFiles", *_AS_SHOWN)
# And these are not shown; the second is not known before systemd 250. Values that stand in the
# unit itself (SetCredential=) are not among them: they would be arguments that everybody can see.
_CREDENTIALS = ("LoadCredential", "LoadCredentialEncrypted")
_ENVIRONMENT_FILE = re.compile(r"(.*) \(ignore_errors=(yes|no)\)")
# A line of faulthandler's.
_FRAME = re.compile(r'  File "(.*)", line (\d+) in ')


class Outcome(NamedTuple):
    """What came back from the sandbox."""

    reported: list[dict[str, Any]]
    printed: str
    ended: str = ""
    """Why it ended before it was through; usually nothing."""
    where: tuple[str, int] | None = None
    """File and line that were being run then."""
    note: str = ""
    """What the sandbox lacked."""
    domains: tuple[tuple[str, str, int], ...] = ()
    """Names that are to lead to this machine; file and line that say so."""


def is_service(layout: Layout) -> bool:
    """Whether the hub is, or would be, a unit of the systemd that runs here, and we are root."""
    return (
        os.geteuid() == 0
        and layout.is_live
        and Path("/run/systemd/system").is_dir()
        and shutil.which("systemd-run") is not None
        and (layout.system_units / layout.hub_service).exists()
    )


def writable(layout: Layout) -> list[str]:
    """What the hub's unit may write to besides its state, by drop-ins."""
    if not is_service(layout):
        return []
    show = ["systemctl", "show", "--property=ReadWritePaths", "--value", layout.hub_service]
    answer = subprocess.run(show, capture_output=True, text=True).stdout
    return [path.lstrip("-+") for path in answer.split()]


class Rights(NamedTuple):
    """What the hub's unit leaves to its processes."""

    becomes_others: bool
    """Whether they may run commands as other users (runuser, sudo)."""
    has_others: bool
    """Whether other users exist for them, so that root's rights count for their files too."""


def rights(layout: Layout) -> Rights:
    """What this release's unit of the hub and the drop-ins that are there leave to it.

    Not what is loaded: that may be the unit of the release before.
    """
    if not is_service(layout):
        return Rights(becomes_others=True, has_others=True)
    show = ["systemctl", "show", "--property=DropInPaths", "--value", layout.hub_service]
    drop_ins = subprocess.run(show, capture_output=True, text=True).stdout.split()
    texts = [hub.service(layout, Ports()).text()]
    for file in drop_ins:
        with contextlib.suppress(OSError):
            texts.append(Path(file).read_text(errors="replace"))
    return rights_of(texts)


def rights_of(texts: Iterable[str]) -> Rights:
    """What a unit file and its drop-ins leave to the unit's processes, systemd.exec(5)."""
    lines = [line for text in texts for line in directives(text.replace("\\\n", " "))]
    capabilities = {"CAP_SETUID": False, "CAP_SETGID": False}
    has_others = True
    for line in lines:
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "PrivateUsers":
            has_others = value.lower() in ("", "no", "n", "false", "f", "off", "0")
        elif key == "CapabilityBoundingSet":
            is_inverted, named = value.startswith("~"), value.lstrip("~").upper().split()
            # One without a name says it of all of them.
            for name in named or [*capabilities]:
                capabilities[name] = is_inverted != bool(named)
    becomes_others = capabilities["CAP_SETUID"] and capabilities["CAP_SETGID"]
    return Rights(has_others and becomes_others, has_others)


def run(layout: Layout, request: Mapping[str, Any]) -> Outcome:
    """Have `littlest_hub.check.evaluator` answer a request in the sandbox.

    Raises:
        LittlestHubError: systemd does not give us one.
    """
    return _in_unit(layout, request) if is_service(layout) else _in_child(request)


# --- a transient unit


def _in_unit(layout: Layout, request: Mapping[str, Any]) -> Outcome:
    python = release_of_this_interpreter() / "bin" / "python3"
    properties = {**{setting.key: setting.value for setting in SANDBOX}, **_PROPERTIES}
    given = [f"{key}={value}" for key, value in properties.items()]
    given += _as_the_hub(layout)
    command = [
        *("systemd-run", "--quiet", "--pipe", "--wait", "--collect"),
        f"--unit={layout.instance}-check-{secrets.token_hex(4)}",
        f"--description=Littlest Hub at {layout.base}: check of the fragments",
        *(f"--property={each}" for each in given),
        *(str(python), "-I", "-m", "littlest_hub.check.evaluator"),
    ]
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, errors="replace"
    )
    outcome = _understand(done.stdout, done.stderr, done.returncode)
    if outcome.ended and not done.stdout:
        raise LittlestHubError(
            f"the fragments could not be checked: {done.stderr.strip() or outcome.ended}",
            "See: journalctl -b -n 20",
        )
    return outcome


def _as_the_hub(layout: Layout) -> Iterator[str]:
    """Properties of the hub's unit, drop-ins included, that decide what fragments find."""
    names = [f"--property={name}" for name in _FROM_HUB]
    show = ["systemctl", "show", *names, layout.hub_service]
    answer = subprocess.run(show, capture_output=True, text=True).stdout
    for line in answer.splitlines():
        name, _, value = line.partition("=")
        file = _ENVIRONMENT_FILE.fullmatch(value)
        if name == "EnvironmentFiles" and file:
            yield f"EnvironmentFile={'-' if file[2] == 'yes' else ''}{file[1]}"
        elif name in _AS_SHOWN and value:
            yield line
    yield from _credentials(layout.hub_service)


def _credentials(unit: str) -> Iterator[str]:
    """The files that systemd hands to a unit below $CREDENTIALS_DIRECTORY, as properties."""
    escaped = re.sub(r"[^A-Za-z0-9]|^[0-9]", lambda found: f"_{ord(found[0]):02x}", unit)
    where = ("org.freedesktop.systemd1", f"/org/freedesktop/systemd1/unit/{escaped}")
    ask = ["busctl", "--json=short", "get-property", *where, "org.freedesktop.systemd1.Service"]
    for name in _CREDENTIALS if shutil.which("busctl") else ():
        answer = subprocess.run([*ask, name], capture_output=True, text=True).stdout
        for credential, source in json.loads(answer or "{}").get("data", ()):
            yield f"{name}={credential}:{source}"


# --- a child


def _in_child(request: Mapping[str, Any]) -> Outcome:
    with tempfile.TemporaryFile("w+") as report, tempfile.TemporaryFile("w+") as printed:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(request, report, printed)
        code = _wait(pid)
        report.seek(0)
        printed.seek(0)
        return _understand(report.read(), printed.read(), code)


def _become(request: Mapping[str, Any], report: IO[str], printed: IO[str]) -> None:
    """Go on as the child, until its end."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        try:
            _confine()
        except OSError as error:
            why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            os.write(report.fileno(), f"{json.dumps({'note': why})}\n".encode())
        else:
            _fork_into_confinement()
        from littlest_hub.check import evaluator

        evaluator.run(request, report.fileno())
        sys.stdout.flush()
        sys.stderr.flush()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(pid: int) -> int:
    """The exit code of a child, or minus the signal that ended it; after LIMIT_S it is killed."""
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], LIMIT_S)[0]:
            os.kill(pid, signal.SIGKILL)
        # What the fragments started, even if nobody waits for it.
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(descriptor)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWIPC, _NEWUSER = 0x00020000, 0x08000000, 0x10000000
_NEWPID, _NEWNET = 0x20000000, 0x40000000
_MS_PRIVATE_RECURSIVE = 0x40000 | 0x4000
_MS_RDONLY = 0x1
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


def _confine() -> None:
    """Give up writing and the network, for this process and its children.

    Raises:
        OSError: the kernel does not let us; nothing or a part of it is done.
    """
    user, group = os.geteuid(), os.getegid()
    spaces = _NEWNS | _NEWNET | _NEWIPC | _NEWPID
    # Root may do without a user namespace, unless it is root of a container.
    if user != 0 or _libc.unshare(spaces):
        _succeed("unshare", _libc.unshare(spaces | _NEWUSER))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount(None, "/", None, _MS_PRIVATE_RECURSIVE)
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    # Linux 5.12; there is no other way to have all mounts in one step.
    _succeed(
        "mount_setattr",
        _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes)),
    )
    # Sockets that take orders: systemd's, D-Bus's, Docker's.
    _mount("none", "/run", "tmpfs", _MS_RDONLY)
    _mount("none", "/dev/shm", "tmpfs", 0)
    os.environ["TMPDIR"] = tempfile.tempdir = "/dev/shm"
    with socket.socket() as any_socket:
        up = struct.pack("16sH14x", b"lo", _IFF_UP)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, up)


def _fork_into_confinement() -> None:
    """Return in a child that sees, and can end, nobody but its own children."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    encoded = [text.encode() if text else None for text in (source, target, kind)]
    _succeed("mount", _libc.mount(*encoded, ctypes.c_ulong(flags), None), target)


def _succeed(call: str, result: int, about: str = "") -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about or call)


# --- what it says


def _understand(report: str, printed: str, code: int) -> Outcome:
    """What the lines on the report's descriptor mean."""
    reported: list[dict[str, Any]] = []
    running: tuple[str, int] | None = None
    note, is_done, is_stuck = "", False, False
    domains: list[tuple[str, str, int]] = []
    for line in report.splitlines():
        if not line.startswith("{"):
            frame = _FRAME.match(line)
            # The innermost comes first.
            if frame and running and not is_stuck and frame[1] == running[0]:
                running, is_stuck = (frame[1], int(frame[2])), True
            continue
        message = json.loads(line)
        if "problem" in message:
            reported.append(message["problem"])
        elif "running" in message:
            running = (message["running"], 1) if message["running"] else None
        elif "domain" in message:
            domains.append(tuple(message["domain"]))
        elif "note" in message:
            note = f"fragments were run without a sandbox ({message['note']})"
        is_done = is_done or "done" in message
    if is_done:
        return Outcome(reported, printed, note=note, domains=tuple(domains))
    ended = "takes too long and cannot be interrupted" if is_stuck else _end(code)
    return Outcome(reported, printed, ended, running, note)


def _end(code: int) -> str:
    # systemd-run says 128 + signal, or 255 for its own reasons.
    number = -code if code < 0 else code - 128 if 128 < code < 192 else 0
    if number == signal.SIGKILL:
        return f"was killed while it was checked: it took all memory ({MEMORY}) or over {LIMIT_S} s"
    if number:
        return f"ended the check by signal {number}"
    return f"ended the check (exit code {code})"
