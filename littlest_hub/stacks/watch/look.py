"""The daily look: examine, compare with what was told before, tell what is new."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from littlest_hub import doctor, installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest import enabled
from littlest_hub.stacks.watch import news
from littlest_hub.stacks.watch.delivery import post, send_mail

NAME = "watch"
WAYS: Mapping[str, Callable[[str, str, str], None]] = {"mail": send_mail, "webhook": post}
"""Functions that send something, by the question that asks for the recipient."""


def record_of(layout: Layout) -> Path:
    """Return the file that records what the administrator was told."""
    return layout.stacks / NAME / "told.json"


def answers_of(layout: Layout) -> Mapping[str, str]:
    """Return the answers to the questions of the stack."""
    how = enabled.read(layout).get(NAME)
    return how.answers if how else {}


def look(layout: Layout) -> news.News:
    """Examine the installation, and tell the administrator what is new.

    Raises:
        LittlestHubError: a message could not be sent. If none could, it is sent the next time.
    """
    answers = answers_of(layout)
    own, ignored = layout.stack_unit(NAME, ".service"), answers.get("ignore", "").split(",")
    findings = [
        each
        for each in doctor.examine(layout)
        # The unit of this program is starting, which is otherwise worth a warning.
        if each.subject != own and each.subject not in map(str.strip, ignored)
    ]
    file = record_of(layout)
    found, known = news.news(findings, news.read(file), time.time())
    failures: list[LittlestHubError] = []
    if found.is_due:
        failures = tell(layout, found.title, found.text(layout.command))
    ways = [way for way in WAYS if answers.get(way)]
    if not failures or len(failures) < len(ways):
        news.save(file, known)
    if failures:
        raise joined(failures)
    return found


def tell(layout: Layout, title: str, text: str) -> list[LittlestHubError]:
    """Send a message in all ways that were asked for; return those errors that came up."""
    title = f"[{socket.gethostname()}] {layout.instance}: {title}"
    answers, failures = answers_of(layout), []
    for way, send in WAYS.items():
        if recipient := answers.get(way):
            try:
                send(recipient, title, text)
            except LittlestHubError as error:
                failures.append(error)
    return failures


def joined(failures: list[LittlestHubError]) -> LittlestHubError:
    """Return one error for several."""
    hint = next((each.hint for each in failures if each.hint), None)
    return LittlestHubError("; ".join(each.message for each in failures), hint)


def main() -> int:
    """Look once, as the timer's unit does; what was found is in the journal too."""
    layout = installation.of_this_release()
    try:
        found = look(layout)
    except LittlestHubError as error:
        print(f"littlest-hub: the administrator was not told: {error.message}", file=sys.stderr)
        return 1
    print(found.text(layout.command) if found.is_due else "Nothing new.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
