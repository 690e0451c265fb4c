"""Errors of the operating system, with the command that helps."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
from collections.abc import Sequence
from pathlib import Path

from littlest_hub.errors import LittlestHubError


def explained(error: OSError, command: Sequence[str]) -> LittlestHubError:
    """Return an error of the operating system as a message for the administrator.

    Args:
        error: what the operating system has refused.
        command: the command line that failed, to be typed again.
    """
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    reason = error.strerror or str(error) or type(error).__name__
    message = f"{name}: {reason}" if name else reason
    place = _nearest(Path(name or "."))
    if error.errno in (errno.EACCES, errno.EPERM):
        return LittlestHubError(message, _as_its_owner(place, command))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        disk = f"df -h {shlex.quote(place)}" if name else "df -h"
        return LittlestHubError(message, f"Make room, then try again: {disk}")
    if error.errno == errno.EROFS:
        look = f"findmnt --target {shlex.quote(place)}"
        return LittlestHubError(message, f"See how it is mounted: {look}")
    return LittlestHubError(message)


def _as_its_owner(place: str, command: Sequence[str]) -> str | None:
    """Return the command that runs the same as the owner of a place; None: that is us."""
    owner = Path(place).stat().st_uid
    if owner == os.geteuid() or os.geteuid() == 0:
        return None
    try:
        user = ["-u", pwd.getpwuid(owner).pw_name] if owner else []
    except KeyError:
        user = ["-u", f"#{owner}"]
    return f"Run it with the rights of its owner: {shlex.join(['sudo', *user, *command])}"


def _nearest(path: Path) -> str:
    """Return a path, or the nearest directory above it that we can see."""
    for each in (path, *path.absolute().parents):
        try:
            each.stat()
        except OSError:
            continue
        return str(each)
    return "/"
