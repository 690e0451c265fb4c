"""The backups, listed for people and programs."""

from __future__ import annotations

import argparse
import json
import time

from littlest_hub.layout import Layout
from littlest_hub.stacks.backups import record
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.place import Place
from littlest_hub.stacks.backups.settings import STACK
from littlest_hub.system.restic import seconds_of


def show(layout: Layout, options: argparse.Namespace) -> int:
    """Print the backups, the newest last."""
    place = Place.of(layout)
    place.make()
    snapshots = place.repository(fragment.read(layout)).snapshots(layout.instance)
    if options.json:
        rows = [
            {"id": each.id, "time": each.time, "host": each.host, "paths": list(each.paths)}
            for each in snapshots
        ]
        print(json.dumps({"backups": rows}, indent=1))
        return 0
    for each in snapshots:
        staging = place.staging_in(each)
        folders = " ".join(path for path in each.paths if path != staging)
        print(f"{each.id[:8]}  {date(each.time)}  {each.host:16} {folders}")
    if not snapshots:
        print(f"There is no backup yet. To make one: {layout.command} {STACK} now")
    known = record.read(place)
    if known.run.problem:
        print(f"The last run has failed: {known.run.problem}")
    return 0


def date(text: str) -> str:
    """Return a time of restic's for people."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds_of(text)))
