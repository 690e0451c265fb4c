"""The units of the service, which has the sockets of the resolver and the starter in its view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch.builder import units as builder_units
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.pages import VARIABLES
from littlest_hub.stacks.launch.resolver import units as resolver
from littlest_hub.units.stack import web_service
from littlest_hub.units.unit import Directive, Unit

_PAGES = "littlest_hub.stacks.launch.pages"


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the socket and the unit of the service."""
    about = "The pages at which people launch repositories."
    service = layout.stack_unit(stack.name, ".service")
    for unit in web_service(layout, stack, _PAGES, about):
        yield _with_view(layout, stack, unit) if unit.name == service else unit


def _with_view(layout: Layout, stack: EnabledStack, unit: Unit) -> Unit:
    """Return the service's unit with the sockets and files of the other programs in its view."""
    # In its own view of state/, where directories are made for it: only root may enter the real
    # ones.
    here = layout.stacks / stack.name
    sockets = {"resolver": resolver.address_of(layout), "starter": builder_units.address_of(layout)}
    paths = {name: here / f"{name}.socket" for name in sockets}
    sources = resolver.sources_of(layout)
    place = Place.of(layout)
    paths |= {"sources": sources, "logs": place.logs, "results": place.results}
    needed = " ".join(layout.stack_unit(stack.name, f"-{name}.socket") for name in sockets)
    more = [
        *(Directive("BindPaths", f"{real}:{paths[name]}") for name, real in sockets.items()),
        Directive("BindReadOnlyPaths", str(sources)),
        Directive("LimitCORE", "0", "its memory may contain tokens of people"),
        *(Directive("Environment", f"{VARIABLES[name]}={path}") for name, path in paths.items()),
    ]
    sections = {
        **unit.sections,
        "Unit": [
            *unit.sections["Unit"],
            Directive("Requires", needed, "a new socket has to be bound again"),
            Directive("After", needed),
            *resolver.needs_sources(layout),
        ],
        "Service": [*unit.sections["Service"], *more],
    }
    return replace(unit, sections=sections)
