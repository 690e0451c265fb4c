"""The probe of `doctor` for backups, which `watch` tells the administrator of."""

from __future__ import annotations

import time
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.stacks.backups.repository import record
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.repository.record import Record
from littlest_hub.stacks.backups.settings import STACK
from littlest_hub.stacks.backups.units import run_unit, trial_unit
from littlest_hub.system.restic import INSTALL, program_is_missing

LATE_S = 2.5 * 86400
"""The age from which on the last backup is too old."""
TEST_LATE_S = 45 * 86400
_CLOCK_S = 3600


def backups(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that backups are made, that they can be restored, and that the password is kept."""
    if program_is_missing():
        yield Finding(PROBLEM, STACK, "restic is not installed: no backup is made", INSTALL)
    if not snapshot.is_root:
        return
    layout = snapshot.layout
    place = Place.of(layout)
    command = f"{layout.command} {STACK}"
    if not place.password.exists():
        text = f"{place.password} is missing: no backup can be made or read"
        yield Finding(PROBLEM, STACK, text, f"# put the password there; or: {command} init")
        return
    known = record.read(place)
    yield from last_backup(known, time.time(), f"journalctl -u {run_unit(layout)} -n 30", command)
    yield from restore_test(known, time.time(), f"journalctl -u {trial_unit(layout)} -n 30")
    if not known.key_shown_s:
        text = "nobody has looked at the password yet; kept only here, it is lost with this machine"
        yield Finding(WARNING, STACK, text, f"{command} key")


def last_backup(known: Record, now_s: float, see: str, command: str) -> Iterator[Finding]:
    """Yield what there is to say of the last backup.

    Args:
        known: what was done.
        now_s: the time, in seconds since the epoch.
        see: the command that shows the journal of backups.
        command: the stack's own command.
    """
    if known.check.problem:
        text = f"the repository is damaged: {known.check.problem}"
        yield Finding(PROBLEM, STACK, text, f"{command} check   # again, once it is repaired")
    if known.run.problem and known.run.problem != known.check.problem:
        text = f"the last backup has failed: {known.run.problem}"
        yield Finding(PROBLEM, STACK, text, see)
    if not known.success_s:
        yield Finding(WARNING, STACK, "no backup has been completed yet", f"{command} now")
        return
    age_s = now_s - known.success_s
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(known.success_s))
    if age_s < -_CLOCK_S:
        text = f"the last backup is of {when}, which is in the future: the clock is or was wrong"
        yield Finding(WARNING, STACK, text, "timedatectl")
    elif age_s > LATE_S:
        text = f"the last complete backup is of {when}, {age_s / 86400:.0f} days ago"
        yield Finding(PROBLEM, STACK, text, see)
    elif not known.run.problem:
        yield Finding(
            OK, STACK, f"last backup {when}, {known.snapshots} are kept: {known.run.text}"
        )
    if known.warning:
        yield Finding(WARNING, STACK, known.warning, see)
    if known.unread:
        text = f"{len(known.unread)} files could not be read, such as {known.unread[0]}"
        yield Finding(WARNING, STACK, text, see)


def restore_test(known: Record, now_s: float, see: str) -> Iterator[Finding]:
    """Yield what there is to say of the last restore test."""
    test, when = known.test, time.strftime("%Y-%m-%d", time.localtime(known.test.time_s))
    if test.problem:
        text = f"the restore test of {when} has failed: {test.problem}"
        yield Finding(PROBLEM, STACK, text, see)
    elif test.time_s and now_s - test.time_s > TEST_LATE_S:
        text = f"the last restore test is of {when}; one is due every month"
        yield Finding(WARNING, STACK, text, see)
    elif test.time_s:
        yield Finding(OK, STACK, f"restore test of {when}: {test.text}")
