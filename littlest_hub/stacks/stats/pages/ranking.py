"""Pictures of tables whose rows have long names: bars that lie below their names, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from littlest_hub.stacks.stats.pages.table import shown

MOST = 8
"""The most rows that are drawn: the first ones."""
_WIDTH, _ROW, _BAR, _VALUES = 360, 30, 10, 70
_LONGEST = 52


def height(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the height of the picture, whose width is that of all."""
    return _ROW * min(len(rows), MOST) + 4


def bars(
    rows: Sequence[Mapping[str, Any]], name: str, value: str, top: float, kind: str
) -> Iterator[str]:
    """Yield the first rows as SVG.

    Args:
        rows: of the table.
        name: the column with what is written above a bar.
        value: the column with its length.
        top: the highest value.
        kind: of the values.
    """
    for number, row in enumerate(rows[:MOST]):
        y, length = number * _ROW, row[value] or 0
        width = round((_WIDTH - _VALUES) * min(length / top, 1), 1)
        text = Markup('<text x="0" y="{}">{}</text>').format(y + 13, _short(str(row[name])))
        yield str(text)
        if width:
            bar = f'x="0" y="{y + 17}" width="{width}" height="{_BAR}"'
            yield f'<rect class="bar series-0" {bar}/>'
        text = Markup('<text x="{}" y="{}">{}</text>')
        yield str(text.format(width + 5, y + 26, shown(row[value], kind)))


def _short(name: str) -> str:
    """Return a name that fits: of addresses, the end says most."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
