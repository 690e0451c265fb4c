"""Root's helper for accounts: it makes and locks them, and lets administrators use sudo.

systemd starts an instance for each connection, as for `littlest_hub.helpers.pam`; only the hub can
connect. A request is a verb and words, separated by NUL; the reply is a JSON object. Root's
fragment decides what the helper does, and not the request.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom import fragment as stack_fragment
from littlest_hub.stacks.classroom.accounts import names, offboarding, sudo, table
from littlest_hub.stacks.classroom.accounts import settings as fragment
from littlest_hub.stacks.classroom.accounts.provision import Provision
from littlest_hub.stacks.classroom.accounts.settings import AccountSettings
from littlest_hub.stacks.classroom.accounts.table import Table
from littlest_hub.stacks.classroom.shared import folders
from littlest_hub.stacks.classroom.shared.settings import Shared

LIMIT_BYTES = 1 << 20
"""Longest request: the names of all administrators."""
_NOBODY = "nobody"
"""The owner of an account after its person has left."""


class Verb(StrEnum):
    """Kinds of requests."""

    ACCOUNT = "account"
    ADMINISTRATORS = "administrators"
    FOLDERS = "folders"
    GONE = "gone"
    LOCK = "lock"
    UNLOCK = "unlock"


def main() -> None:
    """Answer the request on standard input."""
    layout = installation.of_this_release()
    print(json.dumps(answer(layout, sys.stdin.buffer.read(LIMIT_BYTES + 1))), end="")


def answer(layout: Layout, request: bytes) -> dict[str, object]:
    """Return the reply: a "refusal", or the result of the request."""
    try:
        verb, *words = request.decode().split("\0")
        if len(request) > LIMIT_BYTES:
            raise LittlestHubError("no such request")
        return _done(layout, verb, words)
    except UnicodeDecodeError:
        return {"refusal": "no such request"}
    except LittlestHubError as error:
        print(error.message, file=sys.stderr)
        return {"refusal": ". ".join(filter(None, (error.message, error.hint)))}
    except OSError as error:
        print(error, file=sys.stderr)
        return {"refusal": str(error)}


def _done(layout: Layout, verb: str, words: Sequence[str]) -> dict[str, object]:
    """Carry out a request, and return the reply.

    Raises:
        LittlestHubError: the request is refused.
    """
    settings = fragment.read(layout)
    match verb, words:
        case Verb.ACCOUNT, [login, person]:
            name = Provision(layout, settings).account_of(login, person)
            print(f"{login}: account {name}", file=sys.stderr)
            make_own_folders(layout, name)
            return {"account": name}
        case Verb.ADMINISTRATORS, logins:
            return {"problem": set_administrators(layout, settings, [*filter(None, logins)])}
        case Verb.FOLDERS, []:
            folders.make(layout, stack_fragment.read(layout, Shared))
            return {}
        case Verb.GONE, [login]:
            leave(layout, login)
            return {}
        case ((Verb.LOCK | Verb.UNLOCK), [login]):
            set_locked(layout, login, is_locked=verb == Verb.LOCK)
            return {}
    raise LittlestHubError("no such request")


def make_own_folders(layout: Layout, account: str) -> None:
    """Make the folders of an account in the drop boxes; the server starts even without them."""
    try:
        folders.make_own(layout, stack_fragment.read(layout, Shared), account)
    except (LittlestHubError, OSError) as error:
        print(error, file=sys.stderr)


def leave(layout: Layout, login: str) -> None:
    """Leave an account without an owner until root decides what happens to it.

    The hub may use the same row of its database for the next person of that name.
    """

    def left(found: Table) -> Table:
        account = found.accounts.get(login)
        return found.with_account(login, replace(account, person=_NOBODY)) if account else found

    table.update(layout, left)


def set_locked(layout: Layout, login: str, *, is_locked: bool) -> None:
    """Lock the account of a login and end its processes, or unlock the account.

    Raises:
        LittlestHubError: the request is refused, or a step failed.
    """
    if not names.is_login(login):
        raise LittlestHubError(f"{login!r} cannot have an account")
    if layout.hub_user and login not in table.read(layout).accounts:
        # A compromised hub could lock any user out of the machine.
        how = "remove --lock" if is_locked else "unlock"
        hint = f"As root: {layout.command} class {how} {shlex.quote(login)}"
        raise LittlestHubError(f"the hub has made no account for {login}", hint)
    if is_locked:
        offboarding.block(layout, login)
        offboarding.end_all(layout, login)
    else:
        offboarding.unblock(layout, login)
    print(f"{login} is {'locked' if is_locked else 'unlocked'}", file=sys.stderr)


def set_administrators(layout: Layout, settings: AccountSettings, logins: Sequence[str]) -> str:
    """Let administrators use sudo, and end what former ones still run as root.

    Args:
        layout: the installation.
        settings: what the fragment says.
        logins: the administrators of the hub.

    Returns:
        The reason why administrators cannot use sudo; "": they can.
    """
    if layout.hub_user:
        # A compromised hub could name any user.
        return "the hub does not run as root"
    with table.changing(layout):
        found = table.read(layout)
        wanted = logins if settings.admins_have_sudo else ()
        accounts = dict(filter(None, (_account(layout, settings, each) for each in wanted)))
        # Recorded first: if this helper is killed, the next one ends the remaining processes.
        former = found.may_sudo - accounts.keys()
        table.save(layout, replace(found, may_sudo=found.may_sudo | accounts.keys()))
        problem = sudo.replace_file(layout, accounts)
        for uid in former:
            print(f"account {uid} may not use sudo any more", file=sys.stderr)
            sudo.end_elevated(layout, uid)
        table.save(layout, replace(table.read(layout), may_sudo=frozenset(accounts)))
        return problem


def _account(layout: Layout, settings: AccountSettings, login: str) -> tuple[int, str] | None:
    """Return number and name of an administrator's account; None: there is none so far."""
    found = table.read(layout)
    if login in found.blocked:
        return None
    if existing := Provision(layout, settings).existing_or_none(login):
        return existing.pw_uid, existing.pw_name
    account = found.accounts.get(login)
    if account is None or account.stage != table.READY:
        return None
    return account.uid, account.name


if __name__ == "__main__":
    main()
