"""The units of the environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units.helpers import helper_service, helper_socket
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions

HELPER = "littlest_hub.stacks.classroom.environment.helper"
HELPER_TIMEOUT_S = 120
"""Limit for a request: before it switches, the helper removes what a killed change has left."""


def address_of(layout: Layout) -> Path:
    """Return the socket of the helper that switches generations."""
    return Path(f"/run/{layout.stack_unit('class', '-environment')}")


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the unit that makes the environment, and those of the helper that switches it."""
    yield _making(layout, stack)
    name = layout.stack_unit(stack.name, "-environment")
    yield helper_socket(layout, f"{name}.socket", str(address_of(layout)), "generations")
    service = helper_service(
        layout,
        f"{name}@.service",
        "Switches the shared environment to the generation whose number the hub names.",
        [HELPER],
        timeout_s=HELPER_TIMEOUT_S,
    )
    less = [
        *SANDBOX,
        Directive("ProtectSystem", "strict"),
        Directive("ReadWritePaths", f"-{layout.environments}"),
        Directive("PrivateNetwork", "yes"),
        Directive("RestrictAddressFamilies", "AF_UNIX"),
        Directive("CapabilityBoundingSet", ""),
        Directive(
            "CapabilityBoundingSet", "CAP_DAC_OVERRIDE", "directories of an overlay have mode 000"
        ),
    ]
    sections = {**service.sections, "Service": [*service.sections["Service"], *less]}
    yield replace(service, sections=sections)


def _making(layout: Layout, stack: EnabledStack) -> Unit:
    """Return the unit that makes the environment, and cleans up after a killed change."""
    conditions = base_directory_conditions(layout.base)
    return Unit(
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
