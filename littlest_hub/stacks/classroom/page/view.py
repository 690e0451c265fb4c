"""The people and figures that the page shows; no input or output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from littlest_hub.stacks.classroom.page.usage import Usage


@dataclass(frozen=True)
class Server:
    """A server that runs, starts, or stops."""

    name: str
    """The name of the server; "": the default one of its user."""
    state: str
    """"runs", "starts", "stops", or another change that is pending."""
    url: str
    unit: str = ""
    """The unit in systemd; "": the spawner has no units."""


@dataclass(frozen=True)
class Member:
    """A member of the class, from the hub's users and the file of people."""

    name: str
    note: str = ""
    is_admin: bool = False
    is_locked: bool = False
    has_no_password: bool = False
    """Whether the hub keeps passwords, and none of this person yet."""
    has_account_here: bool = False
    """Whether the file of people has this name, so that a password can be reset."""
    is_removable: bool = False
    last_seen: datetime | None = None
    servers: Sequence[Server] = ()

    @property
    def is_here(self) -> bool:
        """Whether the person has a server that runs, starts, or stops."""
        return bool(self.servers)


def in_order(members: Iterable[Member]) -> list[Member]:
    """Sort members by name, those with a server before the others."""
    return sorted(members, key=lambda each: (not each.is_here, each.name))


def size(number: int | None) -> str:
    """Write a number of bytes in decimal units; "" if it is unknown."""
    if number is None:
        return ""
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number / 1e6:.0f} MB"


def load(usage: Usage | None) -> str:
    """Write the resources that a server uses: "312 MB of 2.0 GB, 45 % of a processor"."""
    if usage is None or usage.memory_bytes is None:
        return ""
    parts = size(usage.memory_bytes)
    if usage.limit_bytes is not None:
        parts += f" of {size(usage.limit_bytes)}"
    if usage.processors is not None:
        parts += f", {usage.processors:.0%} of a processor".replace("%", " %")
    return parts


def when(moment: datetime | float | None) -> str:
    """Write a time in UTC; "" if it is unknown."""
    if moment is None:
        return ""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def total(usages: Mapping[str, Usage]) -> int:
    """Return the memory that all servers use together."""
    return sum(each.memory_bytes or 0 for each in usages.values())
