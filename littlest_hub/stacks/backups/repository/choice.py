"""The choice of a backup: of which machine, and as of when."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from datetime import datetime

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.restic import Snapshot, seconds_of

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def own(snapshots: Sequence[Snapshot], host: str | None = None) -> list[Snapshot]:
    """Return the backups of one machine, the oldest first.

    Args:
        snapshots: those of the repository.
        host: the machine's name; None: this one or, if it has none, the only one that has.

    Raises:
        LittlestHubError: there are none, or it is not clear which machine is meant.
    """
    hosts = sorted({each.host for each in snapshots})
    wanted = host or socket.gethostname()
    if host is None and wanted not in hosts and len(hosts) == 1:
        wanted = hosts[0]
    found = [each for each in snapshots if each.host == wanted]
    if found:
        return found
    if not hosts:
        raise LittlestHubError("there is no backup yet", "Make one: littlest-hub backups now")
    raise LittlestHubError(
        f"there is no backup of {wanted}; there are backups of {', '.join(hosts)}",
        f"Choose one: --host {hosts[0]}",
    )


def of_this_machine(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Return the backups of this machine, the oldest first."""
    return [each for each in snapshots if each.host == socket.gethostname()]


def elsewhere(snapshots: Sequence[Snapshot], host: str) -> str:
    """Return how to choose the backups of other machines; "": the repository has none.

    Args:
        snapshots: those of the repository.
        host: the machine that was chosen.
    """
    hosts = sorted({each.host for each in snapshots} - {host})
    if not hosts:
        return ""
    return f"There are also backups of {', '.join(hosts)}: --host {hosts[0]}"


def as_of(
    snapshots: Sequence[Snapshot], text: str | None, everything: Sequence[Snapshot] = ()
) -> Snapshot:
    """Return the last backup until a moment.

    Args:
        snapshots: of one machine, the oldest first.
        text: a date, which is meant until its end, a date and a time, or the id of a backup; None:
            the newest.
        everything: the backups of all machines, to recognize the id of one of another machine.

    Raises:
        LittlestHubError: the text is none of these, or there is no backup that old.
    """
    if text is None:
        return snapshots[-1]
    if named := _named(snapshots, text):
        return named[-1]
    try:
        moment = datetime.fromisoformat(f"{text} 23:59:59" if _DAY.fullmatch(text) else text)
    except ValueError:
        if named := _named(everything, text):
            raise LittlestHubError(
                f"the backup {text} is of another machine, {named[-1].host}",
                f"If you mean that machine: --host {named[-1].host}",
            ) from None
        raise LittlestHubError(
            f"--as-of {text}: expected a date (2026-11-29), a date and a time"
            " ('2026-11-29 12:00'), or the id of a backup"
        ) from None
    until_s = moment.timestamp()
    if found := [each for each in snapshots if seconds_of(each.time) <= until_s]:
        return found[-1]
    first = time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds_of(snapshots[0].time)))
    raise LittlestHubError(f"there is no backup of {text} or before; the oldest is of {first}")


def _named(snapshots: Sequence[Snapshot], text: str) -> list[Snapshot]:
    return [each for each in snapshots if len(text) >= 4 and each.id.startswith(text)]
