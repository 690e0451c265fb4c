"""The units of root's helper for volumes of groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import STACK
from littlest_hub.units.helpers import helper_service, helper_socket
from littlest_hub.units.unit import SANDBOX, Directive, Unit

MODULE = "littlest_hub.stacks.launch.group_volumes.helper"
TIMEOUT_S = 3600
"""Limit for the removal of files; the next request goes on with it."""
_REPLACED = ("CapabilityBoundingSet", "SystemCallFilter", "LockPersonality", "RestrictRealtime")


def address_of(layout: Layout) -> Path:
    """Return the helper's socket."""
    return Path(f"/run/{layout.stack_unit(STACK, '-volumes')}")


def units(layout: Layout) -> Iterator[Unit]:
    """Yield the socket and the service of the helper."""
    name = layout.stack_unit(STACK, "-volumes")
    yield helper_socket(layout, f"{name}.socket", str(address_of(layout)), "volumes of groups")
    found = helper_service(
        layout,
        f"{name}@.service",
        "Makes or deletes a volume of a group of the hub, for somebody at the launch page.",
        [MODULE],
        timeout_s=TIMEOUT_S,
    )
    others = {each.key for each in SANDBOX} | {*_REPLACED}
    kept = [each for each in found.sections["Service"] if each.key not in others]
    less = [
        *SANDBOX,
        Directive("ProtectSystem", "strict"),
        Directive("ReadWritePaths", "/srv"),
        Directive("ProtectProc", "invisible"),
        Directive("PrivateNetwork", "yes"),
        Directive("RestrictAddressFamilies", "AF_UNIX"),
        Directive("MemoryDenyWriteExecute", "yes"),
        Directive("SystemCallFilter", "@system-service"),
        Directive("SystemCallFilter", "~@resources @privileged"),
        Directive("CapabilityBoundingSet", ""),
        Directive(
            "CapabilityBoundingSet",
            "CAP_DAC_OVERRIDE CAP_FOWNER",
            "it removes files of people, whatever their modes are",
        ),
        Directive("UMask", "0077"),
        Directive("Nice", "10"),
    ]
    unit = [*found.sections["Unit"], Directive("RequiresMountsFor", "/srv")]
    yield replace(found, sections={**found.sections, "Unit": unit, "Service": [*kept, *less]})
