"""The directory of a trial in /run, with its unit file, which systemd links: gone after the check.

A check that is killed leaves both: the next check and `uninstall` remove them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.system.locks import lock, try_lock
from littlest_hub.system.systemctl import systemctl

_LINKS = Path("/run/systemd/system")
_UNLOCKED_S = 2
"""The greatest age of an empty directory that its check has not locked yet."""


@contextlib.contextmanager
def trial_directory(layout: Layout) -> Iterator[Path]:
    """Make a directory, locked for as long as it is used; its name is free for a unit as well."""
    parent = layout.on_disk(_parent(layout))
    parent.mkdir(mode=0o700, exist_ok=True)
    for left in _directories(layout):
        if not _is_used(left):
            _remove(layout, left)
    with tempfile.TemporaryDirectory(prefix=_prefix(layout), dir=parent) as name:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            lock(descriptor)
            yield Path(name)
        finally:
            os.close(descriptor)


def remove_trials(layout: Layout) -> None:
    """Remove what checks have left, and end those that still run."""
    for directory in _directories(layout):
        _remove(layout, directory)


def remove_unit(name: str) -> None:
    """Stop the unit of a trial, and make systemd forget it."""
    systemctl("stop", name, is_checked=False)
    systemctl("reset-failed", name, is_checked=False)
    systemctl("disable", "--runtime", "--no-reload", "--quiet", name, is_checked=False)


def _parent(layout: Layout) -> Path:
    # The hub's unit, from which a reload checks, may write to its own directory in /run only.
    return Path("/run") if layout.hub_user else layout.run_directory


def _prefix(layout: Layout) -> str:
    # No other hub's: the name of none contains a ".".
    return f"{layout.instance}.check-"


def _directories(layout: Layout) -> list[Path]:
    """Return the directories of all trials; some may be gone, while systemd has links into them."""
    pattern = f"{_prefix(layout)}*"
    parent = layout.on_disk(_parent(layout))
    units = layout.on_disk(_LINKS).glob(f"{pattern}.service")
    return sorted({*parent.glob(pattern), *(parent / unit.stem for unit in units)})


def _is_used(directory: Path) -> bool:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        if not try_lock(descriptor):
            return True
        is_new = abs(time.time() - os.fstat(descriptor).st_mtime) < _UNLOCKED_S
        return is_new and not any(directory.iterdir())
    finally:
        os.close(descriptor)


def _remove(layout: Layout, directory: Path) -> None:
    unit = f"{directory.name}.service"
    remove_unit(unit)
    # systemd may leave the link of a unit whose file is gone; the hub's unit may not remove it.
    with contextlib.suppress(OSError):
        (layout.on_disk(_LINKS) / unit).unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
