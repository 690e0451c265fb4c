"""Changes that people have begun on the page: one file for the last one of each person, in /run.

The helper writes them and the hub reads them, so the page can follow a change across a reload.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place
from littlest_hub.system import locks
from littlest_hub.system.files import write

RUNNING, DONE, FAILED = "running", "done", "failed"
LONGEST_S = 900
"""Time limit of a change, after which systemd ends its helper."""
_SHOWN_S = 600
"""Time for which people see the end of a change."""


@dataclass(frozen=True)
class Change:
    """A change that goes on, or has ended."""

    visitor: str
    """Login of the person who has begun it."""
    course: str
    text: str
    """A sentence for people: the present step, or the end."""
    stage: str = RUNNING
    invocation: str = ""
    """systemd's number for this run of the helper."""
    time_s: float = 0

    @property
    def is_running(self) -> bool:
        return self.stage == RUNNING


def record(layout: Layout, change: Change) -> None:
    """Replace the last change of a person."""
    text = json.dumps(asdict(replace(change, time_s=time.time())))
    write(_file(layout, change.visitor), text, 0o600, is_durable=False)


def last_of(layout: Layout, visitor: str) -> Change | None:
    """Return the change that a person has begun last; None: none, or it is long ago."""
    found = _read(_file(layout, visitor))
    if found is None or found.visitor != visitor:
        return None
    age_s = time.time() - found.time_s
    if found.is_running and age_s > LONGEST_S + 60:
        return replace(found, stage=FAILED, text="It is not known how this has ended.")
    return found if found.is_running or age_s < _SHOWN_S else None


def of_invocation(layout: Layout, invocation: str) -> Iterator[Change]:
    """Yield the change that goes on in a run of the helper, if there is one."""
    for file in directory(layout).glob("*.json"):
        found = _read(file)
        if found and found.is_running and invocation and found.invocation == invocation:
            yield found


def claim(layout: Layout, visitor: str) -> TextIO | None:
    """Return an open file that keeps this person from beginning another change; None: one goes on.

    It is released when it is closed, or when the process ends.
    """
    directory(layout).mkdir(mode=0o700, parents=True, exist_ok=True)
    return locks.hold(_file(layout, visitor).with_suffix(".lock"))


def turn(layout: Layout) -> TextIO:
    """Wait until no other change is being made; return an open file that makes others wait."""
    held = locks.hold(directory(layout) / "turn.lock", is_patient=True)
    assert held is not None
    return held


def directory(layout: Layout) -> Path:
    """Return the directory of these files."""
    return layout.on_disk(place.page_directory(layout))


def _file(layout: Layout, visitor: str) -> Path:
    # A login may contain any character.
    return directory(layout) / f"{hashlib.sha256(visitor.encode()).hexdigest()}.json"


def _read(file: Path) -> Change | None:
    try:
        return Change(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
