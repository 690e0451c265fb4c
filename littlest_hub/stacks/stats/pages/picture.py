"""Pictures of tables as SVG, drawn here: no script and no program draws them in the browser.

A picture has a title and a description for screen readers, and the table is on the same page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from littlest_hub.stacks.stats.pages import ranking
from littlest_hub.stacks.stats.pages.period import Period
from littlest_hub.stacks.stats.pages.table import BYTES, COUNT, DAY, DURATION, TIME, Table, shown
from littlest_hub.stacks.stats.values import DAY_S

_WIDTH, _HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 10, 10, 24
_INNER = _WIDTH - _LEFT - _RIGHT
_FLOOR = _HEIGHT - _BOTTOM
_STEPS = (1, 2, 5)
_PREPOSITIONS = {TIME: "at", DAY: "on"}


@dataclass(frozen=True)
class Picture:
    """The form in which a table is drawn.

    Without `period`, each row is a bar with the text of the first column below it, or above it if
    the picture is a ranking.
    """

    series: Sequence[tuple[str, str]]
    """Names of columns, and what they are called in the legend."""
    kind: str = COUNT
    period: Period | None = None
    is_bars: bool = False
    """Whether the series are bars on top of each other, and not lines."""
    has_gaps: bool = True
    """Whether a time without a row was not counted, and not merely one in which nothing was."""
    is_ranking: bool = False
    """Whether bars lie, so that there is room for long names."""


def draw(picture: Picture, table: Table, id: str, title: str) -> Markup:
    """Return a picture as SVG in HTML.

    Args:
        picture: what it shows.
        table: the figures.
        id: of the element in the page.
        title: for screen readers.
    """
    top = _top(picture, table.rows)
    height = ranking.height(table.rows) if picture.is_ranking else _HEIGHT
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" class="picture"'
        f' aria-labelledby="{id}-title {id}-text">',
        str(Markup('<title id="{}-title">{}</title>').format(id, title)),
        str(Markup('<desc id="{}-text">{}</desc>').format(id, describe(picture, table))),
    ]
    if picture.is_ranking:
        ((value, _),) = picture.series
        parts += ranking.bars(table.rows, table.columns[0].name, value, top, picture.kind)
    elif picture.period is None:
        parts += _vertical_axis(top, picture.kind)
        parts += _named_bars(picture, table, top)
    else:
        parts += _vertical_axis(top, picture.kind)
        place = _Place(picture.period, top)
        if picture.has_gaps:
            parts += _gaps(place, table.rows)
        parts += _horizontal_axis(place)
        parts += (_bars if picture.is_bars else _lines)(picture, table.rows, place)
    # Everything in it is a number of ours, or escaped.
    return Markup("".join([*parts, "</svg>"]))


def describe(picture: Picture, table: Table) -> str:
    """Return what the picture shows, in words."""
    rows, texts = table.rows, []
    first = table.columns[0]
    for name, title in picture.series:
        known = [row for row in rows if row[name] is not None]
        if known:
            highest = max(known, key=lambda row: row[name])
            value = shown(highest[name], picture.kind)
            where = shown(highest[first.name], first.kind)
            preposition = _PREPOSITIONS.get(first.kind, "for")
            is_zero = not highest[name]
            text = "always 0" if is_zero else f"the most is {value} {preposition} {where}"
            texts.append(f"{title}: {text}.")
        else:
            texts.append(f"{title}: unknown.")
    if missing_s := missing(picture, rows):
        days = missing_s // DAY_S
        length = f"{days} days" if days > 1 else shown(missing_s, DURATION)
        texts.append(f"Nothing was counted for {length}.")
    return " ".join(texts)


def missing(picture: Picture, rows: Sequence[Mapping[str, Any]]) -> int:
    """Return for how many seconds nothing was counted."""
    if picture.period is None or not picture.has_gaps:
        return 0
    return sum(end - begin for begin, end in _holes(picture.period, rows))


# --- parts


@dataclass(frozen=True)
class _Place:
    """Positions of times and values in the picture."""

    period: Period
    top: float

    def x(self, time_s: float) -> float:
        length_s = max(self.period.end_s - self.period.begin_s, self.period.step_s)
        at = _LEFT + _INNER * (time_s - self.period.begin_s) / length_s
        return round(min(max(at, _LEFT), _LEFT + _INNER), 1)

    def y(self, value: float) -> float:
        return _y(value, self.top)


def _y(value: float, top: float) -> float:
    return round(_FLOOR - (_FLOOR - _TOP) * min(value / top, 1), 1)


def _top(picture: Picture, rows: Sequence[Mapping[str, Any]]) -> float:
    names = [name for name, _ in picture.series]
    if picture.is_bars:
        values = [sum(row[name] or 0 for name in names) for row in rows]
    else:
        values = [row[name] or 0 for row in rows for name in names]
    highest = max(values, default=0)
    if picture.kind == BYTES:
        return max(highest, 1e8)
    return max(highest, 60 if picture.kind == DURATION else 1)


def _vertical_axis(top: float, kind: str) -> Iterator[str]:
    for value in _round_values(top, kind):
        y = _y(value, top)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _INNER}" y1="{y}" y2="{y}"/>'
        text = shown(value, kind) if value else "0"
        yield f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end">{text}</text>'


def _round_values(top: float, kind: str) -> list[float]:
    """Return the values on the vertical axis: 0, and at most 5 more that are easy to read."""
    unit = 1.0
    if kind == DURATION:
        unit = 3600.0 if top >= 3600 else 60.0
    size = 1e-2
    while True:
        for each in _STEPS:
            step = each * size * unit
            is_whole = kind != COUNT or step >= 1
            if is_whole and top / step < 6:
                values = [number * step for number in range(int(top / step) + 1)]
                return [int(each) for each in values] if kind == COUNT else values
        size *= 10


def _horizontal_axis(place: _Place) -> Iterator[str]:
    for time_s, text in place.period.ticks():
        x = place.x(time_s)
        yield f'<line class="tick" x1="{x}" x2="{x}" y1="{_FLOOR}" y2="{_FLOOR + 4}"/>'
        anchor = "end" if x > _LEFT + _INNER - 14 else "middle"
        yield f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{text}</text>'


def _lines(picture: Picture, rows: Sequence[Mapping[str, Any]], place: _Place) -> Iterator[str]:
    period = place.period
    for number, (name, _) in enumerate(picture.series):
        for run in _runs(rows, name, period):
            # A value stands for its whole step.
            points = [
                (place.x(at), place.y(row[name]))
                for row in run
                for at in (row["time"], min(row["time"] + period.step_s, period.end_s))
            ]
            path = "L".join(f"{x} {y}" for x, y in points)
            if number == 0:
                area = f"M{points[0][0]} {_FLOOR}L{path}L{points[-1][0]} {_FLOOR}Z"
                yield f'<path class="area" d="{area}"/>'
            yield f'<path class="line series-{number}" d="M{path}"/>'


def _bars(picture: Picture, rows: Sequence[Mapping[str, Any]], place: _Place) -> Iterator[str]:
    for row in rows:
        left = place.x(row["time"])
        right = place.x(row["time"] + place.period.step_s)
        yield from _stack(picture, row, left, max(right - left - 1, 0.8), place.top)


def _named_bars(picture: Picture, table: Table, top: float) -> Iterator[str]:
    width = _INNER / max(len(table.rows), 1)
    for number, row in enumerate(table.rows):
        left = round(_LEFT + number * width, 1)
        yield from _stack(picture, row, left + 1, round(width - 2, 1), top)
        text = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>')
        middle = round(left + width / 2, 1)
        yield str(text.format(middle, _HEIGHT - 6, row[table.columns[0].name]))


def _stack(
    picture: Picture, row: Mapping[str, Any], left: float, width: float, top: float
) -> Iterator[str]:
    below = 0.0
    for number, (name, _) in enumerate(picture.series):
        value = row[name] or 0
        if value:
            y = _y(below + value, top)
            height = round(_y(below, top) - y, 1)
            yield (
                f'<rect class="bar series-{number}" x="{left}" y="{y}" width="{width}"'
                f' height="{height}"/>'
            )
        below += value


def _gaps(place: _Place, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for begin, end in _holes(place.period, rows):
        x = place.x(begin)
        width = round(place.x(end) - x, 1)
        yield (f'<rect class="gap" x="{x}" y="{_TOP}" width="{width}" height="{_FLOOR - _TOP}"/>')


def _longest_step_s(period: Period) -> float:
    """Return how far apart two rows that follow each other may be."""
    # A day may have 25 hours. Two samples are never exactly a minute apart.
    return period.step_s * (2.5 if period.step_s == 60 else 1.5)


def _holes(period: Period, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yield beginnings and ends of times in which nothing was counted."""
    times = [int(row["time"]) for row in rows]
    ends = [period.begin_s, *(each + period.step_s for each in times)]
    begins = [*times, period.end_s]
    for end, begin in zip(ends, begins, strict=True):
        if begin - end > _longest_step_s(period) - period.step_s:
            yield end, begin


def _runs(
    rows: Sequence[Mapping[str, Any]], name: str, period: Period
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield rows that follow each other, and in which a figure is known."""
    known = [row for row in rows if row[name] is not None]
    run = known[:1]
    for before, row in pairwise(known):
        if row["time"] - before["time"] > _longest_step_s(period):
            yield run
            run = []
        run.append(row)
    if run:
        yield run
