"""The unit of a user server, as data: what keeps people apart, and how much each may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.layout import Layout

Properties = Mapping[str, str | list[str]]
"""Of a unit: a list is for those that are given more than once."""


@dataclass(frozen=True)
class Account:
    """The system user that a server runs as."""

    name: str
    home: Path | None
    uid: int
    gid: int


def properties(layout: Layout, account: Account | None) -> dict[str, str | list[str]]:
    """What a user server's unit is given unless a fragment says otherwise.

    Args:
        layout: whose user server.
        account: who it runs as; None: a user that systemd lends (DynamicUser=).
    """
    return {
        # What one user writes is no other's business.
        "UMask": "0027",
        "StateDirectoryMode": "0700",
        "NoNewPrivileges": "yes",
    }
