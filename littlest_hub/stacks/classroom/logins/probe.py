"""The probe of `doctor` for the logins of a class."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.stacks.classroom.logins.people import People, file_of
from littlest_hub.unprivileged.privileges import run_as_hub_user


def people(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the file of people is whole, and that only the hub can use it."""
    layout = snapshot.layout
    file = file_of(layout)
    if not file.exists():
        yield Finding(OK, "class", "no person has a password in the hub")
        return
    owner = layout.hub_state.stat()
    for path, mode in ((file.parent, 0o700), (file, 0o600)):
        found = path.lstat()
        if (found.st_uid, stat.S_IMODE(found.st_mode)) != (owner.st_uid, mode):
            text = (
                f"{path} belongs to user {found.st_uid} and has mode"
                f" {stat.S_IMODE(found.st_mode):04o}; expected {owner.st_uid} and {mode:04o}"
            )
            repair = f"chown {owner.st_uid}:{owner.st_gid} {path} && chmod {mode:04o} {path}"
            yield Finding(PROBLEM, "class", text, repair)
            return
    if damage := run_as_hub_user(layout, People(file).damage):
        text = f"{file} is damaged, so nobody can log in: {damage}"
        restore = (
            f"{layout.command} restore BACKUP   # or move it away, and let people sign up anew"
        )
        yield Finding(PROBLEM, "class", text, restore)
        return
    waiting = run_as_hub_user(layout, People(file).number_waiting)
    yield Finding(OK, "class", f"people can log in; {waiting} wait to be let in")
