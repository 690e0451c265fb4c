"""The database and its backups."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.doctor.observed import (
    AS_ROOT,
    COMMAND_TIMEOUT_S,
    OK,
    PROBLEM,
    UNSEEN,
    WARNING,
    Finding,
    Observed,
    modified_at,
)
from littlest_hub.layout import Layout

BACKUP_AGE_DAYS = 7


def database(machine: Observed) -> Iterator[Finding]:
    """Whether sqlite finds it whole."""
    file = machine.layout.database
    if not file.parent.is_dir() or not os.access(file.parent, os.X_OK):
        yield Finding(UNSEEN, "database", f"{file} cannot be looked at", AS_ROOT)
        return
    if not file.exists():
        yield Finding(OK, "database", "none of ours (not started yet, or a fragment names another)")
        return
    try:
        verdict = str(machine.query("PRAGMA quick_check(3)")[0][0])
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict == "ok":
        yield Finding(OK, "database", f"whole, {file.stat().st_size / 1e6:.1f} MB")
    elif "interrupted" in verdict or "locked" in verdict:
        yield Finding(UNSEEN, "database", f"{verdict} after {COMMAND_TIMEOUT_S} s")
    else:
        newest = _newest_backup(machine.layout)
        if newest:
            mend = f"{machine.command} restore --yes {newest}"
        else:
            unit = machine.layout.hub_service
            mend = f"systemctl stop {unit}; mv {file} {file}.damaged; systemctl start {unit}"
        text = f"{file} is damaged: {verdict}"
        text += "" if newest else "\nthere is no backup; a new one forgets users, groups and tokens"
        yield Finding(PROBLEM, "database", text, mend)


def last_backup(machine: Observed) -> Iterator[Finding]:
    """When it was."""
    if not os.access(machine.layout.hub_state, os.X_OK | os.R_OK):
        yield Finding(UNSEEN, "backup", "cannot be looked at", AS_ROOT)
        return
    newest = _newest_backup(machine.layout)
    make = f"{machine.command} backup"
    if newest is None:
        where = machine.layout.backups
        yield Finding(WARNING, "backup", f"none in {where}, unless it is made elsewhere", make)
        return
    days = (time.time() - modified_at(newest)) / 86400
    severity = WARNING if days > BACKUP_AGE_DAYS else OK
    yield Finding(severity, "backup", f"the last is {days:.0f} days old: {newest}", make)


def _newest_backup(layout: Layout) -> Path | None:
    made = [f for f in layout.backups.glob("*.tar.gz") if not f.name.startswith("before-restore")]
    return max(made, key=modified_at, default=None)
