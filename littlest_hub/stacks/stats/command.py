"""`littlest-hub stats`: the state of the statistics, and the token of Prometheus."""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from littlest_hub.errors import LittlestHubError, as_typed, with_sudo
from littlest_hub.layout import Layout
from littlest_hub.manifest import plain_values
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.stats import capacity
from littlest_hub.stacks.stats.capacity import ENOUGH_S, Capacity
from littlest_hub.stacks.stats.hub import STACK, prometheus_token
from littlest_hub.stacks.stats.pages.table import BYTES, COUNT, DURATION, PROCESSORS, shown
from littlest_hub.stacks.stats.sampler.program import STATUS, Status
from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.database import FILE, damaged
from littlest_hub.stacks.stats.store.reading import Figures
from littlest_hub.stacks.stats.units import SAMPLER
from littlest_hub.stacks.stats.values import DAY_S, FRAGMENT, Values

CAPACITY_DAYS = 30
"""Number of past days from which the capacity is computed."""
_ABOUT = """\
Show the state of the statistics, which are at /services/stats/, or how many people
this machine can serve, from what servers on it have needed.
"""
_EXAMPLES = """\
examples:
  {command} stats            when the last sample was taken, how large the database is
  {command} stats --json     the same for programs
  {command} stats capacity   how many people this machine can serve
  {command} stats token      the token with which Prometheus reads the hub's metrics
"""


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Show the state of the statistics, the capacity of the machine, or the token of Prometheus.

    Raises:
        LittlestHubError: Prometheus may not read the metrics, or the figures cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog=f"{layout.command} stats",
        description=_ABOUT,
        epilog=_EXAMPLES.format(command=with_sudo(layout.command)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", choices=("status", "capacity", "token"), default="status"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if options.what == "token":
        _token(layout)
    elif options.what == "capacity":
        _capacity(layout, is_json=options.json)
    else:
        _state(layout, is_json=options.json)
    return 0


def after_enable(layout: Layout, stack: EnabledStack) -> list[str]:
    """Return what people do next."""
    return [
        f"The figures are at /services/{stack.name}/, the first ones within a minute.",
        f"Who sees which of them: {as_typed(f'{layout.command} edit {FRAGMENT}')}",
    ]


def _token(layout: Layout) -> None:
    if not plain_values.read(layout, FRAGMENT, Values).prometheus:
        raise LittlestHubError(
            "Prometheus may not read the metrics of this hub",
            f"Set PROMETHEUS = True: {as_typed(f'{layout.command} edit {FRAGMENT}')}",
        )
    print(prometheus_token(layout))


def _capacity(layout: Layout, *, is_json: bool) -> None:
    now_s = time.time()
    try:
        with closing(database.open_to_read(layout.on_disk(layout.stack_data(STACK)))) as connection:
            machine = capacity.measure(layout)
            span = now_s - CAPACITY_DAYS * DAY_S, now_s + 1
            found = capacity.read(Figures(connection), machine, *span)
    except sqlite3.Error as error:
        raise LittlestHubError(
            f"the figures cannot be read: {error}", as_typed(f"{layout.command} stats")
        ) from error
    if is_json:
        limits = [{**asdict(each), "people": each.people} for each in found.limits]
        people = {"people_who_work": found.people_who_work, "idle_servers": found.idle_servers}
        machine_ = asdict(found.machine)
        print(json.dumps({"format": 1, **people, "machine": machine_, "limits": limits}, indent=1))
        return
    print("\n".join(_lines(found)))


def _lines(found: Capacity) -> Iterator[str]:
    """Yield the capacity for people."""
    yield f"people who can work at a time: {shown(found.people_who_work, COUNT)}"
    yield f"idle servers at a time: {shown(found.idle_servers, COUNT)}"
    for each in found.limits:
        kind = BYTES if each.is_memory else PROCESSORS
        left, need = shown(each.available, kind), shown(each.each, kind)
        measured = f"measured for {shown(each.measured_s, DURATION)} of servers"
        yield f"  {each.what}: {left}, one person needs {need} ({measured})"
    machine = found.machine
    total, hub = shown(machine.memory_bytes, BYTES), shown(machine.hub_bytes, BYTES)
    others = shown(machine.others_bytes, BYTES)
    yield f"memory of the machine: {total}; all but servers needs {others}, of which the hub {hub}"
    if found.people_who_work is None or found.idle_servers is None:
        enough = shown(ENOUGH_S, DURATION)
        yield f"Unknown is what was measured for less than {enough} in {CAPACITY_DAYS} days."


def _state(layout: Layout, *, is_json: bool) -> None:
    directory = layout.on_disk(layout.stack_data(STACK))
    status = _status(directory)
    files = (directory / FILE, directory / f"{FILE}-wal")
    size_bytes = sum(each.stat().st_size for each in files if each.exists())
    aside = [each.name for each in damaged(directory)]
    if is_json:
        print(json.dumps({**asdict(status), "size_bytes": size_bytes, "damaged": aside}))
        return
    when = "never"
    if status.sampled_s:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.sampled_s))
    print(f"last sample: {when}, every {status.every_s} s")
    if status.problem:
        print(f"problem: {status.problem}")
        unit = f"{layout.stack_unit(STACK, SAMPLER)}.service"
        print(f"See: {as_typed(f'journalctl -u {unit} -n 20')}")
    print(f"database: {size_bytes / 1e6:.1f} MB at {directory / FILE}")
    for name in aside:
        print(f"damaged, and set aside: {directory / name}")


def _status(directory: Path) -> Status:
    try:
        return Status.from_text((directory / STATUS).read_text())
    except FileNotFoundError:
        return Status()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LittlestHubError(f"{directory / STATUS} cannot be read: {error}") from error
