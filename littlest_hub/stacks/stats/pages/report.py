"""Reports: what a page shows of the hub, of a group, or of a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from littlest_hub.stacks.stats.capacity import ENOUGH_S, RESERVE, Capacity
from littlest_hub.stacks.stats.pages.period import Period
from littlest_hub.stacks.stats.pages.picture import Picture, describe, draw
from littlest_hub.stacks.stats.pages.table import (
    BYTES,
    COUNT,
    DAY,
    DURATION,
    MEMORY_TIME,
    PROCESSORS,
    TEXT,
    TIME,
    Column,
    Table,
    shown,
)
from littlest_hub.stacks.stats.store import environments
from littlest_hub.stacks.stats.store.reading import Counts, Figures, Use
from littlest_hub.stacks.stats.store.recording import HOUR_S, day_of
from littlest_hub.stacks.stats.values import DAY_S, Values

_TIME = Column("time", "Time", TIME)
_DAY = Column("time", "Day", DAY)
_SERVER = Column("server", "A server ran for", DURATION)
_CPU = Column("cpu", "Time of processors", DURATION)
_MEMORY_TIME = Column("memory_time", "Memory-hours", MEMORY_TIME)
_USE = (
    _SERVER,
    _CPU,
    _MEMORY_TIME,
    Column("memory", "Most memory", BYTES),
    Column("mean_memory", "Average memory", BYTES),
)
_SUCCESS = "success"
_WITHOUT_REASON = "not told"
_ON_THIS_MACHINE = "Unknown for servers that are not units of this machine, such as jobs of Slurm."


@dataclass(frozen=True)
class Part:
    """A part of a report: a table, and perhaps a picture of it."""

    name: str
    title: str
    table: Table
    picture: Picture | None = None
    note: str = ""

    @property
    def drawn(self) -> Markup:
        """The picture as SVG; "" if there is none."""
        if self.picture is None:
            return Markup("")
        return draw(self.picture, self.table, self.name, self.title)

    @property
    def described(self) -> str:
        """The picture in words."""
        return describe(self.picture, self.table) if self.picture else ""


@dataclass(frozen=True)
class Report:
    """The content of a page."""

    title: str
    period: Period
    summary: Mapping[str, tuple[Any, str]]
    """Single figures and their kinds, by title."""
    parts: Sequence[Part] = field(default_factory=tuple)

    def part(self, name: str) -> Part | None:
        """Return a part; None: there is no such part."""
        return next((each for each in self.parts if each.name == name), None)

    @property
    def shown_summary(self) -> dict[str, str]:
        """The single figures as text for people."""
        return {title: shown(value, kind) for title, (value, kind) in self.summary.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the report for a program."""
        times = Table(
            [Column("begin", "", TIME), Column("end", "", TIME)],
            [{"begin": self.period.begin_s, "end": self.period.end_s}],
        )
        return {
            "format": 1,
            "title": self.title,
            "period": {"name": self.period.name, **times.to_json()[0]},
            "summary": {title: value for title, (value, _) in self.summary.items()},
            "parts": {each.name: each.table.to_json() for each in self.parts},
        }


def of_hub(figures: Figures, values: Values, period: Period, groups: Sequence[str]) -> Report:
    """Return the report about everybody."""
    counts = _counts(figures, None, period)
    starts = _Starts(figures, period)
    parts = [
        *_of_counts(counts, period, has_queue=True),
        *_active(figures, None, period),
        starts.ended,
        starts.durations,
        starts.reasons,
        _failures(figures, period),
        of_groups(figures, period, groups),
        _environments(figures, period),
        _people(figures, None, period),
    ]
    summary = {
        **_summary(figures, None, values, period, counts),
        "Longest queue": (_highest(each.waiting for each in counts), COUNT),
        "Servers that started": (starts.number(is_success=True), COUNT),
        "Servers that did not start": (starts.number(is_success=False), COUNT),
    }
    return Report("The hub", period, summary, parts)


def of_group(figures: Figures, values: Values, period: Period, group: str) -> Report:
    """Return the report about a group."""
    counts = _counts(figures, group, period)
    parts = [
        *_of_counts(counts, period, has_queue=False),
        *_active(figures, group, period),
        _failures(figures, period, group=group),
        _people(figures, group, period),
    ]
    summary = _summary(figures, group, values, period, counts)
    return Report(f"Group {group}", period, summary, parts)


def of_person(figures: Figures, period: Period, person: str) -> Report:
    """Return the report about a person: all that is stored about them in the period."""
    uses = figures.of_person(period.use_table, person, period.use_begin_s, period.end_s)
    columns = [
        _TIME if period.use_table == "hour" else _DAY,
        *_USE,
        Column("active", "You did something"),
    ]
    rows = [
        {
            "time": each.time_s,
            **_used(each),
            "active": each.active_days,
        }
        for each in uses
    ]
    step_s = HOUR_S if period.use_table == "hour" else DAY_S
    drawn = Period(period.name, period.use_begin_s, period.end_s, step_s)
    series = (("server", "A server ran"), ("cpu", "Time of processors"))
    # Bars that stand on each other would count the same time twice.
    pictures = [Picture((each,), DURATION, drawn, is_bars=True, has_gaps=False) for each in series]
    table = Table(columns, rows)
    parts = [
        Part("use", "Your servers", table, pictures[0]),
        Part("processors", "Your use of processors", table, pictures[1]),
        _failures(figures, period, person=person),
    ]
    summary = {
        "Your groups": (", ".join(figures.groups_of(person)) or "none", TEXT),
        "A server ran for": (sum(each.server_s for each in uses), DURATION),
        "Time of processors": (_total(each.cpu_s for each in uses), DURATION),
        "Most memory": (_highest(each.memory_bytes for each in uses), BYTES),
    }
    return Report(f"Your figures, {person}", period, summary, parts)


def of_groups(figures: Figures, period: Period, groups: Sequence[str]) -> Part:
    """Return the part about groups."""
    columns = [
        Column("group", "Group", TEXT),
        Column("active", "Active people"),
        Column("people", "Most people with a server"),
        Column("servers", "Most servers"),
        Column("memory", "Most memory", BYTES),
        _CPU,
        _SERVER,
        _MEMORY_TIME,
    ]
    rows = []
    for group in groups:
        counts = _counts(figures, group, period)
        begin_s, end_s = period.use_begin_s, period.end_s
        cpu_ms = _total(each.cpu_ms for each in counts)
        use = figures.of_all(period.use_table, group, begin_s, end_s)
        rows.append(
            {
                "group": group,
                "active": figures.active_people(group, begin_s, end_s, period.use_table),
                "people": _highest(each.people for each in counts),
                "servers": _highest(each.servers for each in counts),
                "memory": _highest(each.memory_bytes for each in counts),
                "cpu": None if cpu_ms is None else cpu_ms / 1000,
                "server": use.server_s,
                "memory_time": use.memory_gb_h,
            }
        )
    note = "How long servers ran, and memory-hours, are sums of those who are in the group now."
    return Part("groups", "Groups", Table(columns, rows), note=note)


def of_capacity(found: Capacity, period: Period) -> Report:
    """Return the report about how many people the machine can serve."""
    machine = found.machine
    columns = [
        Column("limit", "Limit", TEXT),
        Column("available", "There is", TEXT),
        Column("each", "One person needs", TEXT),
        Column("measured", "Measured for", DURATION),
        Column("people", "Enough for people"),
    ]
    rows = []
    for each in found.limits:
        kind = BYTES if each.is_memory else PROCESSORS
        rows.append(
            {
                "limit": each.what,
                "available": shown(each.available, kind),
                "each": shown(each.each, kind),
                "measured": each.measured_s,
                "people": each.people,
            }
        )
    note = (
        f"Memory without {RESERVE:.0%}, and without what everything else on the machine needs now."
        " A person who works counts with the most memory of an hour. Unknown is what was measured"
        f" for less than {shown(ENOUGH_S, DURATION)} of servers in this period."
    )
    summary = {
        "People who can work at a time": (found.people_who_work, COUNT),
        "Idle servers at a time": (found.idle_servers, COUNT),
        "Memory of the machine": (machine.memory_bytes, BYTES),
        "The hub needs": (machine.hub_bytes, BYTES),
        "All but servers needs": (machine.others_bytes, BYTES),
        "Processors": (machine.processors, COUNT),
    }
    return Report(
        "Capacity",
        period,
        summary,
        [Part("limits", "How many people", Table(columns, rows), note=note)],
    )


# --- parts


def _counts(figures: Figures, group: str | None, period: Period) -> list[Counts]:
    span = (period.begin_s, period.end_s, period.step_of_rows_s)
    return figures.counts(period.table, group, *span)


def _when(period: Period) -> Column:
    return _DAY if period.step_s == DAY_S else _TIME


def _of_counts(counts: Sequence[Counts], period: Period, *, has_queue: bool) -> Iterator[Part]:
    when = _when(period)
    columns = [
        when,
        Column("servers", "Servers"),
        Column("people", "People with a server"),
        Column("starting", "Servers that start"),
        *([Column("waiting", "Queue")] if has_queue else []),
    ]
    rows = [
        {
            "time": each.time_s,
            "servers": each.servers,
            "people": each.people,
            "starting": each.starting,
            "waiting": each.waiting,
        }
        for each in counts
    ]
    series = [("servers", "Servers"), *([("waiting", "Queue")] if has_queue else [])]
    picture = Picture(series, COUNT, period)
    note = "The highest number at a time."
    yield Part("servers", "Servers that run", Table(columns, rows), picture, note)
    columns = [when, Column("memory", "Memory", BYTES)]
    rows = [{"time": each.time_s, "memory": each.memory_bytes} for each in counts]
    picture = Picture([("memory", "Memory")], BYTES, period)
    yield Part("memory", "Memory of servers", Table(columns, rows), picture, _ON_THIS_MACHINE)
    columns = [when, Column("processors", "Processors", PROCESSORS)]
    busy = [{"time": each.time_s, "processors": each.processors} for each in counts]
    picture = Picture([("processors", "Processors")], PROCESSORS, period)
    note = f"How many were busy on average. {_ON_THIS_MACHINE}"
    yield Part("processors", "Processors of servers", Table(columns, busy), picture, note)


def _active(figures: Figures, group: str | None, period: Period) -> Iterator[Part]:
    if period.use_table == "hour":
        return
    found = figures.active_by_day(group, period.use_begin_s, period.end_s)
    rows = [{"time": time_s, "people": number} for time_s, number in found.items()]
    days = Period(period.name, period.use_begin_s, period.end_s, DAY_S)
    picture = Picture([("people", "Active people")], COUNT, days, is_bars=True)
    note = "People who did something on the hub or in a server."
    table = Table([_DAY, Column("people", "Active people")], rows)
    yield Part("active", "Active people by day", table, picture, note)


class _Starts:
    """Starts of servers, by the way in which they have ended."""

    def __init__(self, figures: Figures, period: Period) -> None:
        self._found = figures.starts(period.use_begin_s, period.end_s)
        self._period = period

    def number(self, *, is_success: bool) -> int:
        return sum(e.number for e in self._found if (e.status == _SUCCESS) is is_success)

    @property
    def ended(self) -> Part:
        """Starts by hour or day."""
        is_hours = self._period.step_s <= HOUR_S
        by_time: dict[int, dict[str, int]] = {}
        for each in self._found:
            time_s = each.time_s if is_hours else day_of(each.time_s)
            row = by_time.setdefault(time_s, {"started": 0, "failed": 0})
            row["started" if each.status == _SUCCESS else "failed"] += each.number
        rows = [{"time": time_s, **row} for time_s, row in sorted(by_time.items())]
        columns = [
            _TIME if is_hours else _DAY,
            Column("started", "Started"),
            Column("failed", "Did not start"),
        ]
        step_s = HOUR_S if is_hours else DAY_S
        drawn = Period(self._period.name, self._period.use_begin_s, self._period.end_s, step_s)
        series = [("started", "Started"), ("failed", "Did not start")]
        picture = Picture(series, COUNT, drawn, is_bars=True, has_gaps=False)
        return Part("starts", "Starts of servers", Table(columns, rows), picture)

    @property
    def durations(self) -> Part:
        """Durations of the starts that have succeeded."""
        by_limit: dict[float, int] = {}
        for each in (e for e in self._found if e.status == _SUCCESS):
            by_limit[each.up_to_s] = by_limit.get(each.up_to_s, 0) + each.number
        rows = [
            {"up_to": "more" if limit >= 1e9 else f"{limit:g} s", "number": number}
            for limit, number in sorted(by_limit.items())
        ]
        columns = [Column("up_to", "At most", TEXT), Column("number", "Servers")]
        picture = Picture([("number", "Servers")], is_bars=True)
        note = "Each bar has those that took longer than the bar before it, and at most this time."
        return Part("durations", "How long starts took", Table(columns, rows), picture, note)

    @property
    def reasons(self) -> Part:
        """The reasons that JupyterHub counts."""
        by_reason: dict[tuple[str, str], int] = {}
        for each in (e for e in self._found if e.status != _SUCCESS):
            ending = each.status, each.reason or _WITHOUT_REASON
            by_reason[ending] = by_reason.get(ending, 0) + each.number
        rows = [
            {"status": status, "reason": reason, "number": number}
            for (status, reason), number in sorted(by_reason.items(), key=lambda item: -item[1])
        ]
        columns = [
            Column("status", "Ending", TEXT),
            Column("reason", "Reason", TEXT),
            Column("number", "Servers"),
        ]
        note = "As JupyterHub counts them. “failure” is a refusal, “error” an error."
        return Part("reasons", "Starts that failed, by kind", Table(columns, rows), note=note)


def _failures(
    figures: Figures, period: Period, group: str | None = None, person: str | None = None
) -> Part:
    found = figures.failures(period.begin_s, period.end_s, group, person)
    columns = [
        _TIME,
        Column("name", "Person", TEXT),
        Column("reason", "Reason", TEXT),
        Column("meaning", "Meaning", TEXT),
    ]
    rows = [
        {"time": int(e.time_s), "name": e.name, "reason": e.reason, "meaning": e.meaning}
        for e in found
    ]
    note = "As the journal has them: of one person within a minute, the last one."
    return Part("failures", "Servers that did not start", Table(columns, rows), note=note)


def _environments(figures: Figures, period: Period) -> Part:
    columns = [
        Column("environment", "Environment", TEXT),
        _SERVER,
        _CPU,
        _MEMORY_TIME,
        Column("servers", "Most servers"),
    ]
    rows = [
        {
            "environment": each.name,
            "server": each.server_s,
            "cpu": each.cpu_s,
            "memory_time": each.memory_gb_h,
            "servers": each.servers,
        }
        for each in figures.environments(period.use_table, period.use_begin_s, period.end_s)
    ]
    picture = Picture([("server", "A server ran")], DURATION, is_bars=True, is_ranking=True)
    note = (
        f"Of a day, {environments.MOST} environments have figures of their own, besides the hub's."
        f" {_ON_THIS_MACHINE}"
    )
    return Part("environments", "Environments of servers", Table(columns, rows), picture, note)


def _people(figures: Figures, group: str | None, period: Period) -> Part:
    columns = [
        Column("name", "Person", TEXT),
        *_USE,
        Column("active", "Active hours" if period.use_table == "hour" else "Active days"),
    ]
    rows = [
        {
            "name": each.name,
            **_used(each),
            "active": each.active_days,
        }
        for each in figures.people(period.use_table, group, period.use_begin_s, period.end_s)
    ]
    note = "Sums of whole days." if period.use_table == "day" else "Sums of whole hours."
    if group is not None:
        note += " Those who are in the group now, with all of their servers."
    return Part("people", "People", Table(columns, rows), note=note)


def _used(use: Use) -> dict[str, Any]:
    """Return the cells of `_USE`."""
    return {
        "server": use.server_s,
        "cpu": use.cpu_s,
        "memory_time": use.memory_gb_h,
        "memory": use.memory_bytes,
        "mean_memory": use.mean_memory_bytes,
    }


def _summary(
    figures: Figures,
    group: str | None,
    values: Values,
    period: Period,
    counts: Sequence[Counts],
) -> dict[str, tuple[Any, str]]:
    def active(name: str) -> int:
        span = Period.of(name, values, period.end_s - 1)
        return figures.active_people(group, span.use_begin_s, span.end_s, span.use_table)

    now = figures.counts("minute", group, period.end_s - 2 * values.every_s - 60, period.end_s, 0)
    return {
        "Servers now": (now[-1].servers if now else None, COUNT),
        "Most servers at a time": (_highest(each.servers for each in counts), COUNT),
        "Active people, 24 hours": (active("day"), COUNT),
        "Active people, 7 days": (active("week"), COUNT),
        "Active people, term": (active("term"), COUNT),
    }


def _highest(values: Iterable[Any]) -> Any:
    return max((each for each in values if each is not None), default=None)


def _total(values: Iterable[Any]) -> Any:
    known = [each for each in values if each is not None]
    return sum(known) if known else None
