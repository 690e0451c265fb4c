"""The measurements: functions of a side that return figures by name.

The names are those of `figures.FIGURES`. Nothing is compared or judged here.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import httpx

from tests.bench import extensions
from tests.bench.outage.account import Sample
from tests.bench.outage.load import Load
from tests.bench.outage.measure import measure as under_load
from tests.bench.sides import HubSide, Side, Started, add_accounts, add_people
from tests.bench.usage import cpu_s, settle, usage
from tests.bench.wrk import wrk
from tests.eventually import eventually

Figures = Mapping[str, float]
PAGES_PER_S = 100
LEVELS = (10, 100, 1000)
"""Numbers of users and of routes when growth is measured."""
EXTENDED = ("start_s", "hub_pss_mib", "spawn1_s", "spawn1_cpu_s", "spawn1_pss_mib")
"""The figures of a hub and its server that are measured with extensions."""
ROUTES_S = 120
"""The time limit to add all those routes; a slower side is not measured with more."""


@dataclass(frozen=True)
class Measure:
    """One measurement, and the sides that it applies to."""

    name: str
    run: Callable[..., Figures]
    of: type[Side] = HubSide
    rounds: int | None = None
    """The largest number of rounds, since slow measurements need fewer; None: as many as are
    requested."""


def people(count: int) -> list[str]:
    """Names of the users whose servers are started."""
    return [f"bench{number:02}" for number in range(count)]


def put_on_disk(side: Side) -> Figures:
    """Measure unpacking, until the files are runnable, on the host's disk."""
    return {"install_s": side.disk.seconds()} if side.disk else {}


def start(side: HubSide) -> Figures:
    """Measure a hub start up to its first page, and the idle memory of hub and proxy."""
    machine = side.machine
    machine.systemctl("stop", side.hub_unit)
    machine.systemctl("restart", side.proxy_unit)
    return {**started(side), **idle(side)}


def started(side: HubSide) -> Figures:
    """Start a stopped hub."""
    machine = side.machine
    machine.systemctl("start", "--no-block", side.hub_unit)
    first_s = _first_page(side.url)
    show = ["show", "--property=ExecMainStartTimestampMonotonic", "--value", side.hub_unit]
    # The machine's monotonic clock is the host's.
    begun_s = int(machine.systemctl(*show).stdout) / 1e6
    return {"start_s": first_s - begun_s, "start_cpu_s": cpu_s(machine, side.hub_unit)}


def idle(side: HubSide) -> Figures:
    """Measure the memory of hub and proxy without requests."""
    units = (side.hub_unit, side.proxy_unit)
    settled = settle(side.machine, *units)
    used = usage(side.machine, *units)
    hub, proxy = (used[unit] for unit in units)
    return {
        "idle_settled": settled,
        "idle_pss_mib": hub.pss_mib + proxy.pss_mib,
        "hub_pss_mib": hub.pss_mib,
        "proxy_pss_mib": proxy.pss_mib,
        "idle_anonymous_mib": hub.anonymous_mib + proxy.anonymous_mib,
    }


def _first_page(url: str) -> float:
    """Return when the login page was there, on the clock of `time.monotonic`."""
    with httpx.Client(timeout=60, trust_env=False) as browser:

        def answers() -> float:
            try:
                good = browser.get(f"{url}/hub/login").status_code == 200
            except httpx.TransportError:
                return 0
            return time.monotonic() if good else 0

        return eventually(answers, 120, f"a login page at {url}", interval_s=0.02)


def reload(side: HubSide) -> Figures:
    """Measure what users notice of a reload, or of a restart where there is no reload."""
    outcome = under_load(side.at_work, "reload", quiet_s=1)
    return {
        "reload_worst_s": max(max(r.worst_s, r.away_s) for r in (outcome.hub, outcome.user)),
        "reload_failed": outcome.hub.failed + outcome.user.failed,
    }


def at_once(side: Side, count: int, *, until_idle: bool = False) -> Figures:
    """Measure that many users who request their servers at the same moment.

    Args:
        until_idle: also wait until the servers are idle, and measure what each used.
    """
    machine, names = side.machine, people(count)
    hub = (side.hub_unit, side.proxy_unit) if isinstance(side, HubSide) else ()
    before_s = cpu_s(machine, *hub) if hub else 0
    figures: dict[str, float] = {}
    try:
        servers = side.start_servers(names)
        ready = [server.seconds for server in servers if not server.failure]
        if hub and ready:
            figures[f"spawn{count}_hub_cpu_s"] = (cpu_s(machine, *hub) - before_s) / len(ready)
        if until_idle:
            figures[f"spawn{count}_settled"] = settle(machine, side.servers)
            used = usage(machine, side.servers).values()
            figures[f"spawn{count}_cpu_s"] = statistics.mean(unit.cpu_s for unit in used)
            figures[f"spawn{count}_pss_mib"] = statistics.mean(unit.pss_mib for unit in used)
    finally:
        side.stop_servers(names)
    return {**figures, **outcome(servers)}


def outcome(servers: Sequence[Started]) -> Figures:
    """Return the number of failures, and, if there are none, when the last server was ready."""
    count = len(servers)
    failed = sum(bool(server.failure) for server in servers)
    figures: dict[str, float] = {f"spawn{count}_failed": failed}
    if not failed:
        figures[f"spawn{count}_s"] = max(server.seconds for server in servers)
    return figures


def pages(side: HubSide, seconds: float = 8, rate: float = PAGES_PER_S) -> Figures:
    """Measure the hub's pages at so many requests per second, sent on time whatever happens."""
    samples = asyncio.run(_pages(side, seconds, rate))
    return {
        "pages_p50_ms": percentile([s.done_s - s.due_s for s in samples], 50) * 1e3,
        "pages_p99_ms": percentile([s.done_s - s.due_s for s in samples], 99) * 1e3,
        "pages_failed": sum(bool(sample.failure) for sample in samples),
    }


async def _pages(side: HubSide, seconds: float, rate: float) -> Sequence[Sample]:
    address = urlsplit(side.url)
    assert address.hostname
    only = {"hub": side.at_work.pages["hub"]}
    async with Load(address.hostname, address.port or 80, only, rate) as load:
        await asyncio.sleep(seconds)
    return load.samples


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of the values do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a percentile of no values")
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def proxied(side: Side, seconds: int = 4) -> Figures:
    """Measure the throughput of requests to the backend, of 1 KiB and of 1 MiB."""
    small = wrk(side.machine, f"{side.backend}/small", connections=50, seconds=seconds)
    large = wrk(side.machine, f"{side.backend}/large", connections=10, seconds=seconds)
    return {
        "small_per_s": small.requests_per_s,
        "small_p99_ms": small.p99_s * 1e3,
        "large_mb_per_s": large.bytes_per_s / 1e6,
    }


def extended(side: HubSide) -> Figures:
    """Measure the start of the hub, and one server, with none, one and all usual extensions."""
    figures: dict[str, float] = {}
    for count in extensions.COUNTS:
        extensions.use(side, count)
        at_once(side, 1)  # reads the new files for the first time
        found = {**start(side), **at_once(side, 1, until_idle=True)}
        figures |= {f"{name}+{count}": found[name] for name in EXTENDED if name in found}
    extensions.use(side, 0)
    return figures


def growth(side: HubSide) -> Figures:
    """Measure growth with more users, then with more routes. They stay, so this comes last."""
    return {**_more_users(side), **_more_routes(side)}


def _more_users(side: HubSide) -> Figures:
    figures: dict[str, float] = {}
    known = 0
    for level in LEVELS:
        names = [f"grown{number}" for number in range(known, level)]
        add_accounts(side.machine, names, first_uid=10000 + known)
        add_people(side, names)
        known = level
        side.machine.systemctl("stop", side.hub_unit)
        found = {**started(side), **idle(side)}
        figures |= {f"{name}@{level}": figure for name, figure in found.items()}
    return figures


def _more_routes(side: HubSide) -> Figures:
    figures: dict[str, float] = {}
    until_s = time.monotonic() + ROUTES_S
    there = 0
    for level in LEVELS:
        while there < level:
            if time.monotonic() > until_s:
                return figures
            more = min(level - there, 50)
            side.add_routes(there, there + more)
            there += more
        side.add_routes(there, there := there + 1)  # with all earlier routes applied
        one_by_one = [side.add_routes(number, number + 1) for number in range(there, there + 5)]
        there += len(one_by_one)
        rate = wrk(side.machine, f"{side.backend}/small", connections=50, seconds=2)
        figures |= {
            f"route_s@{level}": statistics.median(one_by_one),
            f"pages_p99_ms@{level}": pages(side, seconds=4)["pages_p99_ms"],
            f"small_per_s@{level}": rate.requests_per_s,
        }
    figures["route_growth"] = figures[f"route_s@{LEVELS[-1]}"] / figures[f"route_s@{LEVELS[0]}"]
    return figures


MEASURES = (
    Measure("install", put_on_disk, Side),
    Measure("start", start),
    Measure("reload", reload, rounds=2),
    Measure("spawn1", partial(at_once, count=1), Side),
    Measure("spawn10", partial(at_once, count=10, until_idle=True), Side, rounds=2),
    Measure("spawn30", partial(at_once, count=30), Side, rounds=1),
    Measure("spawn50", partial(at_once, count=50), Side, rounds=1),
    Measure("pages", pages),
    Measure("proxied", proxied, Side),
    Measure("extensions", extended, rounds=1),
    Measure("growth", growth, rounds=1),
)
"""All measurements, in the order of a round."""
QUICK = ("start", "spawn1", "spawn10", "proxied")
"""Measurements for a first impression in a few minutes."""
