"""The hub's metrics, in Prometheus' text format: the queue, and how starts have ended."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.stats.store.sample import Starts

_BEGAN = "process_start_time_seconds"
_SPAWNS = "_server_spawn_duration_seconds_bucket"
_WAITING = "littlest_hub_waiting_servers"
_ENDLESS = 1e9
"""The bucket without an end, as a number that JSON has."""

Counters = Mapping[tuple[str, str], Mapping[float, int]]
"""Numbers of starts since the hub began: by status and reason, and by the seconds that they took
at most."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of one moment."""

    began_s: float = 0
    """Time at which the hub's process began; its counters begin at 0 then."""
    waiting: int | None = None
    spawns: Counters = field(default_factory=dict)


def parse(text: str) -> Metrics:
    """Parse the hub's metrics.

    Raises:
        LittlestHubError: the text is none.
    """
    # Of hundreds of lines about requests, none is of use here.
    wanted = [line for line in text.splitlines() if _is_of_use(line)]
    began_s, waiting = 0.0, None
    spawns: dict[tuple[str, str], dict[float, int]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
            for name, labels, value, *_ in family.samples:
                if name == _BEGAN:
                    began_s = value
                elif name == _WAITING:
                    waiting = int(value)
                else:
                    ending = labels["status"], labels["reason"]
                    up_to_s = float(labels["le"])
                    limit = up_to_s if math.isfinite(up_to_s) else _ENDLESS
                    spawns.setdefault(ending, {})[limit] = int(value)
    except (ValueError, KeyError, OverflowError) as error:
        raise LittlestHubError(f"the hub's metrics have another format: {error!r}") from error
    return Metrics(began_s, waiting, spawns)


def _is_of_use(line: str) -> bool:
    name = line.partition("{")[0].partition(" ")[0]
    return name in (_BEGAN, _WAITING) or name.endswith(_SPAWNS)


def between(before: Metrics | None, after: Metrics) -> list[Starts]:
    """Return the starts that have ended between two moments.

    Args:
        before: None: nothing is known, so that none has.
        after: if another process of the hub, all that it has counted.
    """
    if before is None:
        return []
    former = before.spawns if before.began_s == after.began_s else {}
    found = []
    for (status, reason), counted in after.spawns.items():
        earlier = former.get((status, reason), {})
        since = {limit: number - earlier.get(limit, 0) for limit, number in counted.items()}
        single, below = {}, 0
        for limit, number in sorted(since.items()):
            if number > below:
                single[limit] = number - below
            below = max(below, number)
        if single:
            found.append(Starts(status, reason, single))
    return found


def to_text(metrics: Metrics) -> str:
    """Return the counters as text, for the next sampler."""
    spawns = [[*ending, sorted(counted.items())] for ending, counted in metrics.spawns.items()]
    return json.dumps([metrics.began_s, spawns])


def from_text(text: str | None) -> Metrics | None:
    """Return the counters of a text; None: it is none."""
    try:
        began_s, spawns = json.loads(text or "")
        found: dict[Any, Any] = {(s, r): {float(a): int(b) for a, b in c} for s, r, c in spawns}
        return Metrics(float(began_s), None, found)
    except (ValueError, TypeError):
        return None
