"""Units and releases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from littlest_hub.doctor.observed import (
    OK,
    PROBLEM,
    UNSEEN,
    WARNING,
    Finding,
    Observed,
    modified_at,
)


def unit_states(machine: Observed) -> Iterator[Finding]:
    """Every unit loaded, enabled, running, and not in a loop."""
    if machine.is_foreground or not machine.is_booted:
        yield Finding(OK, "units", "none: installed for `littlest-hub run`, without systemd")
        return
    for name in machine.layout.units:
        yield from _unit_state(machine, name, machine.units.get(name, {}))


def _unit_state(machine: Observed, name: str, shown: Mapping[str, str]) -> Iterator[Finding]:
    loaded, active = shown.get("LoadState", ""), shown.get("ActiveState", "")
    if not loaded:
        yield Finding(UNSEEN, name, "systemctl says nothing about it")
        return
    if loaded == "masked":
        again = f"systemctl unmask {name} && systemctl start {name}"
        yield Finding(PROBLEM, name, "is masked: somebody forbade to start it", again)
        return
    if loaded != "loaded":
        install = f"{machine.layout.hub}/bin/littlest-hub install"
        yield Finding(PROBLEM, name, f"is not installed ({loaded})", install)
        return
    restarts = int(shown.get("NRestarts") or 0)
    if shown.get("NeedDaemonReload") == "yes":
        reload = "systemctl daemon-reload"
        yield Finding(WARNING, name, "has changed on disk since systemd read it", reload)
    if shown.get("UnitFileState") in ("disabled", "linked"):
        linked = machine.layout.unit_files / name
        enable = f"systemctl enable {linked if linked.exists() else name}"
        yield Finding(WARNING, name, "does not start at the next boot", enable)
    for drop_in in shown.get("DropInPaths", "").split():
        if drop_in == str(machine.layout.restore_guard):
            continue
        yield Finding(OK, name, f"drop-in {drop_in}", f"systemctl cat {name}")
    if name == machine.layout.proxy_https_socket and active == "inactive":
        # What would be wrong with that is for `certificates`, which sees what was asked for.
        yield Finding(OK, name, "listens when a fragment asks for HTTPS")
    elif active == "active":
        if restarts:
            text = f"runs, after {restarts} restarts by itself: {machine.reason(name)}"
            look = f"journalctl -u {name} -p warning"
            yield Finding(WARNING, name, text, look)
        else:
            yield Finding(OK, name, "is active")
    elif active in ("reloading", "deactivating"):
        yield Finding(WARNING, name, f"is {active} at the moment", f"systemctl status {name}")
    elif shown.get("SubState") == "auto-restart" or (active == "activating" and restarts):
        yield Finding(
            PROBLEM,
            name,
            f"fails each time it starts ({restarts} restarts): {machine.reason(name)}",
            f"journalctl -u {name} -n 50   # mend the cause: it starts again by itself",
        )
    elif active == "activating":
        yield Finding(WARNING, name, "is starting at the moment", f"systemctl status {name}")
    elif name.endswith(".socket") and machine.is_active(service_of(name)):
        # systemd starts no socket under a service that runs.
        service = service_of(name)
        sockets = [u for u in machine.layout.units if u != service and service_of(u) == service]
        start = f"systemctl stop {service}; systemctl start {' '.join(sockets)} {service}"
        text = (
            f"is {active}: {service} goes on with what it has, and its restart would lose requests"
        )
        yield Finding(PROBLEM, name, text, start)
    else:
        reason = machine.reason(name)
        text = f"is {active}" + (f": {reason}" if active == "failed" and reason else "")
        yield Finding(PROBLEM, name, text, f"systemctl start {name}")


def service_of(unit: str) -> str:
    return re.sub(r"(-api|-https)?\.socket$", ".service", unit)


def unfinished_restore(machine: Observed) -> Iterator[Finding]:
    """A restore that was killed."""
    if not machine.layout.restore_record.exists():
        return
    text = "a restore is under way, or was killed; the next start of the hub completes it"
    yield Finding(PROBLEM, "restore", text, f"systemctl restart {machine.layout.hub_service}")


def releases(machine: Observed) -> Iterator[Finding]:
    """What runs from which release."""
    layout = machine.layout
    if not layout.hub.is_symlink() or not (layout.hub / "bin" / "python3").exists():
        here = sorted(p.name for p in layout.releases.iterdir() if (p / "bin/python3").exists())
        repair = f"ln -sfn releases/{here[-1]} {layout.hub}" if here else ""
        yield Finding(PROBLEM, "release", f"{layout.hub} leads to no release", repair)
        return
    active = layout.hub.resolve().name
    yield Finding(OK, "release", f"{active} is active")
    running: dict[str, list[str]] = {}
    for name, shown in {**machine.units, **machine.user_units}.items():
        pid = shown.get("MainPID", "0")
        if pid != "0":
            release = _release_of(pid, layout.releases)
            if release is None:
                if not machine.is_root:
                    continue
                release = "?"
            running.setdefault(release, []).append(name)
    for name in (layout.hub_service, layout.proxy_service):
        old = next((r for r, names in running.items() if name in names), active)
        if old not in (active, "?"):
            text = f"still runs release {old}, the active one is {active}"
            yield Finding(WARNING, name, text, f"systemctl reload-or-restart {name}")
    for release, names in sorted(running.items()):
        users = [name for name in names if name in machine.user_units]
        if release not in (active, "?") and users:
            text = f"{len(users)} still run release {release}, until their users restart them"
            stop = f"systemctl stop {' '.join(users)}   # loses what runs in them"
            yield Finding(WARNING, "user servers", text, stop)
    others = sorted((p for p in layout.releases.iterdir() if p.name != active), key=modified_at)
    # The last one is what a rollback goes back to.
    unused = [p for p in others[:-1] if p.is_dir() and p.name not in running]
    if unused and machine.is_root:
        remove = f"rm -rf {' '.join(map(str, unused))}"
        yield Finding(
            OK, "release", f"nothing runs from {', '.join(p.name for p in unused)}", remove
        )


def _release_of(pid: str, releases: Path) -> str | None:
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None
    inside = executable.is_relative_to(releases)
    return executable.relative_to(releases).parts[0] if inside else "?"
