"""The units of the stack: the pages, and the sampler."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units.stack import program, web_service
from littlest_hub.units.unit import Unit

SAMPLER = "-sampler"
_PACKAGE = "littlest_hub.stacks.stats"


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the socket and the service of the pages, and the service of the sampler."""
    yield from web_service(layout, stack, f"{_PACKAGE}.pages", "The pages with statistics.")
    about = "Counts people and servers every minute, and measures servers."
    yield from program(layout, stack, SAMPLER, f"{_PACKAGE}.sampler", about)
