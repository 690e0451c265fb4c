"""One event on one side: quiet, the event, quiet again, and the sums."""

from __future__ import annotations

import asyncio
import os
import time
from urllib.parse import urlsplit

from tests.bench.outage.account import Outcome, Requests, lateness_s
from tests.bench.outage.kernel import Watch
from tests.bench.outage.load import Load
from tests.bench.outage.sides import Side
from tests.server import MachineError

RATE = 20
"""The parameters of the published figures."""
RECOVERY_S = 60
"""Time limit after the event until everything answers again."""
QUIET = "(quiet)"
"""The event that is none: the figures when nothing happens."""


def measure(side: Side, event: str, quiet_s: float, rate: float = RATE) -> Outcome:
    """Make the event happen on this side, under load, and add up.

    Args:
        event: one of the side's, or `QUIET`.
        quiet_s: seconds of load before and after it.
        rate: requests per second to the hub, and as many to the user server.
    """
    with side.kernel.watch() as watch:
        load, took_s, error, client_cpu = asyncio.run(
            _under_load(side, event, quiet_s, rate, watch)
        )
    samples = {
        target: [sample for sample in load.samples if sample.target == target]
        for target in side.pages
    }
    return Outcome(
        event=event,
        side=side.name,
        took_s=took_s,
        hub=Requests.of(samples["hub"]),
        user=Requests.of(samples["user"]),
        gap_s=watch.count.gap_s,
        reconnects=watch.reconnects,
        missing=watch.count.missing,
        late_s=lateness_s(load.samples),
        client_cpu=client_cpu,
        load=os.getloadavg()[0],
        error=error,
    )


async def _under_load(
    side: Side, event: str, quiet_s: float, rate: float, watch: Watch
) -> tuple[Load, float, str, float]:
    address = urlsplit(side.url)
    assert address.hostname
    before_s, cpu_s, error = time.monotonic(), _cpu_s(), ""
    async with Load(address.hostname, address.port or 80, side.pages, rate) as load:
        await asyncio.sleep(quiet_s)
        start_s = time.monotonic()
        if event != QUIET:
            try:
                await asyncio.to_thread(side.events[event])
            except MachineError as failure:
                error = " ".join(str(failure).split())
        end_s = time.monotonic()
        while not (load.all_well_since(end_s) and watch.counts_since(end_s)):
            if time.monotonic() > end_s + RECOVERY_S:
                error = f"{error} not everything answers {RECOVERY_S} s later".strip()
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(quiet_s)
    share = (_cpu_s() - cpu_s) / (time.monotonic() - before_s)
    return load, end_s - start_s, error, share


def _cpu_s() -> float:
    """Return the CPU time of this process, without the commands that it runs."""
    times = os.times()
    return times.user + times.system
