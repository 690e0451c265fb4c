"""Measure what users notice of each change to a hub, ours and stock JupyterHub with traefik.

A user's kernel counts, and 20 requests per second go to the hub and to the user server each. Then
the hub is reloaded, restarted and killed, its proxy too, upgraded and rolled back. Both sides take
turns on machines of the same kind, with the same packages, on the same two processors.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import signal
from pathlib import Path

from tests import releases
from tests.bench.outage.account import Outcome, table
from tests.bench.outage.measure import QUIET, measure
from tests.bench.outage.sides import Side, ours, stock
from tests.hub import build_installer

EVENTS = (
    QUIET,
    "reload",
    "hub-restart",
    "hub-kill",
    "proxy-reload",
    "proxy-restart",
    "proxy-kill",
    "upgrade",
    "rollback",
)


def main() -> int:
    """Measure and print; ``--json FILE`` keeps the figures."""
    options = _parser().parse_args()
    # SIGTERM removes the machines as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    installer = (options.installer or build_installer()).resolve()
    following = options.next_installer
    if following is None and {"upgrade", "rollback"} & set(options.events):
        following = releases.build("2026.12.0")
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as cleanup:
        sides = [cleanup.enter_context(ours(installer, following))]
        if not options.no_stock:
            sides.append(cleanup.enter_context(stock(installer, following)))
        gc.freeze()  # clients allocate little; pauses would distort figures
        try:
            for _ in range(options.rounds):
                for event in options.events:
                    outcomes += _take_turns(sides, event, options.quiet)
        finally:  # the figures measured before Ctrl-C are kept
            _report(outcomes, [side.name for side in sides])
            if options.json:
                figures = [outcome.as_json() for outcome in outcomes]
                options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _take_turns(sides: list[Side], event: str, quiet_s: float) -> list[Outcome]:
    outcomes = []
    for side in sides:
        outcome = measure(side, event, quiet_s)
        print(
            f"{event}, {side.name}: {outcome.took_s:.2f} s, failed hub {outcome.hub.failed} of"
            f" {outcome.hub.sent}, user {outcome.user.failed} of {outcome.user.sent};"
            f" load {outcome.load:.1f}",
            flush=True,
        )
        outcomes.append(outcome)
    return outcomes


def _report(outcomes: list[Outcome], sides: list[str]) -> None:
    print(f"\n{table(outcomes, sides)}\n")
    for outcome in outcomes:
        for what, requests in (("hub", outcome.hub), ("user", outcome.user)):
            if requests.reasons:
                reasons = ", ".join(f"{n} x {why}" for why, n in requests.reasons.items())
                where = f"{outcome.event}, {outcome.side}, {what}"
                print(f"{where}: {reasons}, for {requests.away_s:.1f} s")
        if outcome.error:
            print(f"* {outcome.event}, {outcome.side}: {outcome.error[:300]}")
    late_ms = max((outcome.late_s for outcome in outcomes), default=0.0) * 1e3
    cpu = max((outcome.client_cpu for outcome in outcomes), default=0.0)
    print(
        f"The client itself: {late_ms:.0f} ms late at worst, {cpu:.0%} of one processor at most."
        f" This machine: {os.cpu_count()} processors; above that a load is somebody else's work."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.bench.outage")
    add = parser.add_argument
    add(
        "--events",
        type=_events,
        default=EVENTS,
        metavar="EVENT,…",
        help=f"which, in this order ({','.join(EVENTS)})",
    )
    add("--rounds", type=int, default=1, metavar="N", help="all of them N times (1)")
    add("--quiet", type=float, default=3, metavar="S", help="seconds before and after each (3)")
    add("--installer", type=Path, metavar="PATH", help="the .sh to measure (default: build it)")
    add("--next-installer", type=Path, metavar="PATH", help="upgrade to it (default: built)")
    add("--no-stock", action="store_true", help="ours alone")
    add("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    return parser


def _events(text: str) -> tuple[str, ...]:
    events = tuple(text.split(","))
    for event in events:
        if event not in EVENTS:
            raise argparse.ArgumentTypeError(f"{event}: not one of {', '.join(EVENTS)}")
    return events


if __name__ == "__main__":
    raise SystemExit(main())
