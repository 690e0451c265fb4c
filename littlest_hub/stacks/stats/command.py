"""`littlest-hub stats`: the state of the statistics, and the token of Prometheus."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.manifest import plain_values
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.stats.hub import STACK, prometheus_token
from littlest_hub.stacks.stats.sampler.program import STATUS, Status
from littlest_hub.stacks.stats.store.database import FILE, damaged
from littlest_hub.stacks.stats.units import SAMPLER
from littlest_hub.stacks.stats.values import FRAGMENT, Values

_EXAMPLES = """\
examples:
  sudo {command} stats            when the last sample was taken, how large the database is
  sudo {command} stats --json     the same for programs
  sudo {command} stats token      the token with which Prometheus reads the hub's metrics
"""


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Show the state of the statistics, or the token of Prometheus.

    Raises:
        LittlestHubError: Prometheus may not read the metrics.
    """
    parser = argparse.ArgumentParser(
        prog=f"{layout.command} stats",
        description="Show the state of the statistics, which are at /services/stats/.",
        epilog=_EXAMPLES.format(command=layout.command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", choices=("status", "token"), default="status")
    parser.add_argument("--json", action="store_true", help="print the state as JSON")
    options = parser.parse_args(arguments)
    if options.what == "token":
        _token(layout)
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
