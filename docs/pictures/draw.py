"""Draw the pictures of the documentation: an SVG for each TOML file beside this one.

`make pictures` writes them. Drawing needs only the standard library and gives the same bytes
everywhere, so a test compares each SVG with its source. A source has either `box`es and `arrow`s
with coordinates, or the `lane`s and `step`s of a sequence.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).parent
SANS = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
INK, FAINT, PAPER = "#1f2933", "#64707d", "#ffffff"
# Fill and border, by who runs or holds what is in a box.
KINDS = {
    "root": ("#fde8e4", "#c2492f"),
    "proxy": ("#ece6fb", "#6d4fc2"),
    "user": ("#e0f3e6", "#2f8a52"),
    "systemd": ("#e6ebf0", "#5b6b7b"),
    "file": ("#fff6da", "#b98a16"),
    "outside": ("#e3f0fb", "#2d78b8"),
    "group": ("#fafbfc", "#c5ccd4"),
}
# Of a sequence, in pixels.
TOP, LANE_HEAD, ROW, BETWEEN = 78, 46, 30, 10
LINE = 15


def draw(source: Path) -> str:
    """Return the SVG that a source describes."""
    picture = tomllib.loads(source.read_text())
    body = _sequence(picture) if "lane" in picture else _boxes(picture)
    width, height = picture["width"], picture["height"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="{SANS}" font-size="12" fill="{INK}" role="img">',
        f"<!-- Generated from {source.name} by `make pictures`. -->",
        f"<title>{escape(picture['title'])}</title>",
        *_markers(),
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _markers() -> Iterator[str]:
    for name, color in (("ink", INK), ("faint", FAINT)):
        yield (
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
            f' markerHeight="7" orient="auto-start-reverse"><path d="M0 1 10 5 0 9z"'
            f' fill="{color}"/></marker>'
        )


def _boxes(picture: dict[str, Any]) -> Iterator[str]:
    for box in picture["box"]:
        yield from _box(**box)
    for arrow in picture["arrow"]:
        yield from _arrow(**arrow)
    yield from _legend(picture["legend"], picture["height"] - 22)


def _box(
    at: list[int], size: list[int], title: str, kind: str, text: tuple[str, ...] = ()
) -> Iterator[str]:
    (x, y), (width, height) = at, size
    fill, border = KINDS[kind]
    is_group = kind == "group"
    yield (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{10 if is_group else 6}"'
        f' fill="{fill}" stroke="{border}" stroke-width="{1 if is_group else 1.4}"/>'
    )
    if is_group:
        yield _text(x + 12, y + 19, title, anchor="start", weight="bold")
        return
    top = y + (height - LINE * (1 + len(text))) / 2 + 12
    yield _text(x + width / 2, top, title, weight="bold")
    for number, line in enumerate(text, 1):
        yield _text(x + width / 2, top + LINE * number, line, color=FAINT, size=11)


def _arrow(
    points: list[list[int]],
    text: tuple[str, ...] = (),
    at: list[int] | None = None,
    *,
    both: bool = False,
) -> Iterator[str]:
    path = " ".join(f"{x},{y}" for x, y in points)
    start = ' marker-start="url(#ink)"' if both else ""
    yield (
        f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.3"'
        f' stroke-linejoin="round" marker-end="url(#ink)"{start}/>'
    )
    x, y = at or (0, 0)
    for number, line in enumerate(text):
        yield _text(x, y + 14 * number, line, size=11, covers=True)


def _legend(entries: list[list[str]], y: int) -> Iterator[str]:
    x = 30
    for kind, text in entries:
        fill, border = KINDS[kind]
        yield (
            f'<rect x="{x}" y="{y - 10}" width="14" height="12" rx="3" fill="{fill}"'
            f' stroke="{border}"/>'
        )
        yield _text(x + 20, y, text, anchor="start", color=FAINT, size=11)
        x += 44 + 6 * len(text)


def _sequence(picture: dict[str, Any]) -> Iterator[str]:
    lanes = picture["lane"]
    spacing = (picture["width"] - 20) / len(lanes)
    xs = {lane["name"]: 10 + spacing * (number + 0.5) for number, lane in enumerate(lanes)}
    bottom = picture["height"] - 16
    for number, lane in enumerate(lanes):
        x = round(10 + spacing * number + 5)
        size = [round(spacing - 10), LANE_HEAD]
        yield from _box([x, 14], size, lane["title"], lane["kind"], tuple(lane["text"]))
        middle = xs[lane["name"]]
        yield (
            f'<line x1="{middle:g}" y1="{14 + LANE_HEAD}" x2="{middle:g}" y2="{bottom}"'
            f' stroke="{KINDS[lane["kind"]][1]}" stroke-dasharray="2 4"/>'
        )
    rows = _rows(picture["step"])
    for bar in picture["bar"]:
        first, last = (_between(rows, bar[end]) for end in ("first", "last"))
        fill, border = KINDS[bar["kind"]]
        yield (
            f'<rect x="{xs[bar["lane"]] - 6:g}" y="{first:g}" width="12" height="{last - first:g}"'
            f' rx="3" fill="{fill}" stroke="{border}"/>'
        )
    for step, y in zip(picture["step"], rows[1:], strict=True):
        yield from _step(step, xs, y)


def _rows(steps: list[dict[str, Any]]) -> list[float]:
    """Return where the middle of each step is, with the top as step 0."""
    rows = [float(TOP)]
    bottom = TOP
    for step in steps:
        height = _note_height(step) if "note" in step else ROW
        rows.append(bottom + height / 2)
        bottom += height + BETWEEN
    return rows


def _between(rows: list[float], number: float) -> float:
    whole = int(number)
    following = rows[min(whole + 1, len(rows) - 1)]
    return rows[whole] + (number - whole) * (following - rows[whole])


def _note_height(step: dict[str, Any]) -> int:
    return 14 * len(step["note"]) + 8


def _step(step: dict[str, Any], xs: dict[str, float], y: float) -> Iterator[str]:
    if "note" in step:
        x = xs[step["on"]]
        width = 6.2 * max(map(len, step["note"])) + 16
        height = _note_height(step)
        left = min(max(x - width / 2, 8), step.get("right", 992) - width)
        yield (
            f'<rect x="{left:g}" y="{y - height / 2:g}" width="{width:g}" height="{height}" rx="4"'
            f' fill="{PAPER}" stroke="{FAINT}" stroke-width="0.8"/>'
        )
        for number, line in enumerate(step["note"]):
            middle = y - height / 2 + 15 + 14 * number
            yield _text(left + width / 2, middle, line, size=11)
        return
    start, end = xs[step["from"]], xs[step["to"]]
    gap = 7 if end > start else -7
    dashes = ' stroke-dasharray="5 3"' if step.get("reply") else ""
    yield (
        f'<line x1="{start + gap:g}" y1="{y:g}" x2="{end - gap:g}" y2="{y:g}" stroke="{INK}"'
        f' stroke-width="1.3"{dashes} marker-end="url(#ink)"/>'
    )
    yield _text((start + end) / 2, y - 6, step["text"], size=11, covers=True)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "middle",
    weight: str = "normal",
    color: str = INK,
    size: int = 12,
    covers: bool = False,
) -> str:
    written = (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}"'
        f' font-weight="{weight}" fill="{color}">{escape(text)}</text>'
    )
    if not covers:
        return written
    width = 6.3 * len(text)
    return (
        f'<rect x="{x - width / 2:g}" y="{y - size:g}" width="{width:g}" height="{size + 3}"'
        f' fill="{PAPER}"/>{written}'
    )


if __name__ == "__main__":
    for each in sorted(PICTURES.glob("*.toml")):
        each.with_suffix(".svg").write_text(draw(each))
