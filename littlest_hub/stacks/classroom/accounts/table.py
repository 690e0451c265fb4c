"""The table of accounts that were made for logins: root writes it, the hub reads it.

An account and its number are never given to anybody else, even after their owner is gone: files
with that number may be left anywhere.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.system import locks
from littlest_hub.system.files import write

STACK = "class"
MAKING, MADE, READY = "making", "made", "ready"
"""Stages of an account: perhaps incomplete; without groups and the administrator's step; complete.
"""
_FORMAT = 1


@dataclass(frozen=True)
class Account:
    """An account that was made for a login, or that came with an import."""

    name: str
    uid: int
    home: str
    person: str = ""
    """The owner, as a text that no other user of the hub with the same login has; "": the next user
    with the login becomes the owner."""
    stage: str = READY
    groups: tuple[str, ...] = ()
    """Groups of which it is a member because the fragment says so."""
    since: str = ""
    """The date on which it was made."""


@dataclass(frozen=True)
class Former:
    """An account that is gone."""

    login: str
    name: str
    uid: int
    until: str
    archive: str = ""
    """The file with what was in the home directory; "": it was deleted."""


@dataclass(frozen=True)
class Table:
    """Accounts by login, former accounts, locked logins, and rights to use sudo."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    former: tuple[Former, ...] = ()
    blocked: frozenset[str] = frozenset()
    """Logins that nobody may use until an administrator unlocks them."""
    last_uid: int = 0
    """The highest number that was given to an account."""
    may_sudo: frozenset[int] = frozenset()
    """Numbers of the accounts that may use sudo, or whose processes as root have not ended yet."""

    def with_account(self, login: str, account: Account) -> Table:
        """Return the table with a new or changed account."""
        last = max(self.last_uid, account.uid)
        return replace(self, accounts={**self.accounts, login: account}, last_uid=last)

    def without(self, login: str, until: str, archive: str) -> Table:
        """Return the table without the account of a login, whose name and number stay taken."""
        gone = self.accounts[login]
        others = {key: each for key, each in self.accounts.items() if key != login}
        former = Former(login, gone.name, gone.uid, until, archive)
        return replace(self, accounts=others, former=(*self.former, former))

    def login_of(self, name: str) -> str | None:
        """Return the login for which an account was made; None: the hub has not made it."""
        return next((key for key, each in self.accounts.items() if each.name == name), None)

    def is_taken(self, name: str) -> bool:
        """Return whether an account has, or had, a name."""
        return self.login_of(name) is not None or any(each.name == name for each in self.former)

    def to_text(self) -> str:
        record = asdict(self)
        record["blocked"], record["may_sudo"] = sorted(self.blocked), sorted(self.may_sudo)
        return json.dumps({"format": _FORMAT, **record}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Table:
        """Parse the text of a table.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: the text is no table.
        """
        record: dict[str, Any] = json.loads(text)
        if record.pop("format") != _FORMAT:
            raise ValueError("another format")
        accounts = {
            str(login): Account(**{**each, "groups": tuple(each["groups"])})
            for login, each in record["accounts"].items()
        }
        return cls(
            accounts,
            tuple(Former(**each) for each in record["former"]),
            frozenset(record["blocked"]),
            int(record["last_uid"]),
            frozenset(map(int, record["may_sudo"])),
        )


def directory(layout: Layout) -> Path:
    """Return the directory of the table on disk; only root writes there."""
    return layout.on_disk(layout.stacks) / STACK / "accounts"


def file_of(layout: Layout) -> Path:
    return directory(layout) / "accounts.json"


def names(layout: Layout) -> dict[str, str]:
    """Return the names of accounts by login.

    Raises:
        LittlestHubError: the file is damaged.
    """
    return {login: account.name for login, account in read(layout).accounts.items()}


def read(layout: Layout) -> Table:
    """Return the table; an empty one if there is none.

    Raises:
        LittlestHubError: the file is damaged.
    """
    file = file_of(layout)
    try:
        return Table.from_text(file.read_text())
    except FileNotFoundError:
        return Table()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LittlestHubError(
            f"{file} is damaged: {error!r}",
            "Restore it from a backup: it says which account belongs to whom",
        ) from error


def save(layout: Layout, table: Table) -> None:
    """Replace the table in one step; a hub that is not root can read it as well."""
    write(file_of(layout), table.to_text(), 0o644 if layout.hub_user else 0o600)


def update(layout: Layout, change: Callable[[Table], Table]) -> None:
    """Replace the table by the result of a function."""
    with changing(layout):
        save(layout, change(read(layout)))


@contextlib.contextmanager
def changing(layout: Layout) -> Iterator[None]:
    """Hold the lock of changes to accounts, for which other processes wait."""
    place = directory(layout)
    for each in (place.parent, place):
        each.mkdir(parents=True, exist_ok=True)
        # Independent of the umask, because a hub that is not root reads the table.
        each.chmod(0o755)
    with contextlib.ExitStack() as stack:
        held = locks.hold(place / "accounts.lock", is_patient=True)
        assert held is not None
        stack.callback(held.close)
        yield
