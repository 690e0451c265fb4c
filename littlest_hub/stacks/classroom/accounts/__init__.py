"""Accounts of the machine for people who log in to the hub, and what they may do there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def configure(c: Any, variables: Mapping[str, Any]) -> None:
    """Let people's servers run as accounts of the machine, which are made if they are missing.

    Args:
        c: the configuration of the hub.
        variables: those of the fragment.
    """
    # Root's helper imports this package, too, and needs nothing of JupyterHub.
    from littlest_hub.stacks.classroom.accounts.hub import configure as configure_hub

    configure_hub(c, variables)
