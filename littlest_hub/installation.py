"""An installation as it is on disk: its layout, and the files that are not always there."""

from __future__ import annotations

import sys
from pathlib import Path

from littlest_hub.layout import Layout

_DROP_INS_OF_UNITS = (".service.d", ".socket.d", ".timer.d", ".path.d", ".slice.d")
"""Ends of names of directories with drop-ins, by the types of units that stacks may have."""


def release_of_this_interpreter() -> Path:
    """Return the conda prefix we run from, not the `hub` link, which may change meanwhile."""
    return Path(sys.prefix).resolve()


def of_this_release(root: Path = Path("/")) -> Layout:
    """Return the layout of the installation that this interpreter belongs to.

    Raises:
        LittlestHubError: this interpreter is not that of an installed release.
    """
    return of_prefix(release_of_this_interpreter(), root)


def of_prefix(prefix: Path, root: Path = Path("/")) -> Layout:
    """Return the layout of the installation that a release belongs to.

    Raises:
        LittlestHubError: the prefix is not BASE/releases/VERSION; the hint is the right command.
    """
    return of_base(Layout.from_path(prefix, root).base, root)


def of_base(base: Path, root: Path = Path("/")) -> Layout:
    """Return the layout of the installation at a base directory."""
    layout = Layout(base, root)
    return layout._replace(hub_user=_hub_user(layout))


def _hub_user(layout: Layout) -> str | None:
    """Return the owner of `hub_user_state`, or its uid if it has no account; None: root.

    The owner can be trusted: only root can create that directory. For an ordinary user, None is
    root or unknown, since `state` cannot be read; names are then those of a hub that is root.
    """
    path = layout.on_disk(layout.hub_user_state)
    try:
        uid = path.stat().st_uid
    except OSError:
        return None
    if uid == 0:
        return None
    try:
        return path.owner()
    except KeyError:
        return str(uid)


def overlays_of(layout: Layout, prefix: Path) -> Path:
    """Return the directory of the overlays of a release."""
    return layout.overlays / prefix.name


def active_overlay(layout: Layout, prefix: Path) -> Path | None:
    """Return the overlay that a release's hub and servers use; None: there is none."""
    directory = overlays_of(layout, prefix)
    try:
        name = layout.on_disk(directory / "active").readlink()
    except OSError:
        return None
    overlay = directory / name
    return overlay if layout.on_disk(overlay).is_dir() else None


def installed_unit(layout: Layout, name: str) -> Path:
    """Return a unit file on disk, behind its link if systemd has a link to it."""
    file = layout.on_disk(layout.system_units) / name
    if file.is_symlink() and file.readlink().is_absolute():
        # An absolute link in an image means a place in that image.
        return layout.on_disk(file.readlink())
    return file


def drop_in_directories(layout: Layout) -> list[Path]:
    """Return the directories with drop-ins of our units, of user servers, and of stacks' units."""
    exact = {f"{unit}.d" for unit in layout.all_unit_names}
    # No other hub's names begin like this: names of instances contain no ".".
    others = f"{layout.instance}."
    return sorted(
        layout.system_units / found.name
        for found in layout.on_disk(layout.system_units).glob("*.d")
        if found.is_dir()
        and (
            found.name in exact
            or (found.name.startswith(others) and found.name.endswith(_DROP_INS_OF_UNITS))
        )
    )


def journal_directories(layout: Layout) -> list[Path]:
    """Return the directories of the user servers' journal, one for each machine id."""
    return sorted(
        parent / found.name
        for parent in (Path("/var/log/journal"), Path("/run/log/journal"))
        for found in layout.on_disk(parent).glob(f"*.{layout.log_namespace}")
    )


def fragment_files(layout: Layout) -> list[Path]:
    """Return the administrator's fragments on disk, in the order in which they are loaded.

    Raises:
        PermissionError: we may not read them; they may contain secrets.
    """
    return [file for file in _visible_files(layout) if file.suffix == ".py"]


def ignored_files(layout: Layout) -> list[Path]:
    """Return the files beside the fragments that are no fragments.

    Raises:
        PermissionError: as `fragment_files`.
    """
    hooks = layout.on_disk(layout.root_hooks)
    return [file for file in _visible_files(layout) if file.suffix != ".py" and file != hooks]


def _visible_files(layout: Layout) -> list[Path]:
    try:
        present = list(layout.on_disk(layout.fragments).iterdir())
    except FileNotFoundError:
        return []
    # A leading dot hides a file, such as an editor's lock.
    return sorted(file for file in present if not file.name.startswith("."))
