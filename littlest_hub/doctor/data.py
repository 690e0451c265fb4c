"""The database and its backups."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.snapshot import COMMAND_TIMEOUT_S, Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest.discovery import enabled_stacks

BACKUP_AGE_DAYS = 7


def database(snapshot: Snapshot) -> Iterator[Finding]:
    """Check the integrity of the hub's database."""
    file = snapshot.layout.database
    if not file.parent.is_dir() or not os.access(file.parent, os.X_OK):
        yield Finding(UNSEEN, "database", f"{file} cannot be read", snapshot.as_root)
        return
    if not file.exists():
        yield Finding(OK, "database", "not here (never started, or a fragment names another one)")
        return
    try:
        verdict = str(snapshot.query("PRAGMA quick_check(3)")[0][0])
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict == "ok":
        yield Finding(OK, "database", f"intact, {file.stat().st_size / 1e6:.1f} MB")
    elif "interrupted" in verdict or "locked" in verdict:
        yield Finding(UNSEEN, "database", f"{verdict} after {COMMAND_TIMEOUT_S} s")
    else:
        text = f"{file} is damaged: {verdict}"
        if newest := _newest_backup(snapshot.layout):
            repair = f"{snapshot.layout.command} restore --yes {newest}"
        else:
            text += "\nthere is no backup; a new database has no users, groups and tokens"
            unit = snapshot.layout.hub_service
            repair = f"systemctl stop {unit}; mv {file} {file}.damaged; systemctl start {unit}"
        yield Finding(PROBLEM, "database", text, repair)


def last_backup(snapshot: Snapshot) -> Iterator[Finding]:
    """Report how old the last backup is."""
    if not os.access(snapshot.layout.hub_state, os.X_OK | os.R_OK):
        yield Finding(
            UNSEEN, "backup", f"{snapshot.layout.backups} cannot be read", snapshot.as_root
        )
        return
    newest = _newest_backup(snapshot.layout)
    make = f"{snapshot.layout.command} backup"
    if stack := _stack_that_backs_up(snapshot.layout):
        yield Finding(OK, "backup", f"the stack {stack} makes them")
        return
    if newest is None:
        text = f"none in {snapshot.layout.backups}, unless you make backups elsewhere"
        yield Finding(WARNING, "backup", text, make)
        return
    days = (time.time() - newest.stat().st_mtime) / 86400
    severity = WARNING if days > BACKUP_AGE_DAYS else OK
    yield Finding(severity, "backup", f"the last is {days:.0f} days old: {newest}", make)


def _stack_that_backs_up(layout: Layout) -> str:
    """Return the name of an enabled stack that backs up the hub; "": none does."""
    try:
        found = enabled_stacks(layout, layout.hub.resolve())
    except (LittlestHubError, OSError):
        return ""  # other probes report it
    return next((name for name, stack in found.items() if stack.manifest.backs_up), "")


def _newest_backup(layout: Layout) -> Path | None:
    made = [f for f in layout.backups.glob("*.tar.gz") if not f.name.startswith("before-restore")]
    return max(made, key=lambda file: file.stat().st_mtime, default=None)
