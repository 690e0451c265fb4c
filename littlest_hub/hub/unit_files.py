"""The hub's unit as systemd would start it now, compared with what the running hub has of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from littlest_hub.hub.records import UnitRecord, read, write_volatile
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.system.systemctl import show
from littlest_hub.units import hub
from littlest_hub.units.ports import choose_ports
from littlest_hub.units.unit import service_directives

# A reload applies these, or compares what they lead to, or daemon-reload applies them.
_APPLIED = (
    *("Environment", "PassEnvironment", "UnsetEnvironment", "Exec", "Timeout", "Restart"),
    *("LoadCredential", "SetCredential", "ImportCredential", "Watchdog", "Kill", "Notify"),
    *("Memory", "CPU", "IO", "Tasks", "StartLimit", "SuccessExitStatus", "OOMPolicy"),
)
# Begin like those, but hold for a process from its start (systemd.exec(5)).
_OF_PROCESS = (
    *("MemoryDenyWriteExecute", "MemoryKSM", "MemoryTHP", "CPUAffinity", "CPUScheduling"),
    *("IOScheduling", "ExecPaths"),
)


def texts(layout: Layout) -> list[str]:
    """Return the texts of the unit's file and of its drop-ins, in the order that counts.

    If this release is not active yet, the file is the one that it would write.
    """
    file = show(layout.hub_service, "FragmentPath")
    if file and _is_active(layout):
        return [_read(Path(file)), *_drop_ins(layout)]
    return [hub.service(layout, choose_ports(layout, None)).text(), *_drop_ins(layout)]


def record_start(layout: Layout) -> None:
    """Record what the unit has beyond its own file, unless a hub of this start has done so."""
    invocation = os.environ.get("INVOCATION_ID", "")
    if invocation and _recorded(layout).invocation != invocation:
        credentials = credential_digests(os.environ.get("CREDENTIALS_DIRECTORY"))
        record = UnitRecord(invocation, tuple(_lasting_directives(layout)), credentials)
        write_volatile(layout.unit_record, record.to_json())


def credential_digests(directory: str | None) -> dict[str, str]:
    """Return a digest of each credential in a directory, by name."""
    found: dict[str, str] = {}
    # A file that cannot be read is missing for the hub too.
    with contextlib.suppress(OSError):
        for file in Path(directory).iterdir() if directory else ():
            found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def pending_changes(layout: Layout, credentials: Mapping[str, str] | None) -> Iterator[str]:
    """Yield a sentence for each change of the unit that a reload cannot apply.

    Args:
        layout: the installation.
        credentials: digests of the credentials that a unit started now has; None: unknown.
    """
    unit = layout.hub_service
    if not (layout.is_live and _is_active(layout)) or show(unit, "MainPID") in ("", "0"):
        return
    # systemd 257 says so of every unit, also of one without files, once any unit file was linked; a
    # check links one (`check/sandbox.py`).
    is_of_all = show("init.scope", "NeedDaemonReload") == "yes"
    if not is_of_all and show(unit, "NeedDaemonReload") == "yes":
        yield f"files of {unit} have changed since systemd read them: systemctl daemon-reload"
    restart = f"a reload cannot apply that: systemctl restart {unit} (user servers go on)"
    recorded = _recorded(layout)
    if not recorded.invocation or recorded.invocation != show(unit, "InvocationID"):
        return  # a hub of an earlier release, or none that has served yet
    differing = {*recorded.directives} ^ {*_lasting_directives(layout)}
    for key in sorted({line.partition("=")[0] for line in differing}):
        yield f"{key}= of {unit} has changed since it started, and {restart}"
    for name in sorted({*recorded.credentials, *(credentials or {})}):
        if credentials is not None and recorded.credentials.get(name) != credentials.get(name):
            yield f"credential {name} of {unit} has changed since it started, and {restart}"


def _is_active(layout: Layout) -> bool:
    return layout.hub.resolve() == release_of_this_interpreter()


def _drop_ins(layout: Layout) -> list[str]:
    # systemd separates the paths with spaces.
    return [_read(Path(path)) for path in show(layout.hub_service, "DropInPaths").split()]


def _lasting_directives(layout: Layout) -> list[str]:
    """Return the directives of drop-ins that only a start of the unit applies."""
    found = [each for text in _drop_ins(layout) for each in service_directives(text)]
    return [f"{key}={value}" for key, value in found if is_lasting(key)]


def is_lasting(key: str) -> bool:
    """Return whether only a start of the unit applies a change of a directive in [Service]."""
    return key.startswith(_OF_PROCESS) or not key.startswith(_APPLIED)


def _recorded(layout: Layout) -> UnitRecord:
    try:
        return UnitRecord.from_json(read(layout.unit_record))
    except (ValueError, TypeError, KeyError, RecursionError):
        return UnitRecord()  # none, or the hub's user has written something else


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
