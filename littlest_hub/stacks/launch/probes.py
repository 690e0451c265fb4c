"""Probes of `doctor` for the launch stack."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot, output_of
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay
from littlest_hub.layout import PackageSet
from littlest_hub.stacks.launch import STACK, fragment
from littlest_hub.stacks.launch.builder.cleaning import size_bytes
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.group_volumes import store
from littlest_hub.stacks.launch.group_volumes.helper import HALF, REMOVED
from littlest_hub.stacks.launch.resolver.units import settings_of
from littlest_hub.stacks.launch.volumes import refuse_replaceable
from littlest_hub.system import fuse, landlock, rclone
from littlest_hub.system.ownership import loose_step
from littlest_hub.system.rattler import PACKAGE

_SERVICES = ("-permissions.service", "-builder.service")


def programs(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the programs are there that fetch repositories and build environments."""
    layout = snapshot.layout
    missing = False
    if shutil.which("git") is None:
        missing = True
        yield Finding(PROBLEM, STACK, "git is not installed", "apt install git")
    overlay = active_overlay(layout, layout.hub.resolve())
    for name, file in (("uv", "bin/uv"), (PACKAGE, "rattler")):
        if overlay is None or not (overlay / PackageSet.TOOLS / file).exists():
            missing = True
            again = f"{layout.command} packages add --tool {name}"
            yield Finding(PROBLEM, STACK, f"{name}, which builds environments, is missing", again)
    if not missing:
        yield Finding(OK, STACK, f"git, uv and {PACKAGE} are there")


def permissions(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that resolver and builder have what the fragment says."""
    layout = snapshot.layout
    if snapshot.is_foreground:
        return  # they get it at each start of the hub
    for suffix in _SERVICES:
        unit = layout.stack_unit(STACK, suffix)
        if output_of("systemctl", "is-failed", unit).strip() == "failed":
            text = f"{unit} has failed: repositories are launched with the settings of before"
            yield Finding(PROBLEM, STACK, text, f"journalctl -u {unit} -n 20")
    try:
        values = fragment.read(layout)
        settings = json.loads(settings_of(layout).read_text())
    except PermissionError:
        return
    except (LittlestHubError, OSError, ValueError) as error:
        text = f"its settings cannot be read: {error}"
        yield Finding(PROBLEM, STACK, text, f"{layout.command} check")
        return
    if settings.get("networks") != [*values.networks]:
        unit = layout.stack_unit(STACK, "-permissions.service")
        text = "resolver and builder reach other networks than the fragment says"
        yield Finding(PROBLEM, STACK, text, f"systemctl start {unit}")


def volumes(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the volumes of the fragment are where systemd will find them."""
    if snapshot.is_foreground:
        return  # there are none
    try:
        values = fragment.read(snapshot.layout)
    except LittlestHubError:
        return  # `permissions` reports it
    for name, volume in values.settings().volumes.items():
        try:
            refuse_replaceable(volume, snapshot.layout.root)
        except LittlestHubError as error:
            text = f"the volume {name} starts in no server: {error.message}"
            again = error.hint or f"# make the directory, or change VOLUMES in {fragment.FRAGMENT}"
            yield Finding(PROBLEM, STACK, text, again)


def group_volumes(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that volumes of groups are whole, and that deleted ones are gone."""
    layout = snapshot.layout
    place = layout.on_disk(store.place_of(layout))
    if not snapshot.is_root or not place.is_dir():
        return
    # Others could put a link there, which systemd, as root, would follow.
    loose = loose_step(store.place_of(layout), layout.root)
    if loose or place.stat().st_mode & 0o077:
        again = loose.repair if loose else f"chmod 700 {place}"
        yield Finding(PROBLEM, STACK, f"{place} is open to others; expected mode 0700", again)
    for name in sorted(each.name for each in place.iterdir()):
        if name.startswith(REMOVED):
            text = f"the files of a deleted volume are still in {place / name}"
            yield Finding(WARNING, STACK, text, f"rm -rf {place / name}")
        elif not name.startswith(HALF):
            try:
                found = store.read(layout, name)
                refuse_replaceable(found.volume(layout), layout.root)
            except LittlestHubError as error:
                text = f"{place / name} is in no server: {error.message}"
                yield Finding(PROBLEM, STACK, text, f"# repair it, or move it out of {place}")


def webdav(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that folders of WebDAV servers can be mounted, if people may have them."""
    try:
        if snapshot.is_foreground or not fragment.read(snapshot.layout).webdav:
            return
    except LittlestHubError:
        return  # `permissions` reports it
    missing = False
    if shutil.which(rclone.PROGRAM) is None:
        missing = True
        text = "rclone is not installed, so no server with a WebDAV folder starts"
        yield Finding(PROBLEM, STACK, text, "apt install rclone")
    if not fuse.DEVICE.exists():
        missing = True
        text = f"there is no {fuse.DEVICE}, so no server with a WebDAV folder starts"
        yield Finding(PROBLEM, STACK, text, "modprobe fuse")
    if not missing:
        yield Finding(OK, STACK, f"rclone and {fuse.DEVICE} are there, for WebDAV folders")


def packet_filter(snapshot: Snapshot) -> Iterator[Finding]:
    """Warn where systemd cannot keep builds from the networks around this machine."""
    if snapshot.is_foreground:
        return
    container = output_of("systemd-detect-virt", "--container").strip()
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists() or container not in ("", "none"):
        where = "in a container" if container not in ("", "none") else "without cgroup v2"
        text = (
            f"{where}, systemd filters no packets: the names in a lock file could lead a build to"
            " machines in the networks around this one"
        )
        yield Finding(WARNING, STACK, text, "# use a (virtual) machine with cgroup v2")


def confinement(snapshot: Snapshot) -> Iterator[Finding]:
    """Warn where nothing keeps programs of the stack from files, for a hub in the foreground."""
    if not snapshot.is_foreground:
        return
    if landlock.is_usable():
        yield Finding(OK, STACK, "Landlock keeps what fetches and unpacks from your files")
    else:
        text = (
            "this kernel has no Landlock, so nothing keeps what fetches and unpacks repositories"
            " from your files"
        )
        yield Finding(WARNING, STACK, text, "# use a kernel from 5.19 on, with Landlock")


def disk(snapshot: Snapshot) -> Iterator[Finding]:
    """Report what the environments take."""
    place = Place.of(snapshot.layout)
    if not (snapshot.is_root or snapshot.is_foreground) or not place.home.is_dir():
        return
    try:
        budget_gb = fragment.read(snapshot.layout).disk_gb
    except LittlestHubError:
        return  # `permissions` reports it
    taken_gb = size_bytes(place.home) / 1e9
    text = f"environments take {taken_gb:.1f} of {budget_gb:g} GB"
    if taken_gb > 1.1 * budget_gb:
        more = "; all are those of servers that people have"
        again = f"# more for DISK_GB in {snapshot.layout.fragments / fragment.FRAGMENT}"
        yield Finding(WARNING, STACK, text + more, again)
    else:
        yield Finding(OK, STACK, text)
