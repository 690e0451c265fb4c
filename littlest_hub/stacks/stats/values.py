"""Plain values at the top of the stack's fragment, for the hub, the sampler and the pages.

The hub publishes them as the `info` of the service, which the service's token may read. So a reload
applies them, and nothing has to be restarted.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any

FRAGMENT = "57-stats.py"
DAY_S = 86_400
TERM_DAYS = 120
"""The length of a term whose first day nobody has named."""
_LIMITS = {
    "every_s": (10, 600),
    "keep_minutes_days": (1, 31),
    "keep_hours_days": (1, 400),
    "keep_days": (1, 4000),
}


@dataclass(frozen=True)
class Values:
    """Values of variables at the top of the fragment; each field is one in lower case."""

    every_s: int = 60
    keep_minutes_days: int = 7
    keep_hours_days: int = 60
    keep_days: int = 400
    term_begins: str = ""
    instructors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Groups that instructors may see, by the group that the instructors are in."""
    prometheus: bool = False

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        return [*self._wrong_numbers(), *self._wrong_others()]

    def _wrong_numbers(self) -> Iterator[tuple[str, str]]:
        for name, (lowest, highest) in _LIMITS.items():
            value = getattr(self, name)
            # `isinstance(True, int)` is true.
            if type(value) is not int or not lowest <= value <= highest:
                yield name.upper(), f"found {value!r}, expected a number from {lowest} to {highest}"

    def _wrong_others(self) -> Iterator[tuple[str, str]]:
        if self.term_begins != "" and _day(self.term_begins) is None:
            text = f'found {self.term_begins!r}, expected a day such as "2026-10-01", or ""'
            yield "TERM_BEGINS", text
        if not _is_by_group(self.instructors):
            text = 'expected {"GROUP OF INSTRUCTORS": ["GROUP", …]}'
            yield "INSTRUCTORS", f"found {self.instructors!r}, {text}"
        if type(self.prometheus) is not bool:
            yield "PROMETHEUS", f"found {self.prometheus!r}, expected True or False"

    def to_json(self) -> dict[str, Any]:
        """Return them for the `info` of the service."""
        return asdict(self)

    @classmethod
    def from_json(cls, info: Any) -> Values:
        """Return the values in the `info` of the service; the defaults if it has none.

        Another fragment may have added instructors, so they are judged again here.
        """
        if not isinstance(info, Mapping):
            return cls()
        known = {each.name for each in fields(cls)}
        values = cls(**{name: value for name, value in info.items() if name in known})
        return cls() if values.problems() else values

    def visible_groups(self, groups: Collection[str]) -> frozenset[str]:
        """Return the groups that a member of these groups may see."""
        seen = (self.instructors.get(group, ()) for group in groups)
        return frozenset(name for names in seen for name in names)

    def term_days(self, now_s: float) -> int:
        """Return how many days of the term have begun."""
        first = _day(self.term_begins)
        if first is None:
            return TERM_DAYS
        today = date(*time.localtime(now_s)[:3])
        return max(1, (today - first).days + 1)


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _is_by_group(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(group, str)
        and isinstance(seen, (list, tuple, set))
        and all(isinstance(each, str) for each in seen)
        for group, seen in value.items()
    )
