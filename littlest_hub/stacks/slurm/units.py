"""The units of root's helper for jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.slurm.commands import TIMEOUT_S
from littlest_hub.units.helpers import helper_service, helper_socket
from littlest_hub.units.unit import SANDBOX, Directive, Unit

HELPER = "littlest_hub.stacks.slurm.helper"
HELPER_TIMEOUT_S = 4 * TIMEOUT_S
"""The longest request has three commands."""


def address_of(layout: Layout) -> Path:
    """Return the socket of the helper."""
    return Path(f"/run/{layout.stack_unit('slurm', '-jobs')}")


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the socket and the service of the helper."""
    name = layout.stack_unit(stack.name, "-jobs")
    yield helper_socket(layout, f"{name}.socket", str(address_of(layout)), "jobs")
    service = helper_service(
        layout,
        f"{name}@.service",
        "Submits and cancels jobs of the hub's users as these users (runuser), and prolongs jobs as"
        "\nroot (scontrol), if a fragment has prolong_hours.",
        [HELPER],
        timeout_s=HELPER_TIMEOUT_S,
    )
    less = [
        *SANDBOX,
        Directive("ProtectSystem", "strict"),
        Directive(
            "RestrictAddressFamilies",
            "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
            "munge and slurmctld; directory services",
        ),
        Directive("CapabilityBoundingSet", ""),
        Directive("CapabilityBoundingSet", "CAP_SETUID CAP_SETGID"),
    ]
    sections = {**service.sections, "Service": [*service.sections["Service"], *less]}
    yield replace(service, sections=sections)
