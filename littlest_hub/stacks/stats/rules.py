"""Rules of `check` about the stack."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.check import plain_values
from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.stacks.stats.values import FRAGMENT, Values


def values(settings: Settings) -> Iterator[Problem]:
    """Refuse values that cannot be used, and warn of groups that nobody is in."""
    found = yield from plain_values.right_values(settings, FRAGMENT, Values)
    yield from plain_values.misspelled(settings, FRAGMENT, Values)
    groups = settings.get("JupyterHub", "load_groups").value
    if settings.get("Authenticator", "manage_groups").value or not isinstance(groups, dict):
        return
    for group in sorted(found.instructors):
        if groups and group not in groups:
            text = f"the hub has no group {group!r} in load_groups; is it made otherwise?"
            yield plain_values.problem(settings, FRAGMENT, "INSTRUCTORS", text, is_warning=True)
