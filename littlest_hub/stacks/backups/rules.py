"""Rules of `check` about backups."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.check import plain_values
from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.stacks.backups.settings import FRAGMENT
from littlest_hub.stacks.backups.settings import Settings as Values
from littlest_hub.system.restic import INSTALL, program_is_missing


def values(settings: Settings) -> Iterator[Problem]:
    """Refuse values that cannot be used, and warn of those that help nobody."""
    found = yield from plain_values.right_values(settings, FRAGMENT, Values)
    yield from plain_values.misspelled(settings, FRAGMENT, Values)
    state = str(settings.layout.state)
    if found.repository == state or found.repository.startswith(f"{state}/"):
        text = f"{found.repository} is lost together with the hub; expected a place elsewhere"
        yield plain_values.problem(settings, FRAGMENT, "REPOSITORY", text)


def restic(settings: Settings) -> Iterator[Problem]:
    """Refuse a machine without restic, which writes and reads backups."""
    if program_is_missing():
        text = f"backups need restic on this machine; expected: {INSTALL}"
        yield Problem(str(settings.layout.fragments / FRAGMENT), 0, text)
