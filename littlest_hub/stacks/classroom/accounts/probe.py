"""The probe of `doctor` for accounts."""

from __future__ import annotations

import pwd
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.accounts import settings as fragment
from littlest_hub.stacks.classroom.accounts import sudo, table
from littlest_hub.stacks.classroom.accounts.table import Account

_SUBJECT = "class"


def accounts(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the accounts that the hub has made exist, and that sudo is installed."""
    layout = snapshot.layout
    try:
        found, settings = table.read(layout), fragment.read(layout)
    except LittlestHubError as error:
        yield Finding(PROBLEM, _SUBJECT, error.message, error.hint or "")
        return
    for login, account in sorted(found.accounts.items()):
        if text := _problem_of(account):
            command = f"{layout.command} class people"
            yield Finding(PROBLEM, f"{login}'s account", text, command)
    if settings.admins_have_sudo and not layout.hub_user and sudo.program() is None:
        text = "administrators shall have sudo, which is not installed"
        yield Finding(WARNING, _SUBJECT, text, "apt install sudo")
    number, locked = len(found.accounts), len(found.blocked)
    yield Finding(OK, _SUBJECT, f"{number} accounts were made; {locked} names are locked")


def _problem_of(account: Account) -> str:
    try:
        uid = pwd.getpwnam(account.name).pw_uid
    except KeyError:
        return f"the account {account.name} is gone; the next start of the server makes it again"
    if uid != account.uid:
        return f"{account.name} has the number {uid}, and the hub made it with {account.uid}"
    return ""
