"""Units and releases."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.hub.services import SERVICES_FAIL
from littlest_hub.installation import installed_unit
from littlest_hub.layout import PRODUCT
from littlest_hub.lifecycle import release
from littlest_hub.lifecycle.release_files import missing_files, wrong_rights
from littlest_hub.system.processes import runs_below

_OVER = timedelta(days=7)
"""The time after which a restart is over: systemd counts it until somebody resets the count."""


def unit_states(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every unit is installed, enabled, running, and not in a crash loop."""
    if snapshot.is_foreground or not snapshot.is_booted:
        yield Finding(OK, "units", "none: installed for `littlest-hub run`, without systemd")
        return
    layout = snapshot.layout
    # The hub's last: their commands come after those of the proxy, for which its start waits.
    started = sorted(layout.started_unit_names, key=lambda n: service_of(n) == layout.hub_service)
    for name in (*started, *layout.helper_sockets, *snapshot.stack_units):
        yield from _unit_state(snapshot, name, snapshot.units.get(name, {}))


def _unit_state(snapshot: Snapshot, name: str, shown: Mapping[str, str]) -> Iterator[Finding]:
    loaded = shown.get("LoadState", "")
    if not loaded:
        yield Finding(UNSEEN, name, "systemctl reports nothing about it")
    elif loaded == "masked":
        unmask = f"systemctl unmask {name} && systemctl start {name}"
        yield Finding(PROBLEM, name, "is masked, so systemd refuses to start it", unmask)
    elif loaded != "loaded":
        install = f"{snapshot.layout.hub}/bin/littlest-hub install"
        yield Finding(PROBLEM, name, f"is not installed ({loaded})", install)
    else:
        _, is_without, services = shown.get("StatusText", "").partition(SERVICES_FAIL)
        if is_without and shown.get("ActiveState") == "active":
            text = f"serves {SERVICES_FAIL}{services}"
            yield Finding(PROBLEM, name, text, f"journalctl -u {name} -n 50")
        yield from _unit_files(snapshot, name, shown)
        yield _active_state(snapshot, name, shown)


def _unit_files(snapshot: Snapshot, name: str, shown: Mapping[str, str]) -> Iterator[Finding]:
    if shown.get("NeedDaemonReload") == "yes":
        reload = "systemctl daemon-reload"
        yield Finding(WARNING, name, "has changed on disk since systemd read it", reload)
    # A unit of a stack without [Install] is "linked" too; its socket starts it.
    if shown.get("UnitFileState") in ("disabled", "linked") and not _is_triggered(snapshot, name):
        linked = snapshot.layout.unit_directory / name
        enable = f"systemctl enable {linked if linked.exists() else name}"
        yield Finding(WARNING, name, "does not start at the next boot", enable)
    for drop_in in shown.get("DropInPaths", "").split():
        ours = (snapshot.layout.restore_guard, snapshot.layout.change_guard)
        if Path(drop_in) not in ours:
            yield Finding(OK, name, f"drop-in {drop_in}", f"systemctl cat {name}")


def _active_state(snapshot: Snapshot, name: str, shown: Mapping[str, str]) -> Finding:
    active = shown.get("ActiveState", "")
    if name == snapshot.layout.proxy_https_socket and active == "inactive":
        # `certificates` examines whether it should be active.
        return Finding(OK, name, "listens when a fragment asks for HTTPS")
    if active == "inactive" and _is_triggered(snapshot, name):
        return Finding(OK, name, "starts when it is needed")
    if active == "active":
        is_first = not int(shown.get("NRestarts") or 0)
        return Finding(OK, name, "is active") if is_first else _restarted(snapshot, name, shown)
    if active in ("reloading", "deactivating"):
        text = f"is {active} at the moment"
        return Finding(WARNING, name, text, f"systemctl status {name}")
    if active == "activating":
        return _starting(snapshot, name, shown)
    return _inactive(snapshot, name, active)


def _starting(snapshot: Snapshot, name: str, shown: Mapping[str, str]) -> Finding:
    restarts = int(shown.get("NRestarts") or 0)
    if restarts or shown.get("SubState") == "auto-restart":
        text = f"fails each time it starts ({restarts} restarts): {snapshot.reason(name)}"
        look = f"journalctl -u {name} -n 50   # fix the cause: it starts again by itself"
        return Finding(PROBLEM, name, text, look)
    if _has_timer(snapshot, name):
        # Its work may take hours.
        return Finding(OK, name, "runs at the moment")
    return Finding(WARNING, name, "is starting at the moment", f"systemctl status {name}")


def _inactive(snapshot: Snapshot, name: str, active: str) -> Finding:
    service = service_of(name)
    if name != service and snapshot.is_active(service):
        # systemd does not start a socket whose service runs already.
        sockets = [
            u
            for u in snapshot.layout.started_unit_names
            if u != service and service_of(u) == service
        ]
        start = f"systemctl stop {service}; systemctl start {' '.join(sockets)} {service}"
        text = f"is {active}: {service} keeps its open sockets, but loses requests if it restarts"
        return Finding(PROBLEM, name, text, start)
    reason = snapshot.reason(name) if active == "failed" else ""
    text = f"is {active}: {reason}" if reason else f"is {active}"
    return Finding(PROBLEM, name, text, f"systemctl start {name}")


def _restarted(snapshot: Snapshot, name: str, shown: Mapping[str, str]) -> Finding:
    """Report why a service that runs was restarted; the command shows its last words before."""
    since, until = "", ""
    with contextlib.suppress(ValueError):
        # "Mon 2026-11-30 23:29:23 CET"
        words = shown.get("ActiveEnterTimestamp", "").split()
        started = datetime.fromisoformat(" ".join(words[1:3]))
        since = f" since {started}"
        if datetime.now() - started > _OVER:
            return Finding(OK, name, f"runs{since}; it was restarted before that")
        # The end of the last run may be in the same second.
        until = f' --until "{started + timedelta(seconds=1)}"'
    reason = snapshot.reason(name) or "its journal does not say why"
    text = f"runs{since}, after it was restarted {shown['NRestarts']} times by itself: {reason}"
    see = f"journalctl -u {name}{until} -n 50"
    return Finding(WARNING, name, text, f"{see}; systemctl reset-failed {name}")


def _is_triggered(snapshot: Snapshot, name: str) -> bool:
    """Return whether a socket, timer, path or another unit starts a stack's service."""
    if name not in snapshot.stack_units or not name.endswith(".service"):
        return False
    stem = name.removesuffix(".service")
    triggers = {f"{stem}.{kind}" for kind in ("socket", "timer", "path")}
    if own := triggers.intersection(snapshot.stack_units):
        return any(map(snapshot.is_active, own))
    return "[Install]" not in installed_unit(snapshot.layout, name).read_text()


def _has_timer(snapshot: Snapshot, name: str) -> bool:
    """Return whether a timer starts a stack's service, which then does its work and ends."""
    timer = f"{name.removesuffix('.service')}.timer"
    return name.endswith(".service") and timer in snapshot.stack_units


def service_of(unit: str) -> str:
    """Return the service that a socket unit starts."""
    return re.sub(r"(-api|-https)?\.socket$", ".service", unit)


def unfinished_restore(snapshot: Snapshot) -> Iterator[Finding]:
    """Report a restore that was killed."""
    if snapshot.layout.restore_record.exists():
        text = "a restore is in progress or was killed; the hub's next start completes it"
        complete = f"systemctl restart {snapshot.layout.hub_service}"
        if not snapshot.layout.restore_guard.exists():
            text = "a restore was killed before it changed anything"
            complete = f"{snapshot.layout.command} restore --finish"
        yield Finding(PROBLEM, "restore", text, complete)


def releases(snapshot: Snapshot) -> Iterator[Finding]:
    """Check which release is active, and which ones run."""
    layout = snapshot.layout
    if not layout.hub.is_symlink() or not (layout.hub / "bin" / "python3").exists():
        here = release.installed(layout)
        repair = f"ln -sfn releases/{here[-1].name} {layout.hub}" if here else ""
        yield Finding(PROBLEM, "release", f"{layout.hub} does not point to a release", repair)
        return
    active = layout.hub.resolve().name
    yield Finding(OK, "release", f"{active} is active")
    running: dict[str, list[str]] = {}
    for name, shown in {**snapshot.units, **snapshot.user_units}.items():
        pid = int(shown.get("MainPID") or 0)
        if pid and (entry := runs_below(pid, layout.releases)):
            running.setdefault(entry, []).append(name)
    for entry, names in sorted(running.items()):
        if entry == active:
            continue
        title = release.title(entry)
        for name in (layout.hub_service, layout.proxy_service, layout.guard_service):
            if name in names:
                text = f"still runs {title}, the active one is {active}"
                yield Finding(WARNING, name, text, f"systemctl reload-or-restart {name}")
        if users := [name for name in names if name in snapshot.user_units]:
            text = f"{len(users)} still run {title}, until their users restart them"
            stop = f"systemctl stop {' '.join(users)}   # loses what runs in them"
            yield Finding(WARNING, "user servers", text, stop)
    others = (p for p in release.installed(layout) if p.name != active)
    # A rollback needs the newest of them.
    old = sorted(others, key=lambda path: path.stat().st_mtime)[:-1]
    unused = [p for p in old if p.name not in running]
    if unused and snapshot.is_root:
        text = f"nothing runs from {', '.join(p.name for p in unused)}"
        yield Finding(OK, "release", text, f"rm -rf {' '.join(map(str, unused))}")


def release_files(snapshot: Snapshot) -> Iterator[Finding]:
    """Check owners and modes of the active release's files, and whether all are there."""
    layout = snapshot.layout
    prefix = layout.hub.resolve()
    if not prefix.is_relative_to(layout.releases):
        return  # `releases` says so
    wrong = list(wrong_rights(prefix, layout.base.stat().st_uid))
    if wrong:
        text = f"owner or mode of some files is wrong ({len(wrong)}): {wrong[0]}"
        yield Finding(PROBLEM, "release", text, f"{layout.hub}/bin/littlest-hub install")
    missing = list(missing_files(prefix))
    if missing:
        text = f"some files are missing ({len(missing)}): {missing[0]}"
        again = f"bash {PRODUCT}-{prefix.name}-*.sh -b -u   # its installer"
        yield Finding(PROBLEM, "release", text, again)
    if not wrong and not missing:
        yield Finding(OK, "release", "its files are all there, with their owners and modes")
