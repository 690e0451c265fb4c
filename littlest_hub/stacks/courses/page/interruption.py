"""The end of a helper that was killed: its change is undone or completed, and its visitor told.

systemd runs this after each run of the helper. A course that was being made is removed; one that
was made, or a roster that was recorded, becomes known to the hub.
"""

from __future__ import annotations

import os
from dataclasses import replace

from littlest_hub import installation
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import administration
from littlest_hub.stacks.courses.page import changes
from littlest_hub.stacks.courses.page.changes import FAILED
from littlest_hub.system.progress import to_stderr


def main() -> None:
    """Clean up after the run of the helper that has just ended, if its change goes on."""
    clean_up(installation.of_this_release(), os.environ.get("INVOCATION_ID", ""))


def clean_up(layout: Layout, invocation: str) -> None:
    """Bring the change of a run to an end.

    Raises:
        LittlestHubError: it cannot be done now; the next change does it.
    """
    for change in changes.of_invocation(layout, invocation):
        try:
            administration.tidy(layout, change.course, to_stderr)
        finally:
            text = f"The change of {change.course} was interrupted. Look at it, and try again."
            changes.record(layout, replace(change, text=text, stage=FAILED))


if __name__ == "__main__":
    main()
