"""Accounts of the machine for people who log in to the hub, and what they may do there."""

from __future__ import annotations

from typing import Any


def configure(c: Any) -> None:
    """Let people's servers run as accounts of the machine, which are made if they are missing."""
    # Root's helper imports this package, too, and needs nothing of JupyterHub.
    from littlest_hub.stacks.classroom.accounts.hub import configure as configure_hub

    configure_hub(c)
