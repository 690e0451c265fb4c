"""The view that a user server has of shared folders: those that its user may use."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Collection
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.shared.settings import (
    OF_A_GROUP,
    READ_ONLY,
    Folder,
    Shared,
    place_of,
)

LINK = "shared"
"""The link to the folders in home directories."""


def properties(layout: Layout, shared: Shared, account: str) -> dict[str, list[str]]:
    """Return the properties of a server's unit that show the folders to an account."""
    groups = groups_of(account)
    place = place_of(layout)
    shown = [*filter(None, (_shown(place, each, account, groups) for each in shared.folders))]
    if not shown:
        return {}
    found: dict[str, list[str]] = {
        "TemporaryFileSystem": [f"{place}:ro,mode=0755,size=1M"],
        # The account itself makes the link: root writes nothing in home directories.
        "ExecStartPre": [f"-/bin/sh -c '{_link(place)}'"],
    }
    for name, path in shown:
        # With "-", the server starts even if the folder is missing.
        found.setdefault(name, []).append(f"-{path}")
    return found


def groups_of(account: str) -> set[str]:
    """Return the names of the groups of an account."""
    found = set()
    with contextlib.suppress(KeyError):
        person = pwd.getpwnam(account)
        for number in os.getgrouplist(account, person.pw_gid):
            with contextlib.suppress(KeyError):
                found.add(grp.getgrgid(number).gr_name)
    return found


def _shown(
    place: Path, folder: Folder, account: str, groups: Collection[str]
) -> tuple[str, str] | None:
    """Return the property that shows a folder to an account, and its value; None: it is hidden."""
    path = place / folder.name
    is_member = folder.group in groups
    if folder.kind == OF_A_GROUP:
        return ("BindPaths", f"{path}:{path}") if is_member else None
    if folder.kind == READ_ONLY:
        return ("BindPaths" if is_member else "BindReadOnlyPaths", f"{path}:{path}")
    if is_member:
        return ("BindReadOnlyPaths", f"{path}:{path}")
    return ("BindPaths", f"{path / account}:{path}")


def _link(place: Path) -> str:
    # systemd reads $$ as $.
    link = f'"$$HOME/{LINK}"'
    return f"[ -e {link} ] || [ -L {link} ] || ln -s {place} {link}"
