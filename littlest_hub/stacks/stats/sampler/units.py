"""Memory and processors of the units of user servers, from their cgroups, which everybody may read.

A server that is no unit of this machine, such as a job of Slurm, has none: its use is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.system import cgroups


@dataclass(frozen=True)
class Measured:
    """The use of a unit; None: it is not counted here."""

    memory_bytes: int | None = None
    cpu_ms: int | None = None
    """Time of processors since the sample before."""


class Units:
    """Measures units at each sample.

    Args:
        layout: whose user servers they are.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: dict[str, tuple[int, int]] | None = None
        """The number of each unit's cgroup, and its processor time; None: nothing was measured."""

    def measure(self) -> dict[str, Measured]:
        """Return what each unit uses, by its name without suffix."""
        found, now = {}, {}
        for unit, directory in self._directories():
            cpu_ms, cgroup = cgroups.processor_ms(directory), _number_of(directory)
            used = None
            if cpu_ms is not None:
                now[unit] = cgroup, cpu_ms
                used = self._since(unit, cgroup, cpu_ms)
            found[unit] = Measured(cgroups.needed_memory(directory), used)
        self._last = now
        return found

    def _since(self, unit: str, cgroup: int, cpu_ms: int) -> int:
        if self._last is None:
            return 0  # it may have used them days ago
        former_cgroup, former_ms = self._last.get(unit, (cgroup, 0))
        # A unit that was started again begins at 0.
        return cpu_ms if former_cgroup != cgroup else max(0, cpu_ms - former_ms)

    def _directories(self) -> Iterator[tuple[str, Path]]:
        for name, directory in cgroups.in_slice(self._layout.users_slice).items():
            if name.endswith(".service"):
                yield name.removesuffix(".service"), directory


def _number_of(directory: Path) -> int:
    try:
        return directory.stat().st_ino
    except OSError:  # removed meanwhile
        return 0
