"""Servers that did not start, with the reason, as `doctor` finds it in the journal.

Reading the journal takes a while and keeps a processor busy, so the hub runs this module as a
program.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from littlest_hub import installation
from littlest_hub.doctor.configuration import last_fragment
from littlest_hub.doctor.failed_spawns import failed_spawns, started_since
from littlest_hub.doctor.journal import local_time
from littlest_hub.doctor.servers import accounts_of_stacks
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.system import commands

_MOST = 100
KEPT_S = 60
"""Time for which an answer is shown before the journal is read again."""
_TIMEOUT_S = 30
_MODULE = "littlest_hub.doctor.last_failures"


@dataclass(frozen=True)
class Failure:
    """The last failed start of a person's server."""

    name: str
    when: str
    """The local time."""
    time_us: int
    """The same, since the epoch."""
    reason: str
    meaning: str
    command: str
    """A command that mends the cause, or shows more."""
    is_over: bool
    """Whether a later start of a server of this person has succeeded."""


class Failures:
    """The last failed starts, read again when the answer is old."""

    def __init__(self) -> None:
        self._found: Sequence[Failure] | None = ()
        self._read_at_s: float | None = None
        self._turn = asyncio.Lock()

    def forget(self) -> None:
        """Discard the last answer, because a server was started."""
        self._read_at_s = None

    async def get(self) -> Sequence[Failure] | None:
        """Return the failed starts, latest first; None: the hub cannot read the journal."""
        async with self._turn:
            if self._read_at_s is None or time.monotonic() > self._read_at_s + KEPT_S:
                self._found = await _read()
                self._read_at_s = time.monotonic()
        return self._found


async def _read() -> Sequence[Failure] | None:
    python = installation.release_of_this_interpreter() / "bin" / "python3"
    try:
        done = await commands.run(str(python), "-I", "-m", _MODULE, timeout_s=_TIMEOUT_S)
        found = json.loads(done.output)
    except (TimeoutError, ValueError):
        return None
    return None if found is None else [Failure(**each) for each in found]


def found(snapshot: Snapshot) -> list[Failure] | None:
    """Return each person's last failed start in the journal; None: it cannot be read."""
    if not snapshot.journal:
        return None
    layout = snapshot.layout
    edit = f"{layout.command} edit {last_fragment(layout)}"
    failed = failed_spawns(snapshot.journal, layout, edit, accounts_of_stacks(layout))
    return [
        Failure(
            each.user,
            local_time(each.time_us),
            each.time_us,
            each.line,
            each.meaning,
            each.command,
            started_since(snapshot.journal, layout.hub_service, each),
        )
        for each in failed[:_MOST]
    ]


def main() -> None:
    """Print the failed starts as JSON."""
    failed = found(Snapshot(installation.of_this_release()))
    print(json.dumps(None if failed is None else [asdict(each) for each in failed]))


if __name__ == "__main__":
    main()
