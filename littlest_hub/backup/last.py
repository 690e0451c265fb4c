"""The record of the last backup, which may be anywhere: `doctor` says how old that is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.system.files import write
from littlest_hub.system.progress import Progress

_FORMAT = 1


@dataclass(frozen=True)
class LastBackup:
    """The last backup that `littlest-hub backup` has written."""

    time_s: float
    """Time of it, in seconds since the epoch."""
    file: Path | None
    """None: standard output."""


def note(layout: Layout, file: Path | None, progress: Progress) -> None:
    """Record that a backup was written just now; the backup is good without the record, too."""
    place = str(file.absolute()) if file else None
    record = {"format": _FORMAT, "time": time.time(), "file": place}
    try:
        write(layout.last_backup, json.dumps(record) + "\n", 0o600)
    except OSError as error:
        progress(f"`doctor` will not know of this backup: {layout.last_backup}: {error.strerror}")


def last(layout: Layout) -> LastBackup | None:
    """Return the last backup on record; None: there is none, or the record cannot be used."""
    try:
        found = json.loads(layout.last_backup.read_text())
        if found["format"] != _FORMAT:
            return None
        file = found["file"] and Path(found["file"])
        # It is shown on a terminal.
        is_shown = file is None or str(file).isprintable()
        return LastBackup(float(found["time"]), file) if is_shown else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
