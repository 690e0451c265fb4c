"""Releases: their versions, which of them follows which, and which are still in use."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import PRODUCT, Layout

SERIES = ("2026.11",)
"""Every minor series so far, in order: a release can take over from its own and from the one
before. To be extended with the first release of a series; its last is the one of this checkout."""

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_REMOVED = ".removing"


def version_of(layout: Layout, prefix: Path) -> str:
    """Version of the release in a prefix, which may be called something else."""
    records = layout.on_disk(prefix / "conda-meta").glob(f"{PRODUCT}-*.json")
    names = [record.name.removeprefix(f"{PRODUCT}-") for record in records]
    found = [name.rpartition("-")[0] for name in names if name[:1].isdigit()]
    return found[0] if found else prefix.name


def active(layout: Layout) -> Path | None:
    """The prefix that serves; None: there is none, or it is gone."""
    link = layout.on_disk(layout.hub)
    if not link.is_symlink():
        return None
    prefix = layout.base / link.readlink()
    return prefix if layout.on_disk(prefix / "bin" / "python3").exists() else None


def check_step(before: str, after: str) -> None:
    """Refuse to go back, and to skip a series.

    Raises:
        LittlestHubError: with the way that leads there.
    """
    old, new = _VERSION.match(before), _VERSION.match(after)
    if not old or not new:
        return  # somebody's own build; its fragments and database are checked all the same
    if tuple(map(int, new.groups())) < tuple(map(int, old.groups())):
        raise LittlestHubError(
            f"{after} is older than {before}, which serves now",
            "To return to the release before: littlest-hub rollback",
        )
    series = [_series(before), _series(after)]
    if series[0] == series[1] or series[0] not in SERIES or series[1] not in SERIES:
        is_step = series[0] == series[1]
    else:
        is_step = SERIES.index(series[1]) - SERIES.index(series[0]) == 1
    if not is_step:
        between = SERIES[SERIES.index(series[0]) + 1 :] if series[0] in SERIES else SERIES
        path = [*(name for name in between if name != series[1]), after]
        raise LittlestHubError(
            f"from {before} to {after} is too far: each series is tested with the one before it",
            f"Install one after the other, the last release of each: {', then '.join(path)}",
        )


def _series(version: str) -> str:
    return version.rpartition(".")[0]


def installed(layout: Layout) -> list[Path]:
    """Every release of ours in the base directory, whole and in order."""
    releases = layout.on_disk(layout.releases)
    found = [
        layout.releases / directory.name
        for directory in (releases.iterdir() if releases.is_dir() else ())
        if not directory.name.startswith(".")
        and any(directory.glob(f"conda-meta/{PRODUCT}-*.json"))
    ]
    return sorted(found, key=lambda prefix: [int(n) for n in re.findall(r"\d+", prefix.name)])


def users_of(layout: Layout) -> dict[str, set[str]]:
    """By a release's directory name: the units, or else the processes, that run from it.

    Whoever asks does not count.
    """
    inside = re.compile(re.escape(f"{layout.releases}/") + r"([^/\s]+)/")
    found: dict[str, set[str]] = {}
    for process in _processes():
        if process.name == str(os.getpid()):
            continue
        for name in set(inside.findall(_mapped(process))):
            found.setdefault(name, set()).add(_unit_of(process))
    return found


def _processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _mapped(process: Path) -> str:
    """Paths of a process's program and of what it has loaded."""
    text = ""
    try:
        text = f"{(process / 'exe').readlink()}/\n"
        text += (process / "maps").read_text(errors="replace")
    except OSError:
        pass  # gone, a kernel thread, or somebody else's
    return text


def _unit_of(process: Path) -> str:
    try:
        units = re.findall(r"[^/\s]+\.service", (process / "cgroup").read_text())
    except OSError:
        units = []
    return units[-1] if units else f"process {process.name}"


def remove_unused(layout: Layout, keep: set[Path]) -> list[str]:
    """Remove every release that nothing runs from, but for those to keep.

    Returns:
        One line for each that went or that stays because of somebody.
    """
    releases = layout.on_disk(layout.releases)
    for half in releases.glob(f".*{_REMOVED}"):
        shutil.rmtree(half, ignore_errors=True)
    others = [prefix for prefix in installed(layout) if prefix not in keep]
    if not others:
        return []
    users = users_of(layout) if layout.is_live else {}
    said = []
    for prefix in others:
        if prefix.name in users:
            said.append(f"{prefix} stays while it is in use: {_some(users[prefix.name])}")
            continue
        # No half release may look like a whole one.
        doomed = releases / f".{prefix.name}{_REMOVED}"
        (releases / prefix.name).rename(doomed)
        shutil.rmtree(doomed)
        said.append(f"{prefix} was removed: nothing runs from it any more")
    return said


def _some(names: set[str]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
