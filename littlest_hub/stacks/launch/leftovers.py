"""The part of the stack outside its own directory: environments, and the user that builds them."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.activation.plan import is_in_foreground
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.locks import no_foreground_hub
from littlest_hub.lifecycle.services import Services
from littlest_hub.stacks.launch import STACK
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.units import about_user, user_of
from littlest_hub.stacks.launch.webdav import order
from littlest_hub.system import fuse, service_accounts
from littlest_hub.system.systemctl import systemctl

_NAMED = 5
"""The most units that are named in one line."""


def remove(layout: Layout) -> Iterator[str]:
    """Remove the environments and the builder's user, end WebDAV folders; yield what stays.

    While a server has its kernels from an environment, all of them stay: they share files.

    Raises:
        LittlestHubError: something cannot be removed.
    """
    place, user = layout.on_disk(Place.of(layout).home), user_of(layout)
    later = f"rm -rf {shlex.quote(str(place))}"
    if is_in_foreground(layout):
        try:
            # No hub starts meanwhile.
            with no_foreground_hub(layout):
                _remove(layout, place, later)
        except LittlestHubError as error:
            yield f"{place} stays: {error.message}. Later: {later}"
        return
    _end_folders(layout)
    later += f"; userdel {user}"
    if used := _in_use(layout):
        who = ", ".join(used[:_NAMED]) + (" …" if used[_NAMED:] else "")
        yield f"{place} stays while servers have environments in it: {who}. Later: {later}"
        return
    _remove(layout, place, later)
    if why := service_accounts.remove(user, about_user(layout)):
        yield f"the user {user} stays: {why}"


def _remove(layout: Layout, place: Path, later: str) -> None:
    shutil.rmtree(layout.on_disk(layout.stack_cache(STACK)), ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():
        raise LittlestHubError(f"{place} cannot be removed", f"See why: {later}")
    parent = layout.on_disk(layout.environments)
    if parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()


def _end_folders(layout: Layout) -> None:
    """End the WebDAV folders of servers that run: without its file, no unit ends with a server."""
    if not Services(layout).can_start:
        return
    units = f"{order.name_of(layout)}@*.service"
    systemctl("kill", "--signal=KILL", units, is_checked=False)
    with contextlib.suppress(OSError):
        for each in layout.on_disk(order.mounts_of(layout)).iterdir():
            fuse.unmount(each)
            each.rmdir()


def _in_use(layout: Layout) -> list[str]:
    """Return the units of running servers that have an environment in their view."""
    services = Services(layout)
    built = re.escape(str(Place.of(layout).built))
    servers = services.user_servers() if services.can_start else []
    return [
        unit
        for unit in servers
        if re.search(rf"{built}/[0-9a-f]", systemctl("show", "--property=BindReadOnlyPaths", unit))
    ]
