"""`littlest-hub class start GROUP`: the command, and the hub's part of it.

The command runs as root and asks the hub at its own address. Each hub has another token for it,
which only root and the hub's user can read, so the configuration contains no credential.
"""

from __future__ import annotations

from typing import Any

from littlest_hub.stacks.classroom.group_start import credential

PATH = "api/class/start"
"""The path of the hub's part below the hub's prefix."""


def configure(c: Any) -> None:
    """Let the command reach the hub."""
    handlers = "littlest_hub.stacks.classroom.group_start.handlers"
    c.Pages.handlers.update({PATH: f"{handlers}:GroupStart"})
    c.LittlestHub.on_serving.append(credential.publish)
