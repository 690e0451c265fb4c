"""Switching from one release to another and back: recorded first, undone if it fails."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.hub import database
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.lifecycle import release, switch_record
from littlest_hub.lifecycle.services import Services, http_status, is_answer
from littlest_hub.lifecycle.switch_record import ERROR, ServingRelease, Switch
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.manifest.discovery import enabled_stacks
from littlest_hub.system.files import link
from littlest_hub.system.progress import Progress
from littlest_hub.system.signals import uninterrupted
from littlest_hub.units.ports import Ports, choose_ports
from littlest_hub.unprivileged.privileges import run_as_hub_user

# A fragment that may start servers on other machines, from a release that those see too.
_BATCHSPAWNER = re.compile(r"^[^#\n]*batchspawner", re.MULTILINE)


def serving_before(layout: Layout, prefix: Path) -> ServingRelease | None:
    """Return the release to switch from when `prefix` is installed; None: no other one serves."""
    interrupted = switch_record.read(layout)
    if interrupted and not interrupted.is_done:
        source = interrupted.source
        if source.is_present(layout) and interrupted.target.prefix(layout) == prefix:
            return source
    current = release.active(layout)
    return None if current in (None, prefix) else ServingRelease.with_files(layout, current)


def rehearse(layout: Layout, progress: Progress) -> None:
    """Copy the database, and try this release's migration on another copy.

    Raises:
        LittlestHubError: the migration would fail; nothing was changed.
    """
    if place := database.db_url_setting(layout):
        progress(
            f"{place} has a database of its own: copies and migrations of it are yours; JupyterHub"
            " checks its schema when it starts"
        )
        return
    progress("Copying the database ...")
    if run_as_hub_user(layout, lambda: database.rehearse(layout)):
        progress(f"Its schema is going to change to {database.head()}; a trial on a copy went well")


@contextlib.contextmanager
def switching(
    layout: Layout, source: ServingRelease, target: ServingRelease, verb: str, progress: Progress
) -> Iterator[None]:
    """Switch between releases in the block; switch back if that fails or is interrupted.

    After SIGKILL, `undo` does the same from the record.
    """
    earlier = switch_record.read(layout)
    if earlier and not earlier.is_done:
        earlier = earlier.earlier
    switch = Switch(verb, source, target, earlier=earlier)
    switch_record.record(layout, switch)
    switch_record.log(layout, switch, "begun")
    try:
        yield
    except BaseException as error:
        reason = str(error) or type(error).__name__
        with uninterrupted():
            switch_record.log(layout, switch, f"failed: {reason}", ERROR)
            try:
                _switch_back(layout, switch, progress)
            except (LittlestHubError, OSError) as second:
                see = as_typed(f"journalctl -u {layout.instance}")
                raise LittlestHubError(
                    f"{reason}\n{source.version} does not serve either: {second}",
                    f"See: {see}, and {layout.upgrade_log}",
                ) from error
        raise
    switch_record.record(layout, replace(switch, is_done=True, earlier=None))
    switch_record.log(layout, switch, "done")


def undo(layout: Layout, prefix: Path, progress: Progress) -> bool:
    """Switch back from `prefix` if the switch to it was killed.

    Returns:
        Whether nothing uses the prefix, so that it may be removed.
    """
    switch = switch_record.read(layout)
    if switch and not switch.is_done and switch.target.prefix(layout) == prefix:
        switch_record.log(layout, switch, "was killed", ERROR)
        _switch_back(layout, switch, progress)
    elif release.active(layout) == prefix:
        return False
    return prefix.name not in release.users_of(layout)


def _switch_back(layout: Layout, switch: Switch, progress: Progress) -> None:
    progress(f"Switching back to {switch.source.version} ...")
    # Recorded first: it allows the hub of that release to restore its own copy of the database.
    back = replace(switch, verb="return", source=switch.target, target=switch.source)
    switch_record.record(layout, back)
    link(layout.on_disk(layout.hub), Path(switch.source.path))
    services = Services(layout)
    if switch.source.files is not None and services.has_systemd:
        changed = UnitFiles(layout).restore(switch.source.files)
        if services.can_start:
            services.start(changed, is_switched=True, is_forced=True)
    switch_record.log(layout, back, "done")
    switch_record.record(layout, switch.earlier)


def rollback(layout: Layout, wanted: str | None, progress: Progress) -> str:
    """Return to the previous release, and to its database if the schema differs.

    Args:
        layout: the installation.
        wanted: the version expected there; None: any.
        progress: shows lines to the user.

    Returns:
        A message for the administrator.

    Raises:
        LittlestHubError: there is none, or it does not serve; then everything is as before.
    """
    target = _rollback_target(layout, wanted)
    current = release.active(layout)
    if current is None or current == target.prefix(layout):
        raise LittlestHubError(f"{target.version} serves already")
    _check_with(layout, target, progress)
    services = Services(layout)
    ports = choose_ports(layout, None) if services.has_systemd else Ports()
    is_public = is_answer(http_status(ports.public_address, "/hub/login"))
    source = ServingRelease.with_files(layout, current)
    with switching(layout, source, target, "rollback", progress):
        progress(f"Switching to {target.version} ...")
        link(layout.on_disk(layout.hub), Path(target.path))
        if services.has_systemd and target.files is not None:
            changed = UnitFiles(layout).restore(target.files)
            if services.can_start:
                services.start(changed, is_switched=True)
                progress("Watching it ...")
                services.watch(ports, is_public=is_public)
    return "\n".join([f"{target.version} serves again.", *remove_unused(layout)])


def _rollback_target(layout: Layout, wanted: str | None) -> ServingRelease:
    switch, current = switch_record.read(layout), release.active(layout)
    if switch is None:
        raise LittlestHubError(
            "there is no release to return to: none has been upgraded from here",
            f"Releases: ls {layout.releases}",
        )
    # An interrupted rollback is repeated, not reversed.
    is_repeated = (
        switch.verb == "rollback" and not switch.is_done and current != switch.target.prefix(layout)
    )
    target = switch.target if is_repeated else switch.source
    if wanted not in (None, target.version):
        raise LittlestHubError(
            f"{wanted} is not the release before; that is {target.version}",
            f"{layout.command} rollback --to {target.version}",
        )
    if not target.is_present(layout):
        raise LittlestHubError(
            f"{target.version} is gone from {target.prefix(layout)}",
            "Its installer puts it back there: run that with -s, then try again",
        )
    return target


def _check_with(layout: Layout, target: ServingRelease, progress: Progress) -> None:
    """Check fragments and database with the program of another release.

    Raises:
        LittlestHubError: it refuses them; nothing was changed.
    """
    python = [str(layout.on_disk(target.prefix(layout) / "bin" / "python3")), "-I"]
    progress(f"Checking the fragments with {target.version} ...")
    check = [*python, "-m", "littlest_hub", "check"]
    checked = subprocess.run(check, capture_output=True, text=True)
    if checked.returncode:
        raise LittlestHubError(
            f"{target.version} refuses the fragments:\n{checked.stdout}{checked.stderr}",
            "Fix them, then try again; nothing was changed",
        )
    file = layout.on_disk(layout.database)
    if not file.exists():
        return
    print_head = "from littlest_hub.hub.database import head; print(head())"
    printed = subprocess.run([*python, "-c", print_head], capture_output=True, text=True)
    head, found = printed.stdout.strip(), run_as_hub_user(layout, lambda: database.revision(file))
    if printed.returncode or found in (None, head):
        return
    copy = database.backup_of(layout, head)
    if not copy.is_file():
        raise LittlestHubError(
            f"the database has the schema {found}, {target.version} needs {head}, and there is"
            f" no copy of that: {copy}",
            "Put one there from your backup, then try again; nothing was changed",
        )
    progress(f"The database returns to its copy {copy}, with the users and servers of now")


def remove_unused(layout: Layout) -> list[str]:
    """Remove releases that nothing runs from and no rollback leads to.

    Returns:
        A line for each that was removed, or why it stays.
    """
    switch, current = switch_record.read(layout), release.active(layout)
    if _may_run_elsewhere(layout, current):
        return [f"Old releases in {layout.releases} stay: servers on other machines may use them"]
    keep = {current} if current else set()
    if switch:
        keep |= {switch.source.prefix(layout), switch.target.prefix(layout)}
    return release.remove_unused(layout, keep)


def _may_run_elsewhere(layout: Layout, current: Path | None) -> bool:
    """Return whether servers on other machines may run from a release of this installation."""
    texts = (file.read_text(errors="replace") for file in fragment_files(layout))
    if any(map(_BATCHSPAWNER.search, texts)):
        return True
    stacks = enabled_stacks(layout, layout.on_disk(current)) if current else {}
    return any(stack.manifest.elsewhere for stack in stacks.values())


@dataclass(frozen=True)
class InstalledRelease:
    """A release in the base directory, as `rollback --list` shows it."""

    name: str
    """The name of its directory in releases/."""
    version: str
    is_active: bool
    is_previous: bool
    """Whether a rollback leads to it."""
    servers: list[str]
    """Units of the user servers that run from it."""

    def __str__(self) -> str:
        roles = ["active"] if self.is_active else []
        roles += ["rollback leads here"] if self.is_previous else []
        roles += [f"{len(self.servers)} user servers"] if self.servers else []
        return f"{self.name:12} {', '.join(roles) or 'unused'}"


def installed_releases(layout: Layout) -> Iterator[InstalledRelease]:
    """Yield the releases, oldest first, with their roles."""
    switch, current = switch_record.read(layout), release.active(layout)
    users = release.users_of(layout)
    for prefix in release.installed(layout):
        units = users.get(prefix.name, ())
        yield InstalledRelease(
            name=prefix.name,
            version=release.version_of(layout, prefix),
            is_active=prefix == current,
            is_previous=bool(switch and switch.source.prefix(layout) == prefix != current),
            servers=sorted(unit for unit in units if ".user-" in unit or ".user@" in unit),
        )
