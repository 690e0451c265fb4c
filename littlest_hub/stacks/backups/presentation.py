"""Sizes and times as people read them, and what a unit is doing."""

from __future__ import annotations

import time

from littlest_hub.system.restic import seconds_of
from littlest_hub.system.sd_daemon import notify


def human(size_bytes: float) -> str:
    """Return a size for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def date(text: str) -> str:
    """Return a time of restic's for people."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds_of(text)))


def plain(text: str) -> str:
    """Return a text that users have chosen, such as a path, as one line for a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def show(text: str) -> None:
    """Show what is being done, in the unit's status and in the journal."""
    notify(f"STATUS={text}")
    print(text, flush=True)
