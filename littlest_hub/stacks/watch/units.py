"""The units of watch: the look, and the timer that starts it."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units.stack import calendar_timer
from littlest_hub.units.unit import Directive, Unit, base_directory_conditions


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the timer and the service."""
    conditions = base_directory_conditions(layout.base)
    program = f"{layout.hub}/bin/python3 -I -m littlest_hub.stacks.watch.look"
    yield Unit(
        layout.stack_unit(stack.name, ".service"),
        "The look at the hub, which its timer starts every day.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: the daily look"),
                Directive("After", f"network-online.target {layout.hub_service}"),
                Directive("RequiresMountsFor", str(layout.base)),
                conditions[0],
            ],
            "Service": [
                Directive("Type", "oneshot"),
                conditions[1],
                Directive("ExecStart", program, "as root: it sees what `sudo doctor` sees"),
                Directive("TimeoutStartSec", "10min"),
                Directive("Nice", "10"),
                # Mail programs change their user and write to a spool, so they keep that right.
                Directive("ProtectHome", "read-only", "it changes nothing but its own record"),
                Directive("PrivateTmp", "yes"),
                Directive("ProtectKernelModules", "yes"),
                Directive("ProtectKernelTunables", "yes"),
                Directive("ProtectControlGroups", "yes"),
                Directive("ProtectClock", "yes"),
                Directive("RestrictRealtime", "yes"),
                Directive("SystemCallArchitectures", "native"),
                Directive("MemoryMax", "512M"),
            ],
        },
    )
    about = (
        "When the hub is looked at. A machine that was off then is looked at when it is on again."
    )
    name = layout.stack_unit(stack.name, "")
    yield calendar_timer(layout, name, about, "every day", "*-*-* 06:30", "30min")
