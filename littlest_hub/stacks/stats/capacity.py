"""The number of people that this machine can serve, from what was measured on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from littlest_hub.layout import Layout
from littlest_hub.stacks.stats.store.reading import Figures, Typical
from littlest_hub.system import cgroups

RESERVE = 0.1
"""The part of the memory that is left for the kernel, and for servers that need more."""
ENOUGH_S = 3600
"""Time for which servers have to be measured; with less, their need is unknown."""


@dataclass(frozen=True)
class Machine:
    """Resources of the machine, and those that servers cannot have; None: unknown."""

    memory_bytes: int
    processors: int
    others_bytes: int | None
    """Memory that everything but user servers needs now, the hub included."""
    hub_bytes: int | None
    """Memory that the units of the hub need now."""


@dataclass(frozen=True)
class Limit:
    """One kind of resource, which is enough for a number of people."""

    what: str
    available: float | None
    """Bytes or processors; None: unknown."""
    each: float | None
    """Resources that one person needs; None: unknown."""
    measured_s: float
    """Time for which servers were measured for that."""
    is_memory: bool = True

    @property
    def people(self) -> int | None:
        """The number; None: unknown."""
        if self.available is None or not self.each:
            return None
        return max(0, int(self.available / self.each))


@dataclass(frozen=True)
class Capacity:
    """Resources of a machine, and those that people on it need."""

    machine: Machine
    idle: Typical
    """A person whose servers run, and who does nothing."""
    busy: Typical
    """A person who works."""

    @property
    def left_bytes(self) -> float | None:
        """The memory that servers can have."""
        if self.machine.others_bytes is None:
            return None
        return self.machine.memory_bytes * (1 - RESERVE) - self.machine.others_bytes

    @property
    def limits(self) -> tuple[Limit, Limit, Limit]:
        """Memory for idle servers, then memory and processors for people who work."""
        idle, busy, left = _enough(self.idle), _enough(self.busy), self.left_bytes
        return (
            Limit("memory, idle servers", left, idle.memory_bytes, idle.server_s),
            Limit("memory, people who work", left, busy.memory_bytes, busy.server_s),
            Limit(
                "processors, people who work",
                self.machine.processors,
                busy.processors,
                busy.server_s,
                is_memory=False,
            ),
        )

    @property
    def idle_servers(self) -> int | None:
        """The number of people who can have an idle server; None: unknown."""
        return self.limits[0].people

    @property
    def people_who_work(self) -> int | None:
        """The number of people who can work at the same time; None: unknown."""
        found = [each.people for each in self.limits[1:]]
        known = [each for each in found if each is not None]
        return min(known) if len(known) == len(found) else None


def measure(layout: Layout) -> Machine:
    """Measure this machine."""
    return Machine(
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        os.cpu_count() or 1,
        cgroups.needed_memory_outside(layout.users_slice),
        _sum(_of_hub(layout)),
    )


def read(figures: Figures, machine: Machine, begin_s: float, end_s: float) -> Capacity:
    """Return the capacity, from what was measured in a period.

    Args:
        figures: the database.
        machine: as it was measured.
        begin_s: the beginning of the period, in seconds since the epoch.
        end_s: its end.
    """
    idle, busy = (figures.typical(begin_s, end_s, is_active=each) for each in (False, True))
    return Capacity(machine, idle, busy)


def _enough(found: Typical) -> Typical:
    return found if found.server_s >= ENOUGH_S else Typical(found.server_s)


def _of_hub(layout: Layout) -> Iterator[int | None]:
    for unit, directory in cgroups.in_slice("system.slice").items():
        if unit.endswith(".service") and unit.startswith(
            (f"{layout.instance}.", f"{layout.instance}-")
        ):
            yield cgroups.needed_memory(directory)


def _sum(found: Iterator[int | None]) -> int | None:
    known = [each for each in found if each is not None]
    return sum(known) if known else None
