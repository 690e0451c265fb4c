"""The units that mount WebDAV folders: one for each folder, and one for its proxy."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import STACK, packet_filter
from littlest_hub.stacks.launch.resolver.units import settings_of
from littlest_hub.stacks.launch.webdav import carrier, mounting, order, program
from littlest_hub.units.bound_socket import bound_socket, directory_of
from littlest_hub.units.unit import WITHOUT_RIGHTS, Directive, Unit, base_directory_conditions

_MOST = 200
_OUTSIDE = "/usr/bin/nsenter --target 1 --mount"
"""Runs a command among the mounts of the machine (nsenter(1))."""
_START_S = 60


def units(
    layout: Layout, networks: Collection[str] = (), nameservers: Collection[str] = ()
) -> Iterator[Unit]:
    """Yield the units.

    Args:
        layout: the installation.
        networks: networks that are not of the internet, and in which folders may be.
        nameservers: addresses at which names are asked; they need not be public.
    """
    name, reach = order.name_of(layout), f"{order.name_of(layout)}-reach"
    yield Unit(
        f"{name}@.service",
        "Mounts a WebDAV folder of a person for one server, which needs it and ends it.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: a WebDAV folder"),
                Directive("StopWhenUnneeded", "yes", "it ends with the server"),
                Directive("Wants", f"{reach}.socket", "a stop of it must end no mount"),
                Directive("After", f"{reach}.socket"),
                Directive("StartLimitIntervalSec", "0"),
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [*_mount(layout, reach)],
        },
    )
    yield bound_socket(layout, reach, "the addresses of WebDAV folders", _MOST)
    yield Unit(
        f"{reach}@.service",
        "Carries what goes to the server of one WebDAV folder, and comes from it.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: way to a WebDAV folder"),
                Directive("CollectMode", "inactive-or-failed"),
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [*_carrier(layout), *_network((*networks, *nameservers))],
        },
    )


def _mount(layout: Layout, reach: str) -> Iterator[Directive]:
    python = f"{layout.hub}/bin/python3 -I -m"
    mount, socket = order.mounts_of(layout) / "%i", directory_of(reach) / "socket"
    file = order.file_of(layout, "%i")
    yield base_directory_conditions(layout.base)[1]
    yield Directive("Type", "notify")
    yield Directive("NotifyAccess", "all", "root's part passes on device and order")
    yield Directive("FileDescriptorStoreMax", "2")
    yield Directive(
        "ExecStartPre",
        f"+{_OUTSIDE} {python} {mounting.MODULE} {mount} {file}",
        "a mount in this unit's view would be seen by nobody else",
    )
    yield Directive("ExecStart", f"{python} {program.MODULE} {socket} {settings_of(layout)}")
    yield Directive(
        "ExecStopPost", f"-+{_OUTSIDE} /bin/umount --internal-only --force --lazy {mount}"
    )
    yield Directive("ExecStopPost", f"-+{_OUTSIDE} /bin/rmdir {mount}")
    yield Directive("StandardOutput", "journal")
    yield Directive("TimeoutStartSec", str(_START_S))
    yield Directive("KillSignal", "SIGKILL", "nothing of it is to be saved")
    yield Directive("SuccessExitStatus", "SIGKILL")
    yield Directive("TimeoutStopSec", "10")
    yield Directive("LimitCORE", "0", "its memory contains a password")
    yield Directive("DynamicUser", "yes", "a user that exists as long as it runs")
    yield Directive("MemoryMax", "512M")
    yield Directive("TasksMax", "64")
    yield Directive("DeviceAllow", "/dev/fuse rw", "for root's part")
    yield Directive("TemporaryFileSystem", f"{layout.state}:ro", "it sees only what follows")
    yield Directive("BindReadOnlyPaths", f"-{settings_of(layout)}")
    yield Directive("TemporaryFileSystem", "/run:ro,mode=0755,size=1M")
    yield Directive("BindPaths", str(socket))
    yield Directive("BindReadOnlyPaths", "-/run/systemd/notify")
    yield Directive("InaccessiblePaths", f"-{layout.fragments}")
    yield Directive("ProcSubset", "pid")
    yield Directive("PrivateNetwork", "yes", "a loopback interface of its own, and no other")
    yield Directive("RestrictAddressFamilies", "AF_UNIX AF_INET")
    yield Directive("KeyringMode", "private")
    yield from WITHOUT_RIGHTS
    yield Directive("SystemCallFilter", "~@privileged @resources")


def _carrier(layout: Layout) -> Iterator[Directive]:
    file = settings_of(layout)
    yield base_directory_conditions(layout.base)[1]
    yield Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {carrier.MODULE} {file}")
    yield Directive("StandardInput", "socket")
    yield Directive("StandardOutput", "null")
    yield Directive("StandardError", "journal")
    yield Directive("TimeoutStopSec", "5")
    yield Directive("DynamicUser", "yes", "a user that exists as long as it runs")
    yield Directive("User", layout.dynamic_user(f"stack {STACK} webdav"))
    yield Directive("MemoryMax", "128M")
    yield Directive("TasksMax", "64")
    yield Directive("TemporaryFileSystem", f"{layout.state}:ro", "it sees only what follows")
    yield Directive("BindReadOnlyPaths", f"-{file}")
    yield Directive("InaccessiblePaths", f"-{layout.fragments}")
    yield Directive("KeyringMode", "private")
    yield from WITHOUT_RIGHTS
    yield Directive("SystemCallFilter", "~@privileged @resources")


def _network(allowed: Collection[str]) -> Iterator[Directive]:
    yield Directive(
        "RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK", "netlink: getaddrinfo(3)"
    )
    yield from packet_filter.denied("a second lock: the program judges each address itself")
    for text in allowed:
        yield Directive("IPAddressAllow", text)
