"""People who want to start their servers at a hub that starts few at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.client import Person
from tests.hub import Hub

# Whoever's turn it is starts when this file is there.
HELD = """
import asyncio, os
from littlest_hub.hub import spawn_queue

async def held(spawner):
    while not os.path.exists("{go}"):
        await asyncio.sleep(0.05)

spawn_queue.LONGEST_S = 60
c.UnitSpawner.concurrent_starts = {limit}
c.Spawner.pre_spawn_hook = held
c.Authenticator.allow_all = True
"""


@contextlib.contextmanager
def crowd(hub: Hub, number: int, limit: int) -> Iterator[tuple[list[Person], str]]:
    """People who are logged in to a hub that starts so many servers at once, and lets none go on
    before the file that is named exists."""
    go = f"{hub.layout.run_directory}/go"
    with contextlib.ExitStack() as stack:
        stack.callback(hub.machine.run, ["rm", "-f", go])
        stack.enter_context(hub.fragment("70-held.py", HELD.format(go=go, limit=limit)))
        yield [stack.enter_context(hub.person(timeout_s=90)) for _ in range(number)], go
