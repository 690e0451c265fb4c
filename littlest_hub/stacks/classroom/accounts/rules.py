"""What `check` examines of accounts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings, strings
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.accounts import settings as fragment
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.settings import FRAGMENT, AccountSettings


def plain_settings(settings: Settings) -> Iterator[Problem]:
    """Refuse values at the top of the fragment that root's helper cannot use."""
    place = str(settings.layout.fragments / FRAGMENT)
    try:
        found = _read(settings)
    except (ValueError, SyntaxError) as error:
        yield Problem(place, 0, str(error))
        return
    if found is None:
        return
    for name, text in found.problems():
        yield Problem(place, _line_of(settings, name), f"{name}: {text}")


def locked_people(settings: Settings) -> Iterator[Problem]:
    """Refuse a setting with which people who are locked could log in."""
    setting = settings.get("Authenticator", "blocked_users")
    try:
        locked = table.read(settings.layout).blocked
    except (LittlestHubError, PermissionError):
        return  # doctor reports it
    if missing := sorted(locked - set(strings(setting.value))):
        text = f"lets {missing[0]} in, whom `{settings.layout.command} class remove` has locked"
        yield from setting.error(f"{text}; expected blocked_users.update({{…}})")


def sudo_for_administrators(settings: Settings) -> Iterator[Problem]:
    """Warn if administrators cannot have sudo with this hub; doctor says whether sudo is there."""
    with contextlib.suppress(ValueError, SyntaxError):
        found = _read(settings)
        if found and found.admins_have_sudo is True and settings.layout.hub_user:
            place = str(settings.layout.fragments / FRAGMENT)
            line = _line_of(settings, "ADMINS_HAVE_SUDO")
            text = (
                "ADMINS_HAVE_SUDO: a hub that is not root lets nobody become root; expected False"
            )
            yield Problem(place, line, text, is_warning=True)


def _text(settings: Settings) -> str:
    # The fragment may be about to be written: then its values are the stock ones.
    file = settings.layout.on_disk(settings.layout.fragments) / FRAGMENT
    return file.read_text() if file.exists() else ""


def _read(settings: Settings) -> AccountSettings | None:
    text = _text(settings)
    return fragment.parse(text) if text else None


def _line_of(settings: Settings, name: str) -> int:
    for number, line in enumerate(_text(settings).splitlines(), 1):
        if line.startswith(f"{name} ="):
            return number
    return 0
