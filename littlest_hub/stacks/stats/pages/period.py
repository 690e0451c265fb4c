"""Periods of time that a page can show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from littlest_hub.stacks.stats.store.recording import HOUR_S, day_of, hour_of
from littlest_hub.stacks.stats.values import DAY_S, Values

NAMES = {
    "hour": "Hour",
    "day": "Day",
    "week": "Week",
    "month": "Month",
    "term": "Term",
    "year": "Year",
}
"""Titles of the periods by name, as on the page."""
_OF_HOURS = ("hour", "day")
_DAYS = {"week": 7, "month": 30, "year": 365}


@dataclass(frozen=True)
class Period:
    """A period of time that ends now."""

    name: str
    begin_s: int
    end_s: int
    step_s: int
    """The length of a step in pictures."""

    @classmethod
    def of(cls, name: str, values: Values, now_s: float) -> Period:
        """Return a period.

        Args:
            name: one of NAMES.
            values: those of the fragment.
            now_s: the time, in seconds since the epoch.
        """
        end_s = int(now_s) + 1
        if name == "hour":
            return cls(name, int(now_s) // 60 * 60 - HOUR_S + 60, end_s, 60)
        if name == "day":
            return cls(name, hour_of(now_s) - DAY_S + HOUR_S, end_s, 600)
        days = _DAYS.get(name) or values.term_days(now_s)
        # Noon: a day with a change of the clock has 23 or 25 hours.
        noon_s = day_of(now_s) + DAY_S // 2
        begin_s = day_of(noon_s - (days - 1) * DAY_S)
        return cls(name, begin_s, end_s, HOUR_S if name == "week" else DAY_S)

    @property
    def table(self) -> str:
        """The table of counts with its steps."""
        return {60: "minute", 600: "minute", HOUR_S: "hour"}.get(self.step_s, "day")

    @property
    def step_of_rows_s(self) -> int:
        """The length of a step that sums rows of the table; 0: each row is a step."""
        return self.step_s if self.table == "minute" else 0

    @property
    def use_table(self) -> str:
        """The table of what people have used."""
        return "hour" if self.step_s < HOUR_S else "day"

    @property
    def use_begin_s(self) -> int:
        """The beginning of the first hour or day of that table."""
        return hour_of(self.begin_s) if self.use_table == "hour" else day_of(self.begin_s)

    def ticks(self) -> Iterator[tuple[int, str]]:
        """Yield times on the axis of a picture, and what is written there."""
        if self.name in _OF_HOURS:
            every_s = 900 if self.name == "hour" else 6 * HOUR_S
            offset_s = time.localtime(self.end_s).tm_gmtoff
            first_s = -(-(self.begin_s + offset_s) // every_s) * every_s - offset_s
            for each in range(first_s, self.end_s, every_s):
                yield each, time.strftime("%H:%M", time.localtime(each))
            return
        days = (self.end_s - self.begin_s) // DAY_S + 1
        every = max(1, -(-days // 7))
        for number in range(0, days, every):
            each = day_of(self.begin_s + DAY_S // 2 + number * DAY_S)
            if each < self.end_s:
                form = "%a" if days <= 7 else "%-d %b"
                yield each, time.strftime(form, time.localtime(each))
