"""Memory and processors that the units of servers use, and the memory of the machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.doctor.host import parse_meminfo
from littlest_hub.hub.systemd_units import SystemdSilentError, run
from littlest_hub.system.systemctl import parse_show

INTERVAL_S = 1.0
"""Time for which the use of processors is measured."""
_PROPERTIES = "Id,MemoryCurrent,MemoryMax,CPUUsageNSec"
# systemd prints a larger number for a value that it does not know; systemctl(1).
_LARGEST = 2**63


@dataclass(frozen=True)
class Usage:
    """Resources that the unit of a server uses; None: systemd does not know them."""

    memory_bytes: int | None = None
    limit_bytes: int | None = None
    """The most memory that the unit gets; None: no limit."""
    cpu_ns: int | None = None
    """Time of processors since the start of the unit."""
    processors: float | None = None
    """Number of processors that the unit kept busy during the measurement."""


@dataclass(frozen=True)
class Memory:
    """The memory of the machine."""

    total_bytes: int
    free_bytes: int
    """Memory that programs may get before the machine swaps."""


def parse(shown: str) -> dict[str, Usage]:
    """Parse what `systemctl show` prints: the resources that units use, by name."""
    return {
        name: Usage(
            _number(found.get("MemoryCurrent", "")),
            _number(found.get("MemoryMax", "")),
            _number(found.get("CPUUsageNSec", "")),
        )
        for name, found in parse_show(shown).items()
    }


def between(before: Mapping[str, Usage], after: Mapping[str, Usage], s: float) -> dict[str, Usage]:
    """Return the resources that units use, with the processors between two measurements.

    Args:
        before: the first measurement.
        after: the second one.
        s: the time between them.
    """
    found = {}
    for name, usage in after.items():
        former = before[name].cpu_ns if name in before else None
        processors = None
        if former is not None and usage.cpu_ns is not None and s > 0:
            # The time of a unit that was started again begins at 0.
            processors = max(0, usage.cpu_ns - former) / 1e9 / s
        found[name] = Usage(usage.memory_bytes, usage.limit_bytes, usage.cpu_ns, processors)
    return found


async def measured(units: Collection[str]) -> dict[str, Usage]:
    """Measure the resources that units use, by name; {}: systemd does not answer."""
    if not units:
        return {}
    command = ("systemctl", "show", f"--property={_PROPERTIES}", "--", *units)
    try:
        began, before = time.monotonic(), parse((await run(*command)).output)
        await asyncio.sleep(INTERVAL_S)
        ended, after = time.monotonic(), parse((await run(*command)).output)
    except SystemdSilentError:
        return {}
    return between(before, after, ended - began)


def parse_memory(meminfo: str) -> Memory | None:
    """Return the memory of the machine from /proc/meminfo (proc(5)); None: it is not there."""
    found = parse_meminfo(meminfo)
    if not {"MemTotal", "MemAvailable"} <= found.keys():
        return None
    return Memory(found["MemTotal"], found["MemAvailable"])


def memory() -> Memory | None:
    """Return the memory of this machine."""
    return parse_memory(Path("/proc/meminfo").read_text())


def _number(text: str) -> int | None:
    # Unknown values are "[not set]", "infinity", or the largest number of 64 bits.
    return int(text) if text.isdecimal() and int(text) < _LARGEST else None
