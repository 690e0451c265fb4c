"""Rules of `check` for plain values at the top of the stack's fragment."""

from __future__ import annotations

import contextlib
import grp
import json
import os
from collections.abc import Collection, Iterator

from littlest_hub.check import plain_values
from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.manifest.plain_values import PlainSettings
from littlest_hub.stacks.classroom.accounts.settings import AccountSettings
from littlest_hub.stacks.classroom.culling import REPORTS_S, Culling
from littlest_hub.stacks.classroom.fragment import FRAGMENT
from littlest_hub.stacks.classroom.lab_settings import FILE
from littlest_hub.stacks.classroom.lab_settings import parse as parse_lab_settings
from littlest_hub.stacks.classroom.limits import Limits, group_of
from littlest_hub.stacks.classroom.shared.settings import Shared


def problems(settings: Settings, record: type[PlainSettings]) -> Iterator[Problem]:
    """Yield the problems of a part's values, each with its line."""
    yield from plain_values.problems(settings, FRAGMENT, record)


def problem(settings: Settings, name: str, text: str, *, is_warning: bool = False) -> Problem:
    """Return a problem of one variable, with its line."""
    return plain_values.problem(settings, FRAGMENT, name, text, is_warning=is_warning)


def culling(settings: Settings) -> Iterator[Problem]:
    """Refuse values that are no times, and warn of values that stop servers in use."""
    found = yield from plain_values.right_values(settings, FRAGMENT, Culling)
    if 0 < found.cull_idle_s < 2 * REPORTS_S:
        text = f"servers say every {REPORTS_S} s whether they are used; expected {2 * REPORTS_S}"
        yield problem(settings, "CULL_IDLE_S", f"{text} or more", is_warning=True)
    for group, what in found.cull_groups.items():
        if 0 < what.get("idle_s", 0) < 2 * REPORTS_S:
            text = f"{group}: servers say every {REPORTS_S} s whether they are used; expected"
            text = f"{text} {2 * REPORTS_S} or more"
            yield problem(settings, "CULL_GROUPS", text, is_warning=True)
    if found.cull_users:
        text = (
            "deletes people who are not there for that time; who comes again is somebody else to"
            " the hub, and gets no files of before; expected False, except for guests"
        )
        yield problem(settings, "CULL_USERS", text, is_warning=True)


def shared_folders(settings: Settings) -> Iterator[Problem]:
    """Refuse folders that root's helper cannot make, or that servers cannot show."""
    found = yield from plain_values.right_values(settings, FRAGMENT, Shared)
    if found.shared and _is_another_spawner(settings):
        yield problem(settings, "SHARED", f"{_NOT_HERE} shared folders; expected {{}}")


def limits(settings: Settings) -> Iterator[Problem]:
    """Refuse limits that cannot be applied; warn of those without effect and of unknown groups."""
    found = yield from plain_values.right_values(settings, FRAGMENT, Limits)
    if found.limits and _is_another_spawner(settings):
        for_all = f"for all servers together: systemctl edit {settings.layout.users_slice}"
        text = f"{_NOT_HERE} limits of their own; expected {{}}; {for_all}"
        yield problem(settings, "LIMITS", text)
        return
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for text in found.without_effect(memory_bytes, os.cpu_count() or 1):
        yield problem(settings, "LIMITS", text, is_warning=True)
    if settings.get("Authenticator", "manage_groups").value:
        return  # the provider knows the groups
    known = {*_account_groups(settings), *_groups_of_hub(settings)}
    for group in filter(None, map(group_of, found.limits)):
        if group not in known and not _is_of_machine(group):
            text = f"neither the hub nor the machine has a group {group!r}"
            yield problem(settings, "LIMITS", text, is_warning=True)


def logins(settings: Settings) -> Iterator[Problem]:
    """Warn of logins in upper case, which count for nobody: the hub's names are in lower case."""
    named: list[tuple[str, str]] = []
    with contextlib.suppress(ValueError):  # other rules report these
        parsed = (
            plain_values.parsed(settings, FRAGMENT, AccountSettings),
            plain_values.parsed(settings, FRAGMENT, Limits),
        )
        for found in parsed:
            named += [] if found.problems() else found.logins
    for name, login in named:
        if login != login.lower():
            text = f"{login!r} is nobody: login names are in lower case; expected {login.lower()!r}"
            yield problem(settings, name, text, is_warning=True)


def lab_settings(settings: Settings) -> Iterator[Problem]:
    """Refuse a file with settings of JupyterLab that JupyterLab could not read."""
    file = settings.layout.fragments / FILE
    try:
        parse_lab_settings(settings.layout.on_disk(file).read_text())
    except FileNotFoundError:
        return
    except json.JSONDecodeError as error:
        text = f"expected JSON, found a mistake at column {error.colno}: {error.msg}"
        yield Problem(str(file), error.lineno, text)
    except (OSError, ValueError) as error:
        yield Problem(str(file), 0, str(error))
    else:
        if _is_another_spawner(settings):
            instead = "/etc/jupyter/labconfig/default_setting_overrides.json"
            text = f"servers of this hub do not see it; expected {instead}"
            yield Problem(str(file), 0, text, is_warning=True)


def _is_another_spawner(settings: Settings) -> bool:
    """Return whether servers are those of a spawner that does not know these settings."""
    return settings.is_whole and not settings.uses("Spawner", "AccountSpawner")


_NOT_HERE = "only servers of a hub that is root, with its own spawner, have"


def _account_groups(settings: Settings) -> Collection[str]:
    with contextlib.suppress(ValueError):  # another rule reports these
        found = plain_values.parsed(settings, FRAGMENT, AccountSettings)
        return [] if found.problems() else list(found.account_groups)
    return []


def _groups_of_hub(settings: Settings) -> Collection[str]:
    groups = settings.get("JupyterHub", "load_groups").value
    return list(groups) if isinstance(groups, dict) else []


def _is_of_machine(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True
