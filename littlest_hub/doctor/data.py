"""The database and its backups."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import time
from collections.abc import Iterator, Sequence

from littlest_hub.backup.last import LastBackup, last
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
        if newest := _newest([*_at_hand(snapshot.layout)]):
            repair = f"{snapshot.layout.command} restore --yes {shlex.quote(str(newest.file))}"
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
    recorded = last(snapshot.layout)
    newest = _newest([*_at_hand(snapshot.layout), *([recorded] if recorded else [])])
    make = f"{snapshot.layout.command} backup"
    if stack := _stack_that_backs_up(snapshot.layout):
        yield Finding(OK, "backup", f"the stack {stack} makes them")
        return
    if newest is None:
        text = (
            f"none in {snapshot.layout.backups}, and `{make}` has written none elsewhere;"
            " backups of other programs are not seen here"
        )
        yield Finding(WARNING, "backup", text, make)
        return
    days = (time.time() - newest.time_s) / 86400
    severity = WARNING if days > BACKUP_AGE_DAYS else OK
    where = str(newest.file or "written to standard output")
    if newest.file and not newest.file.exists():
        where += " (not there any more)"
    yield Finding(severity, "backup", f"the last is {days:.0f} days old: {where}", make)


def _stack_that_backs_up(layout: Layout) -> str:
    """Return the name of an enabled stack that backs up the hub; "": none does."""
    try:
        found = enabled_stacks(layout, layout.hub.resolve())
    except (LittlestHubError, OSError):
        return ""  # other probes report it
    return next((name for name, stack in found.items() if stack.manifest.backs_up), "")


def _at_hand(layout: Layout) -> Iterator[LastBackup]:
    """Yield the backups in state/backups, and the last one that was written elsewhere."""
    recorded = last(layout)
    for file in {*layout.backups.glob("*.tar.gz"), *([recorded.file] if recorded else [])}:
        with contextlib.suppress(OSError):
            if file and file.is_file() and not file.name.startswith("before-restore"):
                yield LastBackup(file.stat().st_mtime, file)


def _newest(backups: Sequence[LastBackup]) -> LastBackup | None:
    return max(backups, key=lambda each: each.time_s, default=None)
