"""A sample: people, servers and starts, as they were counted at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Server:
    """A server that runs or starts."""

    is_running: bool
    memory_bytes: int | None = None
    """None: unknown, as for a server on another machine."""
    cpu_ms: int | None = None
    """Time of processors since the sample before."""
    environment: str = ""
    """The name of the environment that it runs with; "": the hub's own."""


@dataclass(frozen=True)
class Person:
    """A user of the hub."""

    name: str
    since: str = ""
    """Time at which the hub added the user: a namesake has another one."""
    groups: frozenset[str] = frozenset()
    last_activity_s: float = 0
    """Time of the last activity, in seconds since the epoch."""
    servers: Sequence[Server] = ()


@dataclass(frozen=True)
class Starts:
    """Starts of servers that have ended in one way since the sample before."""

    status: str
    """"success", "failure", or "error", as JupyterHub's metrics have it."""
    reason: str
    by_duration: Mapping[float, int]
    """Numbers of starts, by the seconds that they took at most; each start counts once."""


@dataclass(frozen=True)
class Failure:
    """A start that has failed, with the reason from the journal."""

    name: str
    time_us: int
    reason: str
    meaning: str = ""


@dataclass(frozen=True)
class Sample:
    """The figures of one moment."""

    time_s: int
    covered_s: float
    """The time that it stands for: since the sample before, but not longer than the interval."""
    people: Sequence[Person]
    """Those with a server, or all."""
    is_whole: bool = False
    """Whether `people` are all people of the hub."""
    waiting: int | None = None
    """Length of the queue; None: unknown."""
    starts: Sequence[Starts] = ()
    failures: Sequence[Failure] = ()
    memo: Mapping[str, str] = field(default_factory=dict)
    """The knowledge of this sampler for the next one, kept in the same transaction."""


def sum_of_known(values: Iterable[int | None]) -> int | None:
    """Return the sum of the known values; None: there is none."""
    known = [each for each in values if each is not None]
    return sum(known) if known else None
