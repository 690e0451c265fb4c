"""The units of the class stack."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.classroom.accounts import units as accounts
from littlest_hub.stacks.classroom.environment import units as environment
from littlest_hub.stacks.classroom.page import units as page
from littlest_hub.units.unit import Unit


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the units of each part of the stack."""
    yield from accounts.units(layout, stack)
    yield from environment.units(layout, stack)
    yield from page.units(layout, stack)
