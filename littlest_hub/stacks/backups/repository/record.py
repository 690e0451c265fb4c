"""The record of what was done, for doctor and the next run."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.system.files import write

_FORMAT = 1


@dataclass(frozen=True)
class Outcome:
    """The end of a run, a check, or a restore test."""

    time_s: float = 0
    """Time of it, in seconds since the epoch; 0: never."""
    problem: str = ""
    """The reason why it failed; "": it did not."""
    text: str = ""
    """The outcome, as people read it."""


@dataclass(frozen=True)
class Record:
    """The last thing that was done."""

    run: Outcome = Outcome()
    """The last run, whether it made a backup or not."""
    success_s: float = 0
    """Time at which the last backup was complete."""
    snapshot: str = ""
    snapshots: int = 0
    unread: tuple[str, ...] = ()
    """Files that the last backup could not read."""
    warning: str = ""
    """The reason why the last run did less than usual, such as keeping all old backups."""
    pruned_s: float = 0
    check: Outcome = Outcome()
    test: Outcome = Outcome()
    key_shown_s: float = 0
    """Time at which `key` was asked for the first time."""


def read(place: Place) -> Record:
    """Return the record; an empty one if it is missing or damaged."""
    try:
        found = json.loads(place.record.read_text())
        if found.pop("format") != _FORMAT:
            return Record()
        return _record(found)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return Record()


def _record(found: dict[str, Any]) -> Record:
    known = {each.name for each in fields(Record)}
    values = {name: value for name, value in found.items() if name in known}
    for name in ("run", "check", "test"):
        values[name] = Outcome(**values[name])
    values["unread"] = tuple(values["unread"])
    return Record(**values)


def update(place: Place, **values: Any) -> Record:
    """Change values of the record, and return it."""
    record = replace(read(place), **values)
    text = json.dumps({"format": _FORMAT, **asdict(record)}, indent=1) + "\n"
    write(place.record, text, 0o600)
    return record


def well(text: str) -> Outcome:
    """Return the outcome of something that has just succeeded."""
    return Outcome(time.time(), "", text)


def failed(problem: str) -> Outcome:
    """Return the outcome of something that has just failed."""
    return Outcome(time.time(), problem)
