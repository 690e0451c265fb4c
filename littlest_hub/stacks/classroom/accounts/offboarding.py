"""Accounts of people who leave: they are locked, archived, or deleted."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import settings as fragment
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.provision import Provision, is_home_of
from littlest_hub.stacks.classroom.accounts.table import Account, Table
from littlest_hub.stacks.classroom.logins import people
from littlest_hub.system import pidfd, processes, service_accounts
from littlest_hub.system.ownership import loose_step
from littlest_hub.system.systemctl import is_active, list_units, show, systemctl
from littlest_hub.unprivileged.privileges import run_as_hub_user

_ROUNDS = 50


def former_homes(layout: Layout) -> Path:
    """Return the directory of archives, which only root may enter; no backup contains it."""
    return layout.on_disk(layout.former_homes)


def lock(layout: Layout, login: str) -> str:
    """Block a login, end its sessions and servers, and lock the account.

    Returns:
        A report for people.

    Raises:
        LittlestHubError: a step failed; the login is blocked nevertheless.
    """
    name = block(layout, login)
    try:
        _apply(layout)
    finally:
        end_all(layout, login)
    if name and not _is_of_this_machine(name):
        what = f"; the account {name} is as it was: whoever looks after its directory can lock it."
    elif name:
        what = f"; the account {name} is locked."
    else:
        what = f". There is no account: is the name right? See: {layout.command} class people"
    return f"{login} cannot log in any more, and has no session and no server{what}"


def block(layout: Layout, login: str) -> str:
    """Block a login, and lock its account; return the name of the account, or "".

    The hub itself ends the sessions and servers that it knows.
    """
    _, name = _find(layout, login)
    table.update(layout, lambda found: replace(found, blocked=found.blocked | {login}))
    if name:
        _expire(name, "1")
    return name


def end_all(layout: Layout, login: str) -> None:
    """End all servers and programs of a login's account, even if the hub does not know them."""
    uid, name = _find(layout, login)
    if name:
        _stop_servers(layout, uid)
        end_processes(uid)


def unlock(layout: Layout, login: str) -> str:
    """Allow logins under a name again; return a report for people.

    Raises:
        LittlestHubError: the name is not locked.
    """
    name = unblock(layout, login)
    _apply(layout)
    if name:
        return f"{login} can log in again, with the account {name}."
    return f"{login} can log in again, and gets a new account with an empty home then."


def unblock(layout: Layout, login: str) -> str:
    """Undo `block`; return the name of the account, or "".

    Raises:
        LittlestHubError: the name is not locked.
    """

    def unlocked(found: Table) -> Table:
        if login not in found.blocked:
            raise LittlestHubError(f"{login} is not locked")
        return replace(found, blocked=found.blocked - {login})

    table.update(layout, unlocked)
    _, name = _find(layout, login)
    if name:
        _expire(name, "")
    return name


def remove(layout: Layout, login: str, *, is_kept: bool) -> str:
    """Lock an account that was made for a login, then remove it with its home directory.

    Args:
        layout: the installation.
        login: the name of a user of the hub.
        is_kept: archive the home directory first.

    Returns:
        A report for people.

    Raises:
        LittlestHubError: a step failed; earlier steps are not undone.
    """
    account = table.read(layout).accounts.get(login)
    if account is None:
        _, name = _find(layout, login)
        what = f"the account {name} is not the hub's" if name else "no account was made for it"
        raise LittlestHubError(
            f"{login}: {what}",
            f"{layout.command} class remove {shlex.quote(login)} --lock" if name else None,
        )
    lock(layout, login)
    _forget_password(layout, login)
    home = Path(account.home)
    archive = ""
    if os.path.lexists(home):
        _check_home(account)
        archive = str(_archive(layout, account)) if is_kept else ""
        # rmtree follows no link, and only root can put one into the path above the home.
        shutil.rmtree(home)
    until = f"{datetime.now(UTC):%Y-%m-%d}"
    # Recorded before the account is removed: its name and number must never be free.
    table.update(
        layout,
        lambda found: found.without(login, until, archive) if login in found.accounts else found,
    )
    if _is_there(account):
        service_accounts.change("userdel", account.name)
    for group in account.groups:
        # userdel does this as well, but not if a directory service has the group.
        subprocess.run(["gpasswd", "--delete", account.name, group], capture_output=True)
    where = f"{home} is in {archive}" if archive else f"{home} is deleted"
    return (
        f"{login} cannot log in any more; the account {account.name} is gone, and {where}.\n"
        f"To let somebody else have the name: {layout.command} class unlock {shlex.quote(login)}"
    )


def keep(layout: Layout, login: str) -> str:
    """Give the account of a former user of the hub to the present one of the same name.

    Raises:
        LittlestHubError: there is no such account.
    """

    def kept(found: Table) -> Table:
        if login not in found.accounts:
            raise LittlestHubError(f"no account was made for {login}")
        return found.with_account(login, replace(found.accounts[login], person=""))

    table.update(layout, kept)
    return f"The next start of {login}'s server uses the same account as before, with its files."


def _find(layout: Layout, login: str) -> tuple[int, str]:
    """Return number and name of the account of a login; -1 and "": there is none.

    Raises:
        LittlestHubError: the table or the fragment cannot be used.
    """
    account = table.read(layout).accounts.get(login)
    if account is not None:
        return (account.uid, account.name) if _is_there(account) else (-1, "")
    settings = fragment.read(layout)
    if found := Provision(layout, settings).existing_or_none(login):
        return found.pw_uid, found.pw_name
    return -1, ""


def _forget_password(layout: Layout, login: str) -> None:
    """Delete the password of a person who has left, so that it is void even after `unlock`."""
    file = layout.on_disk(people.file_of(layout))
    try:
        run_as_hub_user(layout, lambda: people.People(file).remove(login))
    except (sqlite3.Error, OSError) as error:
        raise LittlestHubError(f"{file} cannot be used: {error}") from error


def _is_there(account: Account) -> bool:
    try:
        return pwd.getpwnam(account.name).pw_uid == account.uid
    except KeyError:
        return False


def _is_of_this_machine(name: str) -> bool:
    """Return whether this machine's own file has an account, and no directory service alone."""
    lines = Path("/etc/passwd").read_text(errors="replace").splitlines()
    return any(line.partition(":")[0] == name for line in lines)


def _expire(name: str, date: str) -> None:
    # usermod(8) refuses the accounts of a directory service.
    if _is_of_this_machine(name):
        service_accounts.change("usermod", "--expiredate", date, name)


def _apply(layout: Layout) -> None:
    """Reload the hub, which ends sessions, tokens and servers of blocked users."""
    if is_active(layout.hub_service):
        try:
            systemctl("reload", layout.hub_service)
        except LittlestHubError as error:
            reason = show(layout.hub_service, "StatusText") or error.message
            raise LittlestHubError(
                f"the hub does not reload, so sessions have not ended: {reason}",
                f"{layout.command} check, then repeat this",
            ) from error


def _stop_servers(layout: Layout, uid: int) -> None:
    for unit in list_units(layout.user_unit_pattern):
        if show(unit, "UID") == str(uid):
            systemctl("stop", unit, is_checked=False)


def end_processes(uid: int) -> None:
    """Kill all processes of an account, so that none of them changes its files.

    Raises:
        LittlestHubError: processes start others faster than they are killed.
    """
    for _ in range(_ROUNDS):
        if not pidfd.kill(pid for pid in processes.process_ids() if _is_of(pid, uid)):
            return
    raise LittlestHubError(
        f"processes of user {uid} start others faster than they end",
        f"systemctl kill --signal=KILL user-{uid}.slice",
    )


def _is_of(pid: int, uid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    found = re.search(r"^Uid:\s*(.*)$", status, re.MULTILINE)
    is_dead = re.search(r"^State:\s*[ZX]", status, re.MULTILINE)
    return bool(found and not is_dead and str(uid) in found[1].split())


def _check_home(account: Account) -> None:
    home = Path(account.home)
    if loose := loose_step(home.parent):
        raise LittlestHubError(f"{loose.reason}, so it cannot be trusted", loose.repair)
    if not is_home_of(home, account.uid) or os.path.ismount(home):
        raise LittlestHubError(f"{home} is no directory of {account.name}: nothing is removed")


def _archive(layout: Layout, account: Account) -> Path:
    """Put a home directory into a file that only root can read.

    Raises:
        LittlestHubError: the archive cannot be written; no part of it is left.
    """
    place = former_homes(layout)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    place.chmod(0o700)
    has_zstd = shutil.which("zstd") is not None
    suffix, option = ("tar.zst", "--zstd") if has_zstd else ("tar.gz", "--gzip")
    file = place / f"{account.name}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.{suffix}"
    home = Path(account.home)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as out:
            options = ["--numeric-owner", "--one-file-system", "--sparse"]
            done = subprocess.run(
                [
                    "tar",
                    "--create",
                    option,
                    *options,
                    f"--directory={home.parent}",
                    f"./{home.name}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            os.fsync(descriptor)
        if done.returncode:
            raise LittlestHubError(
                f"{file} cannot be written: {done.stderr.strip()[-500:]}",
                f"{account.name} is locked, and nothing was removed",
            )
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return file
