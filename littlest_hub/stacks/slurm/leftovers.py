"""Jobs that the hub has on record, which end when the stack is disabled or the hub removed."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial

from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest.manifest import Elsewhere
from littlest_hub.stacks.slurm import helper
from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.spawner import begun

_STATES = (
    "SELECT users.name, spawners.state FROM spawners JOIN users ON users.id = spawners.user_id"
)


def elsewhere(layout: Layout) -> Elsewhere:
    """Return the servers that are jobs, running or waiting."""
    found = jobs_on_record(layout)
    names = [f"{user} (job {job})" for user, jobs in found.items() for job in jobs]
    return Elsewhere(names, partial(cancel, layout, found))


def jobs_on_record(layout: Layout) -> dict[str, list[str]]:
    """Return numbers of jobs by user, as the hub's database has them; some may have ended.

    Raises:
        LittlestHubError: the database cannot be read.
    """
    if not layout.database.exists():
        return {}
    try:
        rows = Snapshot(layout).query(_STATES)
    except sqlite3.Error as error:
        text = f"{layout.database} does not say which servers are jobs: {error}"
        raise LittlestHubError(text, "squeue --name=jupyterhub-NAME shows those of NAME") from error
    found: dict[str, list[str]] = {}
    for user, text in rows:
        state = json.loads(text or "null") or {}
        job = str(state.get("job") or begun(state).get("job") or "")
        if re.fullmatch(r"\d+", job):
            found.setdefault(user, []).append(job)
    return found


def cancel(layout: Layout, found: Mapping[str, Sequence[str]]) -> str:
    """Cancel jobs, given by user; return why some of them may go on, or ""."""
    return asyncio.run(_cancel(layout, found))


async def _cancel(layout: Layout, found: Mapping[str, Sequence[str]]) -> str:
    failed = []
    for user, jobs in found.items():
        try:
            await helper.cancel(layout, user, jobs)
        except (SlurmError, LittlestHubError) as error:
            failed.append(f"Jobs of {user} may go on ({', '.join(jobs)}): {error}")
    return "\n".join(failed)
