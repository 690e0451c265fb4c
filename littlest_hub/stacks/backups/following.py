"""A unit started by a person, who sees what it does."""

from __future__ import annotations

import time

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups import record
from littlest_hub.stacks.backups.place import Place
from littlest_hub.system.progress import to_stderr
from littlest_hub.system.systemctl import show, systemctl

_LOOK_S = 0.3


def started(layout: Layout, unit: str, what: str) -> int:
    """Start a unit, show its status until it ends, and print how it ended.

    Ctrl-C ends only the showing.

    Args:
        layout: the installation.
        unit: its name.
        what: the field of the record that has its outcome.

    Raises:
        LittlestHubError: it cannot be started, or has failed.
    """
    before = getattr(record.read(Place.of(layout)), what)
    systemctl("start", "--no-block", unit)
    try:
        _followed(unit)
    except KeyboardInterrupt:
        to_stderr(f"It goes on. To see it: {as_typed(f'systemctl status {unit}')}")
        return 0
    outcome = getattr(record.read(Place.of(layout)), what)
    see = f"See: {as_typed(f'journalctl -u {unit} -n 30')}"
    if outcome == before:
        raise LittlestHubError(f"{unit} was ended before it was done", see)
    if outcome.problem:
        raise LittlestHubError(outcome.problem, see)
    print(outcome.text)
    warning = record.read(Place.of(layout)).warning
    if warning and what == "run":
        to_stderr(f"warning: {warning}")
    return 0


def _followed(unit: str) -> None:
    last = ""
    while True:
        state, text = show(unit, "ActiveState"), show(unit, "StatusText")
        if text and text != last:
            last = text
            to_stderr(text)
        is_waiting = show(unit, "Job") not in ("", "0")
        if not is_waiting and state not in ("activating", "active", "reloading"):
            return
        time.sleep(_LOOK_S)
