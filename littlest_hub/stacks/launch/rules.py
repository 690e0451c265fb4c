"""Rules of `check` about the launch stack."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.check import plain_values
from littlest_hub.check.report import Problem
from littlest_hub.check.settings import Settings
from littlest_hub.stacks.launch.fragment import FRAGMENT, Values
from littlest_hub.system import rclone


def values(settings: Settings) -> Iterator[Problem]:
    """Refuse values that cannot be used, and warn of those that help nobody."""
    found = yield from plain_values.right_values(settings, FRAGMENT, Values)
    yield from plain_values.misspelled(settings, FRAGMENT, Values)
    groups = settings.get("JupyterHub", "load_groups").value
    is_known = not found.group or (isinstance(groups, dict) and found.group in groups)
    if not is_known and not settings.get("Authenticator", "manage_groups").value:
        text = f"the hub has no group {found.group!r} in load_groups: nobody may launch"
        yield plain_values.problem(settings, FRAGMENT, "GROUP", text, is_warning=True)
    base = settings.layout.base
    for name, volume in found.volumes.items():
        path = Path(volume["path"])
        if path == base or base in path.parents or path in base.parents:
            text = f"{name}: found {path}, expected a directory apart from {base}"
            yield plain_values.problem(settings, FRAGMENT, "VOLUMES", text)


def git(settings: Settings) -> Iterator[Problem]:
    """Refuse a machine without git, which reads what has been fetched."""
    if shutil.which("git") is None:
        text = "launching needs git on this machine; expected: apt install git"
        yield Problem(str(settings.layout.fragments / FRAGMENT), 0, text)


def webdav(settings: Settings) -> Iterator[Problem]:
    """Refuse to offer WebDAV folders on a machine without rclone, which serves them."""
    found = yield from plain_values.right_values(settings, FRAGMENT, Values)
    if found.webdav and shutil.which(rclone.PROGRAM) is None:
        text = "found True, and this machine has no rclone; expected: apt install rclone"
        yield plain_values.problem(settings, FRAGMENT, "WEBDAV", text)
