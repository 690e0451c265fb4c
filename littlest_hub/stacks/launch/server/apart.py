"""Accounts of servers that are apart from their owner's files, because others use them.

Whoever uses a server can do there what its account can. If that were the owner's own, they could
read the owner's home, and the memory of the owner's other servers. So systemd lends such a server
an account of its own (DynamicUser=, systemd.exec(5)), and with it a home of its own.
"""

from __future__ import annotations

from pathlib import Path

from littlest_hub.hub.accounts import LentAccount
from littlest_hub.layout import Layout
from littlest_hub.units.server import RUNTIME

HOME = RUNTIME / "home"
"""The home of a temporary server."""
HOME_MOUNT = f"{HOME}:mode=1777,nosuid,nodev,size=2G"
"""TemporaryFileSystem= of it; what is in it counts as the server's memory."""


def name_of(owner: str, server: str) -> str:
    """Return the name by which the homes of dynamic users know a server; no user has a slash."""
    return f"{owner}/{server}"


def lent(layout: Layout, owner: str, server: str, home: Path, files: Path) -> LentAccount:
    """Return the account of a server.

    Args:
        layout: the installation.
        owner: the hub's name of its owner.
        server: its name.
        home: the path of its home.
        files: path of its passwd and group files, without a suffix.
    """
    return LentAccount(layout, name_of(owner, server), home, files)


class TemporaryAccount(LentAccount):
    """The account of a temporary server: its home is in memory, and ends with its unit.

    Args:
        layout: the installation.
        owner: the hub's name of its owner.
        server: its name.
    """

    def __init__(self, layout: Layout, owner: str, server: str) -> None:
        super().__init__(layout, name_of(owner, server), HOME, HOME)

    def properties(self) -> dict[str, str | list[str]]:
        """Return the properties of a unit that runs as this account."""
        return {
            "DynamicUser": "yes",
            "ProtectHome": "tmpfs",
            "User": self.user,
            "WorkingDirectory": str(HOME),
        }

    def views(self) -> list[str]:
        return []
