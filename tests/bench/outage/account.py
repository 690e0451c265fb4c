"""Sums over the requests and the count; no input or output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One request; times are seconds of one monotonic clock."""

    target: str
    """"hub" or "user"."""
    due_s: float
    """Time at which it had to be sent."""
    sent_s: float
    """Time at which the client sent it."""
    done_s: float
    """Time at which the last byte of the answer arrived, or it had failed."""
    failure: str = ""
    """The reason why it failed; "": the answer was correct."""
    retried: bool = False
    """Whether it was sent once more because its reused connection had been closed."""


@dataclass
class Count:
    """The numbers 0, 1, 2, … that a kernel prints, as they arrive."""

    since_s: float
    """Time at which watching began, or the last number arrived."""
    next: int = 0
    missing: int = 0
    """The number of missing numbers."""
    repeated: int = 0
    """The number of repeated numbers; a replay after a reconnection may repeat some."""
    gap_s: float = 0.0
    """The longest silence so far."""
    _rest: str = ""

    def arrived(self, text: str, at_s: float) -> None:
        """Add output of the kernel, cut anywhere, at the time of its arrival."""
        *lines, self._rest = (self._rest + text).split("\n")
        for number in map(int, lines):
            if number < self.next:
                self.repeated += 1
            else:
                self.missing += number - self.next
                self.next = number + 1
        self.silent_until(at_s)
        self.since_s = at_s

    def silent_until(self, at_s: float) -> None:
        """End the count now: a number that never arrives is a silence too."""
        self.gap_s = max(self.gap_s, at_s - self.since_s)


@dataclass
class Requests:
    """All requests of one kind during one event."""

    sent: int = 0
    failed: int = 0
    retried: int = 0
    worst_s: float = 0.0
    """Longest latency of a correct answer."""
    away_s: float = 0.0
    """Time from the first failed request until the last one was due."""
    reasons: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Requests:
        """Add requests up."""
        failed = [sample for sample in samples if sample.failure]
        return cls(
            sent=len(samples),
            failed=len(failed),
            retried=sum(sample.retried for sample in samples),
            # From the time when it was due: a late request has waited.
            worst_s=max((s.done_s - s.due_s for s in samples if not s.failure), default=0.0),
            away_s=max((s.due_s for s in failed), default=0.0)
            - min((s.due_s for s in failed), default=0.0),
            reasons=dict(Counter(sample.failure for sample in failed)),
        )


@dataclass
class Outcome:
    """One event on one side."""

    event: str
    side: str
    took_s: float
    """Time until the command returned."""
    hub: Requests
    user: Requests
    gap_s: float
    reconnects: int
    missing: int
    late_s: float
    """The longest delay of the client itself; shorter latencies say nothing about the server."""
    client_cpu: float
    """Share of one CPU that the client used."""
    load: float = 0.0
    """Load of the machine that ran all of this, averaged over a minute."""
    error: str = ""
    """The output of a failed command, or that nothing answered again."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def lateness_s(samples: Sequence[Sample]) -> float:
    """Return the longest delay of a request by the client."""
    return max((sample.sent_s - sample.due_s for sample in samples), default=0.0)


# Title, width of one figure, and the figure.
_COLUMNS: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
    ("took s", lambda o: f"{o.took_s:.2f}"),
    ("failed hub", lambda o: str(o.hub.failed)),
    ("failed user", lambda o: str(o.user.failed)),
    ("worst s hub", lambda o: f"{o.hub.worst_s:.2f}"),
    ("worst s user", lambda o: f"{o.user.worst_s:.2f}"),
    ("ws gap s", lambda o: f"{o.gap_s:.2f}"),
    ("reconnects", lambda o: str(o.reconnects)),
    ("lost numbers", lambda o: str(o.missing)),
    ("retried", lambda o: str(o.hub.retried + o.user.retried)),
    ("load", lambda o: f"{o.load:.1f}"),
)


def table(outcomes: Sequence[Outcome], sides: Sequence[str]) -> str:
    """Return one line for each event and round, with both sides in each column."""
    rows: dict[tuple[str, int], dict[str, Outcome]] = {}
    for outcome in outcomes:
        turn = 0
        while outcome.side in rows.setdefault((outcome.event, turn), {}):
            turn += 1
        rows[outcome.event, turn][outcome.side] = outcome
    titles = ["event", *(title for title, _ in _COLUMNS)]
    lines = [titles, ["", *(" / ".join(sides) for _ in _COLUMNS)]]
    for (event, _), found in sorted(rows.items(), key=lambda row: _order(outcomes, row[0][0])):
        cells = [
            " / ".join(figure(found[side]) if side in found else "-" for side in sides)
            for _, figure in _COLUMNS
        ]
        lines.append([event + ("*" if any(o.error for o in found.values()) else ""), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        " | ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _order(outcomes: Sequence[Outcome], event: str) -> int:
    return next(number for number, outcome in enumerate(outcomes) if outcome.event == event)
