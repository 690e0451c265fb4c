"""Rules of `check` about accounts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings, strings
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom import rules
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.settings import AccountSettings, parse
from littlest_hub.stacks.classroom.fragment import FRAGMENT


def plain_settings(settings: Settings) -> Iterator[Problem]:
    """Refuse values at the top of the fragment that root's helper cannot use."""
    yield from rules.problems(settings, AccountSettings)


def locked_people(settings: Settings) -> Iterator[Problem]:
    """Refuse a setting that lets locked people log in."""
    setting = settings.get("Authenticator", "blocked_users")
    try:
        locked = table.read(settings.layout).blocked
    except (LittlestHubError, PermissionError):
        return  # doctor reports a damaged table
    if missing := sorted(locked - set(strings(setting.value))):
        text = f"lets {missing[0]} in, whom `{settings.layout.command} class remove` has locked"
        yield from setting.error(f"{text}; expected blocked_users.update({{…}})")


def sudo_for_administrators(settings: Settings) -> Iterator[Problem]:
    """Warn of sudo at a hub that is not root; `doctor` checks that sudo is installed."""
    with contextlib.suppress(ValueError, SyntaxError):
        found = parse(settings.fragment_text(FRAGMENT))
        if found.admins_have_sudo is True and settings.layout.hub_user:
            text = "a hub that is not root lets nobody become root; expected False"
            yield rules.problem(settings, "ADMINS_HAVE_SUDO", text, is_warning=True)
