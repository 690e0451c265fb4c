"""The unit of the environment."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units.unit import Directive, Unit, base_directory_conditions


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the unit that makes the environment, and cleans up after a change that was killed."""
    conditions = base_directory_conditions(layout.base)
    yield Unit(
        layout.stack_unit(stack.name, "-environment.service"),
        "Makes the shared environment if there is none, and renews the kernel specs and programs"
        "\naround it.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: the environment"),
                Directive("RequiresMountsFor", str(layout.environments)),
                conditions[0],
            ],
            "Service": [
                Directive("Type", "oneshot"),
                Directive("RemainAfterExit", "yes"),
                Directive("ExecStart", f"{layout.hub}/bin/littlest-hub environment make"),
                Directive("UMask", "0022"),
                Directive("ProtectSystem", "strict"),
                Directive("ReadWritePaths", str(layout.base)),
                Directive("ProtectHome", "read-only"),
                Directive("PrivateTmp", "yes"),
                Directive("PrivateNetwork", "yes"),
                Directive("PrivateDevices", "yes"),
                Directive("NoNewPrivileges", "yes"),
                Directive(
                    "CapabilityBoundingSet",
                    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID",
                    "the trial of a kernel runs as a user without rights",
                ),
                Directive(
                    "RestrictAddressFamilies",
                    "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
                    "ZeroMQ aborts a kernel that cannot list the network's interfaces",
                ),
                Directive("SystemCallArchitectures", "native"),
            ],
            "Install": [Directive("WantedBy", "multi-user.target")],
        },
    )
