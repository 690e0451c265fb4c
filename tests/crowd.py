"""Many users at a hub that starts only a few servers at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.client import Person
from tests.hub import Hub

# A server whose turn has come starts only when this file exists.
HELD = """
import asyncio, os
from littlest_hub.hub import spawn_queue

async def held(spawner):
    while not os.path.exists("{go}"):
        await asyncio.sleep(0.05)

spawn_queue.SLOT_TIMEOUT_S = 60
c.UnitSpawner.concurrent_starts = {limit}
c.Spawner.pre_spawn_hook = held
c.Authenticator.allow_all = True
"""


@contextlib.contextmanager
def crowd(hub: Hub, number: int, limit: int) -> Iterator[tuple[list[Person], str]]:
    """Log users in to a hub that starts at most `limit` servers at once.

    Yields:
        The users, and the path of a file; no server starts before that file exists.
    """
    go = f"{hub.layout.run_directory}/go"
    with contextlib.ExitStack() as stack:
        stack.callback(hub.machine.run, ["rm", "-f", go])
        stack.enter_context(hub.fragment("70-held.py", HELD.format(go=go, limit=limit)))
        yield [stack.enter_context(hub.person(timeout_s=90)) for _ in range(number)], go
