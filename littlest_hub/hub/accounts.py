"""The account that a user server runs as: one of this machine, or one that systemd lends."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable
from pathlib import Path

from littlest_hub.hub.launch import no_account, shared_number
from littlest_hub.layout import Layout
from littlest_hub.units.server import Account

SHELL = "/bin/bash"
"""The shell of accounts that have none."""
# Accounts whose owners shall not log in at a console or over ssh. A notebook runs any program, so
# refusing them a terminal would keep no one from anything.
_NO_SHELLS = ("", "nologin", "false")
# No name with a meaning of its own in passwd(5), nsswitch.conf(5) ("+"), or for chown(1) (digits).
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,30}")
# systemd has allocated the user and given it its home before this runs, so the owner of the home is
# the number, even if no library can look it up. If systemd restarts the server, the files exist
# already. `grep ""` adds a newline to a last line without one. A fragment may
# give the unit another umask.
# $1: the account's name, $2: its home, $3: its shell, $4: path of the files.
_WRITE_DATABASES = (
    'umask 022; [ -e "$4.passwd" ] && exit; uid=$(stat -L -c %u "$2") || exit;'
    ' { grep "" /etc/passwd; echo "$1:x:$uid:$uid:$1:$2:$3"; } >"$4.passwd";'
    ' { grep "" /etc/group; echo "$1:x:$uid:"; } >"$4.group"'
)


def system_account(name: str) -> Account:
    """Return the account with a name.

    Raises:
        NotStartedError: there is none.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise no_account(name) from None
    shell = terminal_shell(found.pw_shell)
    return Account(found.pw_name, Path(found.pw_dir), found.pw_uid, found.pw_gid, shell)


def terminal_shell(login_shell: str) -> str:
    """Return the shell for terminals of an account with a login shell."""
    return SHELL if Path(login_shell).name in _NO_SHELLS else login_shell


def unit_user(account: Account) -> str:
    """Return the user of a unit: its number, or its name if two accounts share the number.

    Raises:
        NotStartedError: systemd would start the server as the other account.
    """
    other = pwd.getpwuid(account.uid).pw_name
    if other == account.name:
        # systemd accepts fewer names than the system has: systemd.io/USER_NAMES.
        return str(account.uid)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.@$-]*", account.name):
        raise shared_number(account.name, other, account.uid)
    return account.name


class LentAccount:
    """An account that systemd lends a hub user while servers of theirs run (DynamicUser=).

    Programs find it in passwd and group files of the server's own, whether or not libnss-systemd is
    installed: there it has the hub's name, and its home and shell.

    Args:
        layout: the installation.
        user: the hub's name for the user.
        home: path of the home directory.
        files: path of the server's databases, without a suffix.
    """

    shell = SHELL

    def __init__(self, layout: Layout, user: str, home: Path, files: Path) -> None:
        self.user = layout.dynamic_user(user)
        """systemd's name for it."""
        is_valid = _NAME.fullmatch(user) is not None
        is_taken = is_valid and (_exists(pwd.getpwnam, user) or _exists(grp.getgrnam, user))
        self.name = user if is_valid and not is_taken else self.user
        self.home = home
        self._files = files

    def properties(self) -> dict[str, str | list[str]]:
        """Return the properties of a unit that runs as this account."""
        arguments = f"{self.name} {self.home} {self.shell} {self._files}"
        return {
            "DynamicUser": "yes",
            # DynamicUser= implies read-only, which would replace our empty /home: of two mounts at
            # one path, systemd makes only the one that it thinks the stricter.
            "ProtectHome": "tmpfs",
            "User": self.user,
            "StateDirectory": str(self.home.relative_to("/var/lib")),
            "WorkingDirectory": str(self.home),
            # systemd 247 creates the directories above the home with this mask, and all must be
            # able to enter those; the home itself is closed by its own mode.
            "UMask": "0022",
            # "+" runs it as root, outside the server's sandbox. "-" ignores a failure, which only
            # leaves the account without a name.
            "ExecStartPre": f"-+:/bin/sh -c '{_WRITE_DATABASES}' sh {arguments}",
        }

    def views(self) -> list[str]:
        """Return what the server sees in the place of the machine's files, BindReadOnlyPaths=."""
        # In quotes: a named server has a ":" in its path.
        return [f'-"{file}":/etc/{file.suffix[1:]}' for file in databases(self._files)]


def databases(files: Path) -> list[Path]:
    """Return the passwd and group files of a server.

    Args:
        files: their path without a suffix.
    """
    return [files.with_name(f"{files.name}.{name}") for name in ("passwd", "group")]


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True
