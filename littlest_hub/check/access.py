"""Fragments that the hub is not allowed to read, although the check is."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from littlest_hub.check.facts import Rights
from littlest_hub.check.report import Problem
from littlest_hub.layout import Layout
from littlest_hub.unprivileged.privileges import run_as_hub_user


def unreadable_fragments(
    layout: Layout, files: Collection[Path], rights: Rights
) -> Iterator[Problem]:
    """Yield a problem for each fragment that the hub's user, or its confined root, may not read."""
    if layout.hub_user:
        for file in files:
            if not run_as_hub_user(layout, partial(os.access, file, os.R_OK)):
                text = (
                    f"the hub runs as {layout.hub_user}, who may not read this file;"
                    f" chmod a+r {shlex.quote(str(file))}"
                )
                yield Problem(str(file), 0, text)
    elif not rights.knows_other_users:
        for path in (layout.fragments, *files):
            yield from _unreadable_for_confined_root(path)


def _unreadable_for_confined_root(path: Path) -> Iterator[Problem]:
    try:
        status = path.stat()
    except OSError:
        return  # running it reports this
    if not confined_root_can_read(status.st_mode, status.st_uid, status.st_gid):
        text = (
            "the hub may not read this: its unit gives root no rights to files of other users;"
            f" expected root as owner; chown root:root {shlex.quote(str(path))}"
        )
        yield Problem(str(path), 0, text)


def confined_root_can_read(mode: int, uid: int, gid: int) -> bool:
    """Return whether root can read a file where only root exists (PrivateUsers=).

    CAP_DAC_READ_SEARCH applies only to files whose owner and group both exist in the user
    namespace, user_namespaces(7); to all others the mode bits apply.
    """
    if uid == gid == 0:
        return True
    shift = 6 if uid == 0 else 3 if gid == 0 else 0
    wanted = 0o5 if stat.S_ISDIR(mode) else 0o4
    return mode >> shift & wanted == wanted
