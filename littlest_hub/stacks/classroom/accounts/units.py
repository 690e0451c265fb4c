"""The units of root's helper for accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.classroom.accounts import sudo
from littlest_hub.stacks.classroom.accounts.table import STACK
from littlest_hub.units.helpers import HOOK_TIMEOUT_S, helper_service, helper_socket
from littlest_hub.units.unit import Directive, Unit

MODULE = "littlest_hub.stacks.classroom.accounts.helper"


def address_of(layout: Layout) -> Path:
    """Return the helper's socket."""
    return Path(f"/run/{layout.stack_unit(STACK, '-accounts')}")


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the socket and the service of the helper."""
    name = layout.stack_unit(stack.name, "-accounts")
    socket = helper_socket(layout, f"{name}.socket", str(address_of(layout)), "accounts")
    why = "without this socket, nobody could be told that they are no administrator any more"
    remove = f"-/bin/rm -f {sudo.link_of(layout)} {sudo.file_of(layout)}"
    ends = [Directive("ExecStartPre", remove, why), Directive("ExecStopPost", remove)]
    yield replace(
        socket, sections={**socket.sections, "Socket": [*socket.sections["Socket"], *ends]}
    )
    yield helper_service(
        layout,
        f"{name}@.service",
        "Makes the account of somebody who has logged in to the hub, and lets administrators of"
        "\nthe hub use sudo.",
        [MODULE],
        timeout_s=HOOK_TIMEOUT_S + 60,
    )
