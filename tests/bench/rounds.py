"""Rounds in which two sides take turns: options, progress, and the table of a bench of its own."""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from tests.bench.figures import Spread, number
from tests.eventually import NotInTimeError
from tests.hub import build_installer
from tests.server import MachineError

FAILURES = (
    *(AssertionError, MachineError, NotInTimeError, OSError, ValueError, KeyError),
    *(httpx.HTTPError, subprocess.SubprocessError),
)
"""Errors that leave one side without a figure and do not end the run."""
Figures = Mapping[str, float]


def parser(about: str | None, module: str, rounds: int, file: str) -> argparse.ArgumentParser:
    """Return the options that these benches have.

    Args:
        about: the docstring of the bench.
        module: its name in tests/bench/.
        rounds: how many there are unless somebody says otherwise.
        file: where the figures are written, in build/.
    """
    made = argparse.ArgumentParser(description=about, prog=f"python -m tests.bench.{module}")
    made.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help="how often (%(default)s)"
    )
    made.add_argument(
        "--installer", type=Path, metavar="PATH", help="the .sh to measure (default: build it)"
    )
    made.add_argument("--json", type=Path, default=Path("build", file), help="(%(default)s)")
    return made


def begin(options: argparse.Namespace) -> Path:
    """Let SIGTERM remove the machines as Ctrl-C does, and return the installer."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    installer: Path = options.installer or build_installer()
    return installer.resolve()


def take_turns(
    options: argparse.Namespace, sides: Sequence[str], measure: Callable[[str], Figures]
) -> dict[str, list[Figures]]:
    """Return the figures of all rounds by side, of which another one begins each round."""
    found: dict[str, list[Figures]] = {each: [] for each in sides}
    gc.freeze()  # clients allocate little; pauses would distort figures
    for turn in range(options.rounds):
        for side in sides if turn % 2 == 0 else reversed(sides):
            figures = measure(side)
            found[side].append(figures)
            shown = ", ".join(f"{name} {number(each)}" for name, each in figures.items())
            say(f"round {turn + 1}, {side}: {shown}")
            options.json.parent.mkdir(exist_ok=True)
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    return found


def table(
    about: str, titles: Mapping[str, str], found: Mapping[str, Sequence[Figures]], ratio: str = ""
) -> str:
    """Return the figures of all rounds, by side, as a table of Markdown.

    Args:
        about: the title of the first column.
        titles: those of the figures.
        found: the figures; a round may lack some.
        ratio: the title of a column with the first side relative to the second; "": none.
    """
    columns = [about, *found, *([ratio] if ratio else [])]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, title in titles.items():
        rounds = [[each.get(name) for each in figures] for figures in found.values()]
        there = [[each for each in values if each is not None] for values in rounds]
        cells = [title, *(str(Spread.of(values) or "") for values in there)]
        if ratio:
            pairs = [
                (one, other)
                for one, other in zip(*rounds, strict=False)
                if one is not None and other
            ]
            cells.append(number(statistics.median(a / b for a, b in pairs)) if pairs else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def say(text: str) -> None:
    """Report progress."""
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)
