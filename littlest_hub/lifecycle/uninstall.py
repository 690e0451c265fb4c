"""Removing an installation; what the administrator owns stays."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from littlest_hub.check.trial_directory import remove_trials
from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.installation import journal_directories
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.locks import changing, no_foreground_hub
from littlest_hub.lifecycle.services import Services
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.manifest.discovery import Stack, enabled_stacks
from littlest_hub.manifest.manifest import Elsewhere
from littlest_hub.system import systemctl
from littlest_hub.unprivileged import account


def uninstall(layout: Layout, *, purge: bool = False) -> str:
    """Stop everything, user servers included, and remove it.

    Args:
        layout: the installation, of which half may be gone.
        purge: remove fragments, state and drop-ins as well; homes always stay.

    Returns:
        A message about what is left, and how to remove that.

    Raises:
        LittlestHubError: something could not be stopped or removed.
    """
    with contextlib.ExitStack() as locks:
        if layout.on_disk(layout.state).is_dir():
            locks.enter_context(changing(layout))
        locks.enter_context(no_foreground_hub(layout))
        return _uninstall(layout, purge)


def servers_that_end(layout: Layout) -> list[str]:
    """Return the user servers that `uninstall` ends, as far as they are known."""
    elsewhere = _elsewhere(layout, _stacks(layout)[0], [])
    return [*Services(layout).user_servers(), *(name for each in elsewhere for name in each.names)]


def _uninstall(layout: Layout, purge: bool) -> str:
    services, unit_files = Services(layout), UnitFiles(layout)
    servers: list[str] = []
    drop_ins: list[Path] = []
    journals: list[Path] = []
    homes: list[Path] = []
    problems: list[str] = []
    if services.has_systemd and unit_files.are_installed:
        stacks, problems = _stacks(layout)
        elsewhere = [*_elsewhere(layout, stacks, problems)]
        servers = [*services.user_servers(), *(name for each in elsewhere for name in each.names)]
        remove_units(layout)
        # The hub cannot start them again.
        problems += filter(None, (each.end() for each in elsewhere))
        problems += _clean_up(layout, stacks)
        drop_ins, homes = unit_files.left_by_remove()
        journals = journal_directories(layout)
    layout.on_disk(layout.hub).unlink(missing_ok=True)
    # Built again from the lists and wheels, which stay.
    shutil.rmtree(layout.on_disk(layout.overlays), ignore_errors=True)
    owned = [layout.fragments, layout.state, layout.packages, layout.environments]
    owned += [*drop_ins, *journals]
    if purge:
        for path in owned:
            shutil.rmtree(layout.on_disk(path), ignore_errors=True)
        account.remove(layout, layout.hub_user)
        if services.can_start and drop_ins:
            systemctl.daemon_reload()
    # Last: this process runs from there.
    shutil.rmtree(layout.on_disk(layout.releases), ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.on_disk(layout.base).rmdir()
    left = [path for path in (*owned, *homes) if layout.on_disk(path).exists()]
    return "\n".join([_summary(layout, servers, left), *problems])


def _stacks(layout: Layout) -> tuple[Collection[Stack], list[str]]:
    """Return the stacks that are enabled, and why they are unknown."""
    try:
        # Half of the installation may be gone.
        return enabled_stacks(layout, layout.on_disk(layout.hub).resolve()).values(), []
    except (LittlestHubError, OSError) as error:
        return (), [f"Servers on other machines, if there are any, are unknown: {error}"]


def _elsewhere(
    layout: Layout, stacks: Collection[Stack], problems: list[str]
) -> Iterator[Elsewhere]:
    """Yield the servers of stacks on other machines; append why others are unknown."""
    for stack in stacks:
        try:
            if found := stack.manifest.servers_elsewhere(layout):
                yield found
        except (LittlestHubError, OSError) as error:
            problems.append(f"Servers of {stack.name} on other machines are unknown: {error}")


def _clean_up(layout: Layout, stacks: Collection[Stack]) -> Iterator[str]:
    """Remove what stacks can make again, and their system users; yield what stays, and why."""
    for stack in stacks:
        try:
            yield from stack.manifest.clean_up(layout)
        except (LittlestHubError, OSError) as error:
            yield f"Something of {stack.name} stays: {error}"


def _summary(layout: Layout, servers: list[str], left: list[Path]) -> str:
    lines = ["Removed."]
    if servers:
        lines.append(f"Stopped with it: {', '.join(servers)}")
    if layout.on_disk(layout.releases).exists():
        remove = as_typed(f"rm -rf {shlex.quote(str(layout.releases))}")
        lines.append(f"But not everything in {layout.releases} could be removed. See why: {remove}")
    if left:
        outside = [path for path in left if not path.is_relative_to(layout.base)]
        base = [layout.base] if len(outside) < len(left) else []
        words = " ".join(shlex.quote(str(path)) for path in (*base, *outside))
        lines += ["What you own stays:", *(f"  {path}" for path in left)]
        lines.append(f"To remove that as well: {as_typed(f'rm -rf {words}')}")
    user = layout.hub_user
    if user and account.is_ours(layout, user):
        remove = as_typed(f"userdel {user} && groupdel {layout.users_group}")
        lines.append(f"And the hub's account: {remove}")
    if layout.is_live and os.geteuid() == 0:
        lines.append("Accounts stay, with their home directories and folders that they share.")
    return "\n".join(lines)


def remove_units(layout: Layout, *, with_user_servers: bool = True) -> None:
    """Stop what runs, remove the unit files, and make systemd forget them.

    Raises:
        LittlestHubError: a unit cannot be stopped.
    """
    services, unit_files = Services(layout), UnitFiles(layout)
    present = unit_files.present()
    servers = services.user_servers() if with_user_servers else []
    is_running = services.can_start and bool(present or servers)
    if is_running:
        remove_trials(layout)
        kept = () if with_user_servers else (layout.users_slice,)
        services.stop([unit for unit in present if unit not in kept], servers)
        if with_user_servers:
            services.stop_empty_slices()
            services.stop_journal()
    unit_files.remove()
    if is_running:
        services.clean_up([*present, *servers])
