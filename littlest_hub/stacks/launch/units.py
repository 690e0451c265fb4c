"""The units of the launch stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch.builder import units as builder
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.fragment import FRAGMENT
from littlest_hub.stacks.launch.group_volumes import units as group_volumes
from littlest_hub.stacks.launch.resolver import settings
from littlest_hub.stacks.launch.resolver import units as resolver
from littlest_hub.stacks.launch.service import units as service
from littlest_hub.stacks.launch.webdav import units as webdav
from littlest_hub.system.addresses import nameservers
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions

_PERMISSIONS = "littlest_hub.stacks.launch.permissions"


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the units of each part of the stack.

    Raises:
        LittlestHubError: the resolver's settings are damaged.
    """
    permitted = settings.read(layout.on_disk(resolver.settings_of(layout)))
    networks, channels = permitted.networks, Channels(permitted.channels)
    yield from service.units(layout, stack)
    yield from resolver.units(layout, stack, networks)
    yield from builder.units(layout, stack, networks, nameservers(), channels)
    yield from group_volumes.units(layout)
    yield from webdav.units(layout, networks, nameservers())
    yield from _permissions(layout, layout.stack_unit(stack.name, "-permissions"))


def watched(layout: Layout) -> tuple[Path, Path]:
    """Return the files of which root's program follows each change."""
    return layout.fragments / FRAGMENT, Path("/etc/resolv.conf")


def _permissions(layout: Layout, name: str) -> Iterator[Unit]:
    """Yield the unit that follows the fragment, and the one that notices its changes."""
    conditions = base_directory_conditions(layout.base)
    yield Unit(
        f"{name}.path",
        "Notices that the fragment, or the machine's name servers, have changed.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: changes of {FRAGMENT}"),
                conditions[0],
            ],
            "Path": [Directive("PathChanged", str(each)) for each in watched(layout)],
            "Install": [Directive("WantedBy", "paths.target")],
        },
    )
    about = "Writes what the fragment permits to resolver and builder, which the hub cannot decide."
    start = {"Install": [Directive("WantedBy", "multi-user.target")]}
    yield _writer(
        layout,
        f"{name}.service",
        about,
        [
            Directive("Type", "exec", "what starts it may be the change that it waits for"),
            Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {_PERMISSIONS}"),
            Directive("RuntimeMaxSec", "30min"),
        ],
        start,
    )
    yield _writer(
        layout,
        builder.kept_unit(layout),
        "Writes which environments cleaning has to keep.",
        [
            Directive("Type", "oneshot"),
            Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {_PERMISSIONS} cleaning"),
            Directive("TimeoutStartSec", "60"),
        ],
    )


def _writer(
    layout: Layout,
    name: str,
    about: str,
    command: list[Directive],
    more: Mapping[str, list[Directive]] | None = None,
) -> Unit:
    """Return a unit of root's that writes settings."""
    conditions = base_directory_conditions(layout.base)
    return Unit(
        name,
        about,
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: what {FRAGMENT} permits"),
                Directive("RequiresMountsFor", str(layout.base)),
                Directive(
                    "StartLimitIntervalSec",
                    "0",
                    "its .path unit would fail for good",
                ),
                conditions[0],
            ],
            "Service": [
                *command,
                conditions[1],
                Directive("MemoryMax", "256M"),
                Directive("TasksMax", "16"),
                Directive("CapabilityBoundingSet", ""),
                Directive("CapabilityBoundingSet", "CAP_DAC_OVERRIDE CAP_FOWNER CAP_CHOWN"),
                Directive("ProtectSystem", "strict"),
                Directive("ReadWritePaths", f"/etc/systemd {layout.base}"),
                Directive("PrivateNetwork", "yes"),
                Directive("RestrictAddressFamilies", "AF_UNIX", "systemd's own socket"),
                Directive("ProtectProc", "invisible"),
                Directive("MemoryDenyWriteExecute", "yes"),
                *SANDBOX,
                Directive("SystemCallFilter", "@system-service"),
                Directive("SystemCallFilter", "~@resources"),
            ],
            **(more or {}),
        },
    )
