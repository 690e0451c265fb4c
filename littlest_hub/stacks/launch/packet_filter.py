"""The packet filter of units that reach only the internet (systemd.resource-control(5))."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.stacks.launch import address
from littlest_hub.units.unit import Directive


def denied(why: str) -> Iterator[Directive]:
    """Deny all networks that do not belong to the internet.

    Args:
        why: the comment above them.
    """
    for network in address.denied():
        yield Directive("IPAddressDeny", str(network), why)
        why = ""
