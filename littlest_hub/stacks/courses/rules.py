"""The rule of `check` about courses."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings


def groups(settings: Settings) -> Iterator[Problem]:
    """Refuse logins that replace the groups of users, in which courses put people."""
    setting = settings.get("Authenticator", "manage_groups")
    if setting.value is True:
        text = "replaces the groups of whoever logs in, and courses put people into groups"
        yield from setting.error(f"{text}; expected manage_groups = False")
