"""Locks of an installation: for the process that changes it, and for a hub in the foreground."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TextIO

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.unfinished import recover
from littlest_hub.system.locks import hold, holder


@contextlib.contextmanager
def changing(layout: Layout) -> Iterator[None]:
    """Hold the lock of changes to an installation; undo one that was killed.

    Raises:
        LittlestHubError: another process holds it; its process id.
    """
    with alone(layout):
        recover(layout)
        yield


@contextlib.contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Hold the lock of changes to an installation, and undo nothing, which would need all rights.

    Raises:
        LittlestHubError: another process holds it; its process id.
    """
    lock = layout.on_disk(layout.change_lock)
    held = hold(lock)
    if held is None:
        pid = holder(lock)  # "": it has only just begun, or ended
        who, how = (f"process {pid}", f": ps -p {pid}") if pid else ("another process", "")
        raise LittlestHubError(
            f"{who} is changing {layout.base}: an installation, an upgrade or the like",
            f"Wait for it, then try again{how}",
        )
    with held:
        yield


def recover_at_start(layout: Layout) -> None:
    """Undo a change that was killed, because the hub is starting; leave one that goes on alone."""
    if held := hold(layout.on_disk(layout.change_lock)):
        with held:
            recover(layout, is_start=True)


@contextlib.contextmanager
def no_foreground_hub(layout: Layout) -> Iterator[None]:
    """Keep a hub from starting in the foreground.

    Raises:
        LittlestHubError: one runs; its process id.
    """
    with hold_run_lock(layout) or contextlib.nullcontext():
        yield


def hold_run_lock(layout: Layout) -> TextIO | None:
    """Return the open lock file of hubs in the foreground; None: there never was one.

    Raises:
        LittlestHubError: a hub runs in the foreground; its process id.
    """
    lock = layout.on_disk(layout.run_lock)
    if not lock.is_file():
        return None
    held = hold(lock)
    if held is None:
        pid = holder(lock)
        raise LittlestHubError(
            f"`littlest-hub run` serves {layout.base} already, as process {pid}",
            f"End it first: Ctrl-C in its terminal, or kill -INT {pid}",
        )
    return held
