"""The limits of a configuration as properties of a unit, never above those that it has already."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.units.server import Properties

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT%]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_TIME = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)")
_SECONDS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
    **dict.fromkeys(("ms", "msec"), 0.001),
}
"""systemd.time(7), "Parsing Time Spans"; without months and years."""


def of_configuration(configuration: Configuration, present: Properties) -> dict[str, str]:
    """Return the properties that a configuration changes.

    Args:
        configuration: of the launch.
        present: the properties of the unit without it.
    """
    megabytes, percent = configuration.memory_mb, configuration.cpu_percent
    found = {
        "MemoryMax": _stricter(present, "MemoryMax", megabytes << 20, _bytes),
        "CPUQuota": _stricter(present, "CPUQuota", percent, _percent, "%"),
        "RuntimeMaxSec": _stricter(present, "RuntimeMaxSec", configuration.minutes * 60, _seconds),
    }
    return {name: value for name, value in found.items() if value}


def variables(properties: Properties) -> dict[str, str]:
    """Return the environment variables by which JupyterHub tells programs these limits."""
    found = {}
    if "MemoryMax" in properties:
        found["MEM_LIMIT"] = str(properties["MemoryMax"])
    if "CPUQuota" in properties:
        found["CPU_LIMIT"] = f"{_percent(str(properties['CPUQuota'])) / 100:g}"
    return found


def _stricter(
    present: Properties, name: str, chosen: int, read: Callable[[str], float], unit: str = ""
) -> str:
    """Return the value that has been chosen; "": there is none, or the present one is as strict."""
    value = present.get(name, "")
    last = value if isinstance(value, str) else next(reversed(value), "")
    if not chosen or (last not in ("", "infinity") and read(last) <= chosen):
        return ""
    return f"{chosen}{unit}"


# A limit that this program cannot read counts as the strictest, so the administrator's stays.


def _bytes(text: str) -> float:
    found = _SIZE.fullmatch(text)
    if not found:
        return 0
    if found[2] == "%":
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return float(found[1]) / 100 * memory
    return float(found[1]) * _UNITS[found[2]]


def _percent(text: str) -> float:
    found = _PERCENT.fullmatch(text)
    return float(found[1]) if found else 0


def _seconds(text: str) -> float:
    parts = _TIME.findall(text)
    if not parts or _TIME.sub("", text).strip() or any(unit not in _SECONDS for _, unit in parts):
        return 0
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
