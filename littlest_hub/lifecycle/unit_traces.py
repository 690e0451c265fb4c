"""Traces that systemd leaves of removed units: stamps of timers, directories of sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.units.bound_socket import directory_of

_STAMPS = Path("/var/lib/systemd/timers")
"""Directory of the stamps of persistent timers (systemd.timer(5), Persistent=)."""


def remove(layout: Layout, units: Iterable[str]) -> None:
    """Remove what systemd leaves of units of stacks that were stopped and have no file any more.

    `systemctl clean` would need their files, and does not know the directories.
    """
    for unit in units:
        name, _, kind = unit.rpartition(".")
        if kind == "timer":
            layout.on_disk(_STAMPS / f"stamp-{unit}").unlink(missing_ok=True)
        elif kind == "socket":
            # Most sockets have none; something else may be in it.
            with contextlib.suppress(OSError):
                layout.on_disk(directory_of(name)).rmdir()
