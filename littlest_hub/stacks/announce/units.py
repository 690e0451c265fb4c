"""The units of announce."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units.stack import web_service
from littlest_hub.units.unit import Unit


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the socket and the service of the page."""
    module = "littlest_hub.stacks.announce.pages"
    yield from web_service(layout, stack, module, "The page at which announcements are written.")
