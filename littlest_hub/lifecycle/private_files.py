"""Files and directories with secrets: owners and modes that keep others out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.layout import Layout


class PrivateFile(NamedTuple):
    """A file or directory that only its owner, and perhaps the hub's user, may use."""

    path: Path
    mode: int
    owner: int
    """User id."""


def private_files(layout: Layout, owner: int) -> Iterator[PrivateFile]:
    """Yield the private files of an installation.

    Args:
        layout: the installation.
        owner: user id of the base directory's owner.
    """
    hub = layout.on_disk(layout.hub_user_state).stat().st_uid if layout.hub_user else owner
    yield PrivateFile(layout.fragments, 0o750 if layout.hub_user else 0o700, owner)
    yield PrivateFile(layout.state, 0o710 if layout.hub_user else 0o700, owner)
    yield PrivateFile(layout.database, 0o600, hub)
    yield PrivateFile(layout.cookie_secret, 0o600, hub)


def wrong_mode(actual: int, expected: int) -> str:
    """Return what is wrong with a mode; "": nothing."""
    if actual & ~expected:
        return "may be read by others"
    return "cannot be used by its owner" if actual & expected & 0o600 != 0o600 else ""


def repair_private_files(layout: Layout) -> Iterator[str]:
    """Repair owners and modes, and yield a line for each repair."""
    for private in private_files(layout, os.geteuid()):
        path = layout.on_disk(private.path)
        # Files of the hub's user are in a directory where that user can plant links.
        if private.owner != os.geteuid() or not path.exists() or path.is_symlink():
            continue
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid != private.owner or wrong_mode(mode, private.mode):
            os.chown(path, private.owner, -1)
            path.chmod(private.mode)
            yield f"{private.path}: owner {status.st_uid}, mode {mode:04o}"
