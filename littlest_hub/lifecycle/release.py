"""Releases: their versions, the order of upgrades, and which of them are in use."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import overlays_of
from littlest_hub.layout import PRODUCT, Layout
from littlest_hub.system import processes

SERIES = ("2026.11",)
"""All minor series in order; a release upgrades from its own series and from the one before.

Extend it with the first release of a series; the last one is that of this checkout."""

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_REMOVED = ".removing"
# ".installing": construct/header.sh.
_HIDDEN = re.compile(rf"\.(.+)(?:\.installing|{re.escape(_REMOVED)})")


def version_of(layout: Layout, prefix: Path) -> str:
    """Return the version of the release in a prefix, whose directory may have another name."""
    records = layout.on_disk(prefix / "conda-meta").glob(f"{PRODUCT}-*.json")
    names = [record.name.removeprefix(f"{PRODUCT}-") for record in records]
    found = [name.rpartition("-")[0] for name in names if name[:1].isdigit()]
    return found[0] if found else prefix.name


def active(layout: Layout) -> Path | None:
    """Return the prefix that the `hub` link leads to; None: there is no such prefix."""
    link = layout.on_disk(layout.hub)
    if not link.is_symlink():
        return None
    prefix = layout.base / link.readlink()
    return prefix if is_present(layout, prefix) else None


def is_present(layout: Layout, prefix: Path) -> bool:
    """Return whether a prefix has a hub environment."""
    return layout.on_disk(prefix / "bin" / "python3").exists()


def check_step(layout: Layout, before: str, after: str) -> None:
    """Refuse an upgrade to an older release or across a whole series.

    Raises:
        LittlestHubError: with the steps that lead there.
    """
    old, new = _VERSION.match(before), _VERSION.match(after)
    if not old or not new:
        return  # not our version scheme: a custom build; fragments and database are checked anyway
    if tuple(map(int, new.groups())) < tuple(map(int, old.groups())):
        raise LittlestHubError(
            f"{after} is older than {before}, which serves now",
            f"To return to the release before: {layout.command} rollback",
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
    """Return the complete releases in the base directory, oldest first."""
    releases = layout.on_disk(layout.releases)
    found = [
        layout.releases / directory.name
        for directory in (releases.iterdir() if releases.is_dir() else ())
        if not directory.name.startswith(".")
        and any(directory.glob(f"conda-meta/{PRODUCT}-*.json"))
    ]
    return sorted(found, key=lambda prefix: [int(n) for n in re.findall(r"\d+", prefix.name)])


def title(entry: str) -> str:
    """Return what people call an entry of releases/ that programs run from.

    It is hidden after the installer has replaced a release (-u), or while it is being removed.
    """
    hidden = _HIDDEN.fullmatch(entry)
    return f"earlier files of release {hidden[1]}" if hidden else f"release {entry}"


def users_of(layout: Layout) -> dict[str, set[str]]:
    """Return the units, or else processes, that run from each release, by its directory name.

    This process does not count, and nothing runs from an image of another system.
    """
    if not layout.is_live:
        return {}
    inside = re.compile(re.escape(f"{layout.releases}/") + r"([^/\s]+)/")
    users: dict[str, set[str]] = {}
    for pid in processes.process_ids():
        if pid == os.getpid():
            continue
        for name in set(inside.findall(processes.mapped(pid))):
            users.setdefault(name, set()).add(_unit_or_process(pid))
    return users


def _unit_or_process(pid: int) -> str:
    unit = processes.unit(pid)
    return unit if unit.endswith(".service") else f"process {pid}"


def remove_unused(layout: Layout, keep: set[Path]) -> list[str]:
    """Remove every release that nothing runs from, except those to keep.

    Returns:
        A line for each that was removed, and for each that stays because it is in use.
    """
    releases = layout.on_disk(layout.releases)
    for partial in releases.glob(f".*{_REMOVED}"):
        shutil.rmtree(partial, ignore_errors=True)
    others = [prefix for prefix in installed(layout) if prefix not in keep]
    if not others:
        return []
    users = users_of(layout)
    lines = []
    for prefix in others:
        if prefix.name in users:
            lines.append(f"{prefix} stays while it is in use: {_listed(users[prefix.name])}")
            continue
        # Renamed first: a release that is half removed must not look complete.
        renamed = releases / f".{prefix.name}{_REMOVED}"
        (releases / prefix.name).rename(renamed)
        shutil.rmtree(renamed)
        shutil.rmtree(layout.on_disk(overlays_of(layout, prefix)), ignore_errors=True)
        lines.append(f"{prefix} was removed: nothing runs from it any more")
    return lines


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
