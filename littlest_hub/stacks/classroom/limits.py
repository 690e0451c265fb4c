"""Memory, processors and tasks that a person's server may have, as the stack's fragment says."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

EVERYBODY = "*"
GROUP = "group:"
MEMORY, CPU, TASKS = "memory", "cpu", "tasks"
# With less, JupyterLab and one kernel do not start.
_LEAST_MEMORY, _LEAST_CPU, _LEAST_TASKS = 128 << 20, 0.1, 64
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT])")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Limits:
    """The variable LIMITS at the top of the fragment."""

    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """{"*": {"memory": "2G"}, "group:heavy": {"cpu": 4}, "alice": {"tasks": 1000}}"""

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        if not isinstance(self.limits, dict):
            text = f'expected {{"{EVERYBODY}": {{"memory": "2G"}}}}, found {self.limits!r}'
            return [("LIMITS", text)]
        found = [text for who, what in self.limits.items() for text in _problems_of(who, what)]
        return [("LIMITS", text) for text in found]

    @property
    def logins(self) -> list[tuple[str, str]]:
        """The logins that are named, each after the variable, if there are no problems."""
        return [("LIMITS", who) for who in self.limits if not group_of(who)]

    def without_effect(self, memory_bytes: int, processors: int) -> Iterator[str]:
        """Yield which limits exceed a machine, if there are no problems.

        Args:
            memory_bytes: memory of the machine.
            processors: how many it has.
        """
        for who, what in self.limits.items():
            if MEMORY in what and _bytes(what[MEMORY]) > memory_bytes:
                has = f"{memory_bytes / (1 << 30):.1f}G of memory"
                yield f"{who}: {MEMORY}: {what[MEMORY]!r} limits nothing: this machine has {has}"
            if CPU in what and what[CPU] > processors:
                has = f"{processors} processor{'s' if processors > 1 else ''}"
                yield f"{who}: {CPU}: {what[CPU]} limits nothing: this machine has {has}"

    def of(self, login: str, groups: Collection[str]) -> dict[str, float]:
        """Return the limits of a person by kind; memory in bytes.

        The person's own limit has priority, then the highest of their groups, then everybody's.
        """
        of_groups = [what for who, what in self.limits.items() if group_of(who) in groups]
        steps = [[self.limits.get(EVERYBODY, {})], of_groups, [self.limits.get(login, {})]]
        found: dict[str, float] = {}
        for step in steps:
            for kind in (MEMORY, CPU, TASKS):
                if values := [_number(kind, what[kind]) for what in step if kind in what]:
                    found[kind] = max(values)
        return found


def properties(limits: Mapping[str, float]) -> dict[str, str]:
    """Return the properties of a server's unit that limit it."""
    found = {}
    if MEMORY in limits:
        found["MemoryMax"] = str(int(limits[MEMORY]))
    if CPU in limits:
        found["CPUQuota"] = f"{limits[CPU]:.0%}"
    if TASKS in limits:
        found["TasksMax"] = str(int(limits[TASKS]))
    return found


def variables(limits: Mapping[str, float]) -> dict[str, str]:
    """Return the environment variables by which JupyterHub tells programs their limits."""
    found = {}
    if MEMORY in limits:
        found["MEM_LIMIT"] = str(int(limits[MEMORY]))
    if CPU in limits:
        found["CPU_LIMIT"] = f"{limits[CPU]:g}"
    return found


def _problems_of(who: Any, what: Any) -> Iterator[str]:
    if not (isinstance(who, str) and who):
        yield f'expected "{EVERYBODY}", "{GROUP}NAME", or a login, found {who!r}'
    if not isinstance(what, dict):
        yield f'{who}: expected {{"memory": "2G", "cpu": 2, "tasks": 500}}, found {what!r}'
        return
    for kind, value in what.items():
        if kind == MEMORY:
            is_right = _bytes(value) >= _LEAST_MEMORY
            expected = 'a size such as "2G", of "128M" or more'
        elif kind == CPU:
            is_right = type(value) in (int, float) and value >= _LEAST_CPU
            expected = f"a number of processors, {_LEAST_CPU} or more"
        elif kind == TASKS:
            is_right = type(value) is int and value >= _LEAST_TASKS
            expected = f"a number of processes and threads, {_LEAST_TASKS} or more"
        else:
            yield f"{who}: expected {MEMORY}, {CPU} or {TASKS}, found {kind!r}"
            continue
        if not is_right:
            yield f"{who}: {kind}: expected {expected}, found {value!r}"


def _number(kind: str, value: Any) -> float:
    return float(_bytes(value) if kind == MEMORY else value)


def _bytes(value: Any) -> int:
    """Return a size in bytes; -1: the value is no size."""
    if type(value) is int:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(float(found[1]) * _UNITS[found[2]]) if found else -1


def group_of(who: str) -> str:
    """Return the group that a key of LIMITS names; "": it names no group."""
    return who.removeprefix(GROUP) if who.startswith(GROUP) else ""
