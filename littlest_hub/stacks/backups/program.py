"""A program of one of the stack's units: it holds the lock of writers, and records a failure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups.presentation import show
from littlest_hub.stacks.backups.repository import record
from littlest_hub.stacks.backups.repository.place import Place, exclusively
from littlest_hub.system.progress import Progress


def run(what: str, work: Callable[[Layout, Place, Progress], None], about: str = "") -> int:
    """Do the work of a unit, and return the exit code.

    Args:
        what: the field of the record that has the outcome.
        work: does it, and records the outcome if it succeeds.
        about: the beginning of the message in the journal if it fails.
    """
    os.umask(0o077)
    layout = installation.of_this_release()
    place = Place.of(layout)
    try:
        with exclusively(place):
            work(layout, place, show)
    except LittlestHubError as error:
        print(f"littlest-hub: {about}{error}", file=sys.stderr)
        record.update(place, **{what: record.failed(str(error))})
        return 1
    return 0
