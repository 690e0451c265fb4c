"""Tables: figures with the kind of each, as text for people, as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from littlest_hub.stacks.stats.values import DAY_S

TEXT, TIME, DAY, COUNT, BYTES, DURATION, PROCESSORS, MEMORY_TIME = (
    "text",
    "time",
    "day",
    "count",
    "bytes",
    "duration",
    "processors",
    "memory time",
)
"""Kinds of figures. Durations are in seconds; times, and days, are seconds since the epoch; memory
multiplied by time is in GB h."""
UNKNOWN = "unknown"
_UNITS = {BYTES: "_bytes", DURATION: "_s", MEMORY_TIME: "_gb_h"}
# A spreadsheet takes text that begins so for a formula (owasp.org, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """The name in JSON and CSV, without the unit."""
    title: str
    kind: str = COUNT

    @property
    def key(self) -> str:
        """Its name with the unit, in JSON and CSV."""
        return f"{self.name}{_UNITS.get(self.kind, '')}"


@dataclass(frozen=True)
class Table:
    """Rows of figures, each by the name of its column; None is unknown."""

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]

    def cells(self, row: Mapping[str, Any]) -> list[str]:
        """Return a row as text for people."""
        return [shown(row[each.name], each.kind) for each in self.columns]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows for a program."""
        return [
            {each.key: _plain(row[each.name], each.kind) for each in self.columns}
            for row in self.rows
        ]

    def to_csv(self) -> str:
        """Return the rows for a spreadsheet."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([each.key for each in self.columns])
        for row in self.to_json():
            writer.writerow([_harmless(value) for value in row.values()])
        return text.getvalue()


def shown(value: Any, kind: str) -> str:
    """Return a figure as text for people."""
    if value is None:
        return UNKNOWN
    return _WRITERS[kind](value) if kind in _WRITERS else str(value)


def _moment(value: float) -> str:
    return time.strftime("%a %-d %b %Y %H:%M", time.localtime(value))


def _day(value: float) -> str:
    return time.strftime("%a %-d %b %Y", time.localtime(value))


def _bytes(value: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value / 1e6:.0f} MB"


def _duration(value: float) -> str:
    if value >= 10 * DAY_S:
        return f"{value / 3600:.0f} h"
    if value >= 3600:
        return f"{value / 3600:.1f} h"
    return f"{value / 60:.0f} min" if value >= 120 else f"{value:.3g} s"


def _memory_time(value: float) -> str:
    return f"{value:.1f} GB h" if value >= 1 else f"{value:.2g} GB h"


_WRITERS: Mapping[str, Callable[[float], str]] = {
    TIME: _moment,
    DAY: _day,
    BYTES: _bytes,
    DURATION: _duration,
    PROCESSORS: "{:.2f}".format,
    MEMORY_TIME: _memory_time,
}


def _plain(value: Any, kind: str) -> Any:
    if value is not None and kind == TIME:
        return datetime.fromtimestamp(value, UTC).astimezone().isoformat(timespec="seconds")
    if value is not None and kind == DAY:
        return time.strftime("%Y-%m-%d", time.localtime(value))
    return round(value, 3) if isinstance(value, float) else value


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
