"""The reload of a hub, as `littlest-hub reload` requests it from the hub's supervisor."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import time

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.records import ReloadEnvironment, ReloadOutcome, read, write_volatile
from littlest_hub.hub.supervisor import RELOAD_TIMEOUT_S
from littlest_hub.layout import Layout

_ROOM = 1 << 20
"""Bytes that a hub may write to its database while it starts."""


def request_reload(layout: Layout, pid: int) -> None:
    """Send SIGHUP to the supervisor `pid`, and wait until a new hub answers.

    Raises:
        LittlestHubError: the reload failed; the hub that served before continues.
    """
    _check_user(layout)
    requested_ns = time.monotonic_ns()
    # systemd has started this process with the present environment of the unit.
    write_volatile(layout.reload_environment, ReloadEnvironment.of(os.environ).to_json())
    journal = f"journalctl -u {layout.instance}"
    try:
        os.kill(pid, signal.SIGHUP)
        outcome = _await_outcome(layout, requested_ns, pid)
    except ProcessLookupError:
        reason = read(layout.last_failure) or "it ended"
        raise LittlestHubError(f"Not reloaded: the hub does not run: {reason}", journal) from None
    if outcome is None:
        raise LittlestHubError(f"Not reloaded: no new hub within {RELOAD_TIMEOUT_S} s", journal)
    if outcome.reason:
        raise LittlestHubError(f"Not reloaded: {outcome.reason}", journal)


def _check_user(layout: Layout) -> None:
    """Refuse to write where another user could replace the file by a link to any other.

    Raises:
        LittlestHubError: the hub runs as another user.
    """
    directory = layout.reload_environment.parent
    if directory.exists() and (owner := directory.stat().st_uid) != os.geteuid():
        raise LittlestHubError(
            f"Not reloaded: {directory} belongs to uid {owner}, as which the hub runs; expected"
            f" uid {os.geteuid()}",
            f"systemctl reload {layout.hub_service}",
        )


def check_room(layout: Layout) -> None:
    """Refuse to replace a hub that serves by one that could not write to its database.

    Raises:
        LittlestHubError: the disk is full.
    """
    directory = layout.hub_state
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            room = f"Make room, then try again: df -h {directory}"
            reason = f"Not reloaded: {directory}: {error.strerror}"
            raise LittlestHubError(reason, room) from None


def _await_outcome(layout: Layout, requested_ns: int, pid: int) -> ReloadOutcome | None:
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while time.monotonic() < deadline:
        text = read(layout.reload_outcome)
        outcome = ReloadOutcome.from_json(text) if text else ReloadOutcome()
        # A reload that began earlier may have read the fragments before they changed.
        if outcome.began_ns >= requested_ns:
            return outcome
        os.kill(pid, 0)
        time.sleep(0.02)
    return None
