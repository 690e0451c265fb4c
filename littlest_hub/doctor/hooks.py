"""Hooks of fragments that have failed while the hub served (hub/hook_errors.py)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from littlest_hub.doctor.failed_spawns import hook_failure
from littlest_hub.doctor.findings import WARNING, Finding
from littlest_hub.doctor.journal import JournalEntry, local_time
from littlest_hub.doctor.snapshot import Snapshot


def hooks(snapshot: Snapshot) -> Iterator[Finding]:
    """Report hooks that have failed since their file was changed, the most frequent first."""
    hub_unit = snapshot.layout.hub_service
    seen = [entry for entry in snapshot.journal if entry.unit == hub_unit]
    for place, (count, last, text) in failed_hooks(seen).items():
        file = Path(place.rpartition(":")[0])
        if not file.exists() or file.stat().st_mtime > last / 1e6:
            continue
        edit = f"{snapshot.layout.command} edit {file.name}"
        when = f"{count} times, last at" if count > 1 else "at"
        yield Finding(WARNING, place, f"{text} ({when} {local_time(last)})", edit)


def failed_hooks(entries: Iterable[JournalEntry]) -> dict[str, tuple[int, int, str]]:
    """Return, by FILE:LINE, how often a hook has failed, the last time (µs), and its message."""
    counts: Counter[str] = Counter()
    found: dict[str, tuple[int, str]] = {}
    for entry in entries:
        if text := hook_failure(entry.message):
            place = re.findall(r" fails at (\S+:\d+): ", text)[0]
            counts[place] += 1
            found[place] = (entry.time_us, text)
    return {place: (count, *found[place]) for place, count in counts.most_common()}
