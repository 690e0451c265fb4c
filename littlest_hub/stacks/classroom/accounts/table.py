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
"""Stages of an account: not known to be whole; without groups and the administrator's step; whole.
"""
_FORMAT = 1


@dataclass(frozen=True)
class Account:
    """An account that was made for a login, or that came with an import."""

    name: str
    uid: int
    home: str
    person: str = ""
    """Its owner: a text that another user of the hub with the same login does not have; "": the
    next one who comes."""
    stage: str = READY
    groups: tuple[str, ...] = ()
    """Groups that it is a member of because the fragment says so."""
    since: str = ""
    """Date."""


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
    """All accounts by login, and what must not be forgotten."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    former: tuple[Former, ...] = ()
    blocked: frozenset[str] = frozenset()
    """Logins that nobody may use until an administrator unlocks them."""
    last_uid: int = 0
    """The highest number that was given to an account."""
    may_sudo: frozenset[int] = frozenset()
    """Numbers of the accounts that may use sudo, or whose processes as root have not ended yet."""

    def with_account(self, login: str, account: Account) -> Table:
        """Return the table with another account, or with a changed one."""
        last = max(self.last_uid, account.uid)
        return replace(self, accounts={**self.accounts, login: account}, last_uid=last)

    def without(self, login: str, until: str, archive: str) -> Table:
        """Return the table without the account of a login, whose name and number stay taken."""
        gone = self.accounts[login]
        others = {key: each for key, each in self.accounts.items() if key != login}
        former = Former(login, gone.name, gone.uid, until, archive)
        return replace(self, accounts=others, former=(*self.former, former))

    def login_of(self, name: str) -> str | None:
        """Return the login that an account was made for; None: for none."""
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
        """Return the table in a text.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is none.
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
    """Return the directory of the table, in which only root writes, on disk."""
    return layout.on_disk(layout.stacks) / STACK / "accounts"


def file_of(layout: Layout) -> Path:
    return directory(layout) / "accounts.json"


def read(layout: Layout) -> Table:
    """Return the table; an empty one if there is none.

    Raises:
        LittlestHubError: it is damaged.
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
    """Replace the table in one step; the hub reads it, whichever user it runs as."""
    write(file_of(layout), table.to_text(), 0o644 if layout.hub_user else 0o600)


def update(layout: Layout, change: Callable[[Table], Table]) -> None:
    """Replace the table by what a function makes of it."""
    with changing(layout):
        save(layout, change(read(layout)))


@contextlib.contextmanager
def changing(layout: Layout) -> Iterator[None]:
    """Wait until no other process changes accounts, and keep others from it during the block."""
    place = directory(layout)
    for each in (place.parent, place):
        each.mkdir(parents=True, exist_ok=True)
        # Whatever the umask: a hub that is not root reads the table.
        each.chmod(0o755)
    with contextlib.ExitStack() as stack:
        held = locks.hold(place / "accounts.lock", is_patient=True)
        assert held is not None
        stack.callback(held.close)
        yield
