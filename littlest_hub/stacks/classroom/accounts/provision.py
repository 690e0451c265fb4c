"""The making of accounts, by root's helper.

Each step is recorded before it is taken, so that the next helper knows what a killed one has left.
A new account never has the name, number or directory of another account, present or former, so
that nobody finds files of another person.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from littlest_hub.errors import LittlestHubError, with_sudo
from littlest_hub.helpers.hooks import run_program, unsafe
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import names, table
from littlest_hub.stacks.classroom.accounts.settings import AccountSettings
from littlest_hub.stacks.classroom.accounts.table import MADE, MAKING, READY, Account, Table
from littlest_hub.system import locks
from littlest_hub.system.ownership import loose_step
from littlest_hub.units.names import FIRST_UID

SKEL = Path("/etc/skel")
HOOK = "new-account"
"""The administrator's own step: a program in root-hooks/, called with account and login."""
_LAST_UID = 59_999
"""UID_MAX= of login.defs(5) is 60000; the numbers after it are systemd's (systemd.io/UIDS-GIDS)."""
_CLOSED = 0o700


class Provision:
    """Finds or makes the account of a login.

    Args:
        layout: the installation.
        settings: what the fragment says.
    """

    def __init__(self, layout: Layout, settings: AccountSettings) -> None:
        self._layout, self._settings = layout, settings

    def account_of(self, login: str, person: str) -> str:
        """Return the name of a login's account, which is made and completed if necessary.

        Args:
            login: the name of a user of the hub.
            person: a text that no other user of that name has.

        Raises:
            LittlestHubError: the login gets no account.
        """
        if not names.is_login(login):
            raise LittlestHubError(f"{login!r} cannot have an account")
        if login in table.read(self._layout).blocked:
            raise LittlestHubError(
                f"{login} is locked",
                with_sudo(f"{self._layout.command} class unlock {shlex.quote(login)}"),
            )
        if found := self.existing(login):
            return found.pw_name
        with table.changing(self._layout):
            account = self._made(login, person)
        wanted = self._groups(login)
        is_whole = account.stage == READY and set(account.groups) == wanted
        if not (is_whole and all(_is_member(account.name, group) for group in wanted)):
            account = self._complete(login, account, wanted)
        return account.name

    def existing(self, login: str) -> pwd.struct_passwd | None:
        """Return the account that a login uses instead of a new one; None: it gets a new one.

        Raises:
            LittlestHubError: the login has to use an existing account, and may not.
        """
        named = self._settings.account_names.get(login)
        name = named or (login if self._settings.takes_existing else None)
        if name is None:
            return None
        owner = table.read(self._layout).login_of(name)
        if owner == login:
            return None
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            if named or not self._settings.makes_accounts:
                raise LittlestHubError(f"there is no account {name}") from None
            return None
        if owner is not None:
            raise LittlestHubError(f"the account {name} is that of {owner}")
        if found.pw_uid < FIRST_UID or names.is_reserved(name):
            raise LittlestHubError(f"{name} is an account of the system")
        return found

    def existing_or_none(self, login: str) -> pwd.struct_passwd | None:
        """Return the result of `existing`; None also if the login may not have the account."""
        with contextlib.suppress(LittlestHubError):
            return self.existing(login)
        return None

    # --- an account of the table

    def _made(self, login: str, person: str) -> Account:
        """Return the account of a login in the table; make what is missing of it.

        A new one is at the stage MADE afterwards: groups and the administrator's step come later.

        Raises:
            LittlestHubError: it cannot be made, or it is that of an earlier user of that name.
        """
        found = table.read(self._layout)
        account = found.accounts.get(login)
        if account is None:
            account = self._new(found, login, person)
            table.save(self._layout, found.with_account(login, account))
        elif account.person not in ("", person):
            # People read it on a page, or in another command, and not where this helper runs.
            command, name = with_sudo(self._layout.command), shlex.quote(login)
            raise LittlestHubError(
                f"{login} is a new user of the hub, and the account {account.name} is that of"
                " another one who had this name",
                f"{command} class remove {name} --archive, then {command} class unlock {name};"
                f" or, if it is the same person: {command} class keep {name}",
            )
        if account.stage == MAKING:
            self._remove_half(account)
        if not _exists(account):
            # An account from a backup may have a home, but no groups, and its step was not run.
            stage = MADE if os.path.lexists(account.home) else MAKING
            account = replace(account, stage=stage, groups=())
            table.save(self._layout, table.read(self._layout).with_account(login, account))
            self._make(account)
        if account.stage == MAKING or not account.person:
            stage = MADE if account.stage == MAKING else account.stage
            account = replace(account, stage=stage, person=person)
            table.save(self._layout, table.read(self._layout).with_account(login, account))
        return account

    def _new(self, found: Table, login: str, person: str) -> Account:
        if names.is_reserved(login) or _is_system_account(login):
            raise LittlestHubError(f"{login} gets no account: it is a name of the system")
        homes, prefix = self._settings.homes, self._settings.account_prefix
        _check_place(homes)
        _check_skel()
        # A hub that is not root starts a server only with an account of the user's name.
        is_plain = bool(self._layout.hub_user)
        possible = names.plain(login) if is_plain else names.candidates(login, prefix)
        for name in possible:
            if not found.is_taken(name) and _is_free(name) and not os.path.lexists(homes / name):
                uid = free_uid(found.last_uid, homes)
                since = f"{datetime.now(UTC):%Y-%m-%d}"
                return Account(name, uid, str(homes / name), person, MAKING, since=since)
        raise LittlestHubError(
            f"{login} gets no account: an account, a group or a directory in {homes} has its name"
        )

    def _make(self, account: Account) -> None:
        """Make an account, and its home directory unless a restored account has one."""
        home = Path(account.home)
        _check_place(home.parent)
        with contextlib.suppress(KeyError):
            other = pwd.getpwuid(account.uid).pw_name
            raise LittlestHubError(f"the number of {account.name}, {account.uid}, is {other}'s")
        has_home = os.path.lexists(home)
        if has_home and not is_home_of(home, account.uid):
            raise LittlestHubError(f"{home} is no directory of user {account.uid}")
        command = ["useradd", "--uid", str(account.uid), "--user-group", "--shell", "/bin/bash"]
        command += ["--home-dir", account.home, "--key", "UMASK=0077"]
        if has_home:
            command += ["--no-create-home"]
        else:
            _check_skel()
            command += ["--create-home", "--skel", str(SKEL)]
        if reason := run_program(*command, account.name):
            raise LittlestHubError(reason)
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, _CLOSED)
        finally:
            os.close(descriptor)

    def _remove_half(self, account: Account) -> None:
        """Remove an account that a killed helper has half made, and that nobody has used."""
        if _exists(account) and (reason := run_program("userdel", account.name)):
            raise LittlestHubError(reason)
        with contextlib.suppress(KeyError):
            if grp.getgrnam(account.name).gr_gid == account.uid:
                run_program("groupdel", account.name)
        home = Path(account.home)
        if os.path.lexists(home):
            _check_place(home.parent)
            if not is_home_of(home, account.uid):
                raise LittlestHubError(f"{home} is no directory of user {account.uid}")
            shutil.rmtree(home)

    # --- groups, and the administrator's step

    def _groups(self, login: str) -> set[str]:
        found = self._settings.groups_of(login)
        return found | {self._layout.users_group} if self._layout.hub_user else found

    def _complete(self, login: str, account: Account, wanted: set[str]) -> Account:
        """Make an account a member of its groups, and run the administrator's program once."""
        # Without the lock of the table, because the program may take minutes.
        with _one_at_a_time(self._layout, account):
            for group in sorted(wanted):
                if not _is_member(account.name, group):
                    _must(run_program("groupadd", "--force", group))
                    _must(run_program("gpasswd", "--add", account.name, group))
            for group in sorted({*account.groups} - wanted):
                run_program("gpasswd", "--delete", account.name, group)
            program = self._layout.root_hooks / HOOK
            if account.stage != READY and program.exists():
                if refusal := unsafe(program):
                    raise LittlestHubError(f"{program}: {refusal}")
                _must(run_program(str(program), account.name, login))
            done = replace(account, stage=READY, groups=tuple(sorted(wanted)))
            table.update(self._layout, lambda found: found.with_account(login, done))
            return done


def free_uid(last: int, homes: Path) -> int:
    """Return a number for a new account, higher than any that an account has or had.

    Args:
        last: the highest number of an account of the table, present or former.
        homes: the directory of home directories; their owners may be deleted accounts.

    Raises:
        LittlestHubError: no number is left.
    """
    used = [FIRST_UID - 1, last, *_local_uids(), *_owners(homes)]
    for uid in range(max(used) + 1, _LAST_UID + 1):
        with contextlib.suppress(KeyError):
            pwd.getpwuid(uid)
            continue
        with contextlib.suppress(KeyError):
            grp.getgrgid(uid)
            continue
        return uid
    raise LittlestHubError(f"no number for an account is left below {_LAST_UID}")


def _local_uids() -> Iterator[int]:
    # Without getpwall(3): numbers in directory services are arbitrary, and are looked up singly.
    for line in Path("/etc/passwd").read_text(errors="replace").splitlines():
        uid = [*line.split(":"), "", ""][2]
        if uid.isdecimal() and int(uid) <= _LAST_UID:
            yield int(uid)


def _owners(homes: Path) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(homes):
            uid = entry.stat(follow_symlinks=False).st_uid
            if uid <= _LAST_UID:
                yield uid


def _check_place(homes: Path) -> None:
    """Make the directory of home directories if it is missing; refuse one that others change."""
    if loose := loose_step(homes):
        raise LittlestHubError(
            f"{homes} cannot have home directories: {loose.reason}, so others can put a link there",
            loose.repair,
        )
    homes.mkdir(mode=0o755, parents=True, exist_ok=True)


def _check_skel() -> None:
    if loose := loose_step(SKEL):
        text = f"{loose.reason}, so others decide what is in new home directories"
        raise LittlestHubError(text, loose.repair)


def _exists(account: Account) -> bool:
    """Return whether an account of the table is there.

    Raises:
        LittlestHubError: another account has its name.
    """
    try:
        uid = pwd.getpwnam(account.name).pw_uid
    except KeyError:
        return False
    if uid != account.uid:
        raise LittlestHubError(
            f"the account {account.name} has the number {uid}, and the hub has made one with the"
            f" number {account.uid}: it is another one",
            f"userdel {account.name}, if nobody needs it",
        )
    return True


def _is_free(name: str) -> bool:
    for look_up in (pwd.getpwnam, grp.getgrnam):
        with contextlib.suppress(KeyError):
            look_up(name)
            return False
    return True


def _is_system_account(login: str) -> bool:
    with contextlib.suppress(KeyError, ValueError):
        return pwd.getpwnam(login).pw_uid < FIRST_UID
    return False


def _is_member(account: str, group: str) -> bool:
    try:
        return account in grp.getgrnam(group).gr_mem
    except KeyError:
        return False


def is_home_of(home: Path, uid: int) -> bool:
    """Return whether a path is a directory that a user owns, and no link."""
    status = home.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid


def _must(reason: str) -> None:
    if reason:
        raise LittlestHubError(reason)


@contextlib.contextmanager
def _one_at_a_time(layout: Layout, account: Account) -> Iterator[None]:
    file = table.directory(layout) / f"{account.uid}.lock"
    held = locks.hold(file, is_patient=True)
    assert held is not None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        held.close()
