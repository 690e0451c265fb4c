"""The units that measure the disk of each person."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units.stack import timer
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions

MODULE = "littlest_hub.stacks.classroom.page.disk"


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the service and its timer."""
    name = layout.stack_unit(stack.name, "-disk")
    yield Unit(
        f"{name}.service",
        "Counts the files in people's homes, for the teacher's page.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: disk of each person"),
                Directive("RequiresMountsFor", str(layout.base)),
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [*_service(layout, stack)],
        },
    )
    yield timer(
        layout,
        name,
        f"When {name}.service runs.",
        "every hour",
        Directive("OnActiveSec", "1min"),
        Directive("OnUnitInactiveSec", "1h"),
        Directive("RandomizedDelaySec", "30s"),
    )


def _service(layout: Layout, stack: EnabledStack) -> Iterator[Directive]:
    yield Directive("Type", "oneshot")
    yield base_directory_conditions(layout.base)[1]
    yield Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {MODULE}")
    yield Directive("TimeoutStartSec", "2h")
    yield Directive("Nice", "19")
    yield Directive("IOSchedulingClass", "idle")
    yield Directive("MemoryMax", "512M")
    yield Directive("TasksMax", "16")
    yield from (each for each in SANDBOX if each.key != "ProtectHome")
    yield Directive("ProtectHome", "read-only", "it counts what is there")
    yield Directive("ProtectSystem", "strict")
    yield Directive("ReadWritePaths", str(layout.stacks / stack.name))
    yield Directive(
        "CapabilityBoundingSet", "CAP_DAC_READ_SEARCH", "homes that only their owners can enter"
    )
    yield Directive("PrivateNetwork", "yes")
    yield Directive("RestrictAddressFamilies", "AF_UNIX", "accounts of directory services")
    yield Directive("SystemCallFilter", "@system-service")
    yield Directive("SystemCallFilter", "~@privileged @resources")
