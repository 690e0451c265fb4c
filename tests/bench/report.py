"""Write the figures of `make bench` as tables and a plot into docs/reference/performance.md.

Only the text between the markers is replaced; the rest of the page is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.figures import FIGURES, OURS, Figure, Reading, Results, Spread, number

PAGE = Path(__file__).parents[2] / "docs/reference/performance.md"
BEGIN, END = "<!-- make bench-report: begin -->", "<!-- make bench-report: end -->"
PARTS = {
    "extensions": (
        "<!-- make bench-report PART=extensions: begin -->",
        "<!-- make bench-report PART=extensions: end -->",
    )
}
"""Markers of tables that are measured by themselves, without a plot."""
PLOTTED = (
    *("install_s", "start_s", "start_cpu_s", "idle_pss_mib", "reload_worst_s", "spawn1_s"),
    *("spawn10_s", "spawn30_s", "spawn50_s", "spawn10_cpu_s", "spawn10_pss_mib", "pages_p99_ms"),
    *("small_per_s", "large_mb_per_s", "route_s@10", "route_s@100", "route_s@1000"),
)


def main() -> int:
    """Write the page's tables and the plot beside it."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.bench.report")
    parser.add_argument(
        "json", type=Path, nargs="+", help="what `make bench` wrote, in one run or in several"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help=f"({PAGE.name})")
    parser.add_argument("--part", choices=PARTS, help="the table to write (the large one)")
    options = parser.parse_args()
    found = joined([json.loads(file.read_text()) for file in options.json])
    readings = readings_of(found)
    if options.part:
        text = f"{conditions(found)}\n\n{tables(readings)}"
        page = between_markers(options.page.read_text(), text, *PARTS[options.part])
        options.page.write_text(page)
        return 0
    image = options.page.with_suffix(".svg")
    plot(Results(readings), image)
    text = f"{conditions(found)}\n\n![ours beside the others]({image.name})\n\n{tables(readings)}"
    options.page.write_text(between_markers(options.page.read_text(), text))
    return 0


def joined(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join several runs into one, with separate rounds, since a ratio belongs to one run.

    Raises:
        ValueError: they differ in commit, machine or versions.
    """
    for same in ("commit", "machine", "versions"):
        if any(run[same] != runs[0][same] for run in runs):
            found = "; ".join(dict.fromkeys(json.dumps(run[same]) for run in runs))
            raise ValueError(f"these runs are not of one {same}: {found}")
    readings: list[dict[str, Any]] = []
    for run in runs:
        before = 1 + max((reading["round"] for reading in readings), default=-1)
        readings += [{**each, "round": before + each["round"]} for each in run["readings"]]
    return {**runs[0], "readings": readings}


def readings_of(found: dict[str, Any]) -> list[Reading]:
    """Return the readings in the JSON file."""
    return [Reading(**reading) for reading in found["readings"]]


def between_markers(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Return the page with this text between its markers.

    Raises:
        ValueError: it has no markers.
    """
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"the page has no {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def conditions(found: dict[str, Any]) -> str:
    """Return a paragraph about the machine, the versions, and the load."""
    machine, readings = found["machine"], readings_of(found)
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    rounds = 1 + max((reading.round for reading in readings), default=0)
    loads = [reading.load for reading in readings]
    return (
        f"Measured {found['date']} at commit {found['commit']},"
        f" {rounds} {'round' if rounds == 1 else 'rounds'} (fewer of slow measurements),"
        f" on {machine['processors']} processors"
        f" ({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}."
        f" {versions}. Load before a measurement: {min(loads):.1f} to {max(loads):.1f}."
        "\nFigures are medians, with the range over all rounds; ratios are taken round by round."
    )


def tables(readings: Sequence[Reading]) -> str:
    """Return the table of all figures, and a list of those that could not be measured."""
    titles, *rows = _rows(Results(readings))
    table = [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]
    return "\n\n".join(filter(None, ["\n".join(table), failures(readings)]))


def _rows(results: Results) -> list[list[str]]:
    """Return titles, and a row for each figure that a side has."""
    others = [side for side in results.sides if side != OURS]
    beside = [side for side in ("stock", "tljh", "limit") if side in others]
    rows = [["measure", "target", "", *results.sides, *(f"ours / {side}" for side in beside)]]
    for figure in FIGURES:
        if any(results.spread(side, figure.name) for side in results.sides):
            rows.append(
                [
                    f"{figure.title}, {figure.unit}" if figure.unit else figure.title,
                    "; ".join(map(str, figure.targets)),
                    verdict(results, figure),
                    *(_cell(results.spread(side, figure.name)) for side in results.sides),
                    *(_cell(results.ratio(figure.name, side)) for side in beside),
                ]
            )
    return rows


def verdict(results: Results, figure: Figure) -> str:
    """Return whether all targets are met; "" if there are none, or if it is unknown."""
    met = [results.is_met(figure.name, target) for target in figure.targets]
    if False in met:
        return "**missed**"
    return "met" if met and None not in met else ""


def failures(readings: Sequence[Reading]) -> str:
    """Return the missing figures with reasons, and figures of units that were not idle in time."""
    lines = [
        f"- {reading.measure}, {reading.side}: no figures ({reading.error})"
        for reading in readings
        if reading.error
    ]
    lines += [
        f"- {reading.measure}, {reading.side}: measured before all was idle ({name})"
        for reading in readings
        for name, value in reading.figures.items()
        if name.partition("@")[0].endswith("_settled") and not value
    ]
    return "\n".join(lines)


def summary(readings: Sequence[Reading]) -> str:
    """Return the table for a terminal, in aligned columns."""
    rows = _rows(Results(readings))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(filter(None, [*lines, failures(readings)]))


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def times_better(results: Results, name: str, side: str) -> Spread | None:
    """Return how many times better ours is, whether more is better or less."""
    if name.partition("@")[0].endswith("per_s"):
        return results.ratio(name, side)
    return results.ratio(name, OURS, side)


def plot(results: Results, file: Path) -> None:
    """Plot how many times better ours is than each other side, as a reproducible SVG."""
    # Of the extra `bench`; nothing else needs it.
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "littlest-hub"
    from matplotlib import pyplot

    figures = {figure.name: figure for figure in FIGURES}
    others = [side for side in results.sides if side != OURS]
    rows = [name for name in reversed(PLOTTED) if any(results.ratio(name, side) for side in others)]
    image, axes = pyplot.subplots(figsize=(8, 1.2 + 0.36 * len(rows)), layout="constrained")
    for index, side in enumerate(others):
        shift = 0.2 * (index - (len(others) - 1) / 2)
        points = [
            (row + shift, better)
            for row, name in enumerate(rows)
            if (better := times_better(results, name, side))
        ]
        axes.errorbar(
            [better.median for _, better in points],
            [height for height, _ in points],
            xerr=[
                [better.median - better.least for _, better in points],
                [better.most - better.median for _, better in points],
            ],
            fmt="o",
            markersize=5,
            label=side,
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{number(value)}x")
    axes.set_yticks(range(len(rows)), [figures[name].title for name in rows])
    axes.set_xlabel("how many times less time or memory, or more throughput, than …")
    axes.grid(axis="x", alpha=0.3)
    image.legend(loc="outside upper right", ncols=len(others))
    image.savefig(file, metadata={"Date": None})
    pyplot.close(image)


if __name__ == "__main__":
    sys.exit(main())
