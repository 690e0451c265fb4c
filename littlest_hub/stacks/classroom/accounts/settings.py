"""Settings of accounts in the stack's fragment, as root's helper reads them.

The helper does not ask the hub for them, because a hub that is not root may be compromised. It does
not run the fragment either, but reads the plain values at its top.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest import plain_values
from littlest_hub.stacks.classroom import fragment
from littlest_hub.stacks.classroom.accounts.names import PREFIX

EVERYBODY = "*"
SYSTEM, FIRST_USE, SIGN_UP, OTHER = "system", "first-use", "sign-up", "other"
GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
# Members of these groups are as powerful as root, or read files that only root shall read.
POWERFUL_GROUPS = frozenset(
    {"adm", "admin", "backup", "disk", "docker", "incus-admin", "kmem", "kvm", "libvirt", "lxd"}
    | {"mem", "root", "shadow", "staff", "sudo", "sys", "systemd-journal", "wheel"}
)


@dataclass(frozen=True)
class AccountSettings:
    """Values of variables at the top of the stack's fragment; each field is one in lower case."""

    login: str = SYSTEM
    """The kind of login."""
    account_prefix: str = "jupyter-"
    """Beginning of the names of accounts that are made."""
    account_homes: str = "/home"
    """The directory of their home directories."""
    account_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Logins, or EVERYBODY, by group of the machine."""
    account_names: Mapping[str, str] = field(default_factory=dict)
    """Existing accounts, by login."""
    existing_accounts: bool = False
    """Whether each login uses the account of the same name, if there is one."""
    admins_have_sudo: bool = True

    @property
    def takes_existing(self) -> bool:
        """Whether a login uses the account of the same name.

        False if people choose their own names, because they could choose another person's.
        """
        return self.login == SYSTEM or (self.login == OTHER and self.existing_accounts)

    @property
    def makes_accounts(self) -> bool:
        return self.login != SYSTEM

    @property
    def homes(self) -> Path:
        return Path(self.account_homes)

    @property
    def logins(self) -> list[tuple[str, str]]:
        """The logins that are named, each after its variable, if there are no problems."""
        members = {login for logins in self.account_groups.values() for login in logins}
        return [
            *(("ACCOUNT_GROUPS", login) for login in sorted(members)),
            *(("ACCOUNT_NAMES", login) for login in self.account_names),
        ]

    def groups_of(self, login: str) -> set[str]:
        """Return the groups that the account of a login is a member of."""
        found = self.account_groups.items()
        return {group for group, logins in found if {login, EVERYBODY} & set(logins)}

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        found: list[tuple[str, str]] = []
        if not isinstance(self.account_prefix, str) or not re.fullmatch(
            PREFIX, self.account_prefix
        ):
            text = "at most 12 lower-case letters, digits, - and _"
            found.append(("ACCOUNT_PREFIX", f"expected {text}, found {self.account_prefix!r}"))
        homes = self.account_homes
        if not (isinstance(homes, str) and re.fullmatch(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+", homes)):
            found.append(("ACCOUNT_HOMES", f"expected an absolute path, found {homes!r}"))
        found += [("ACCOUNT_GROUPS", text) for text in self._problems_of_groups()]
        names = self.account_names
        if not (isinstance(names, dict) and all(isinstance(e, str) for e in names.values())):
            found.append(("ACCOUNT_NAMES", f'expected {{"login": "account"}}, found {names!r}'))
        for name in ("existing_accounts", "admins_have_sudo"):
            if not isinstance(getattr(self, name), bool):
                text = f"expected True or False, found {getattr(self, name)!r}"
                found.append((name.upper(), text))
        if self.existing_accounts is True and self.login in (FIRST_USE, SIGN_UP):
            text = f"with LOGIN = {self.login!r}, people choose their names, and would get the"
            found.append(("EXISTING_ACCOUNTS", f"{text} accounts of others; use ACCOUNT_NAMES"))
        return found

    def _problems_of_groups(self) -> list[str]:
        if not isinstance(self.account_groups, dict):
            return [f'expected {{"group": ["login"]}}, found {self.account_groups!r}']
        found = []
        for group, logins in self.account_groups.items():
            if not (isinstance(group, str) and GROUP.fullmatch(group)):
                found.append(f"expected the name of a group, found {group!r}")
            elif group in POWERFUL_GROUPS:
                found.append(f"members of {group} are as powerful as root; expected another group")
            if not (isinstance(logins, (list, tuple)) and all(isinstance(e, str) for e in logins)):
                found.append(f'expected a list of logins, or ["{EVERYBODY}"], found {logins!r}')
        return found


def read(layout: Layout) -> AccountSettings:
    """Return the settings in the fragment on disk.

    Raises:
        LittlestHubError: there is no such fragment, or a value cannot be used.
    """
    return fragment.read(layout, AccountSettings)


def parse(text: str) -> AccountSettings:
    """Return the settings in the text of a fragment.

    Raises:
        ValueError, SyntaxError: a variable has no plain value.
    """
    return plain_values.parse(text, AccountSettings)
