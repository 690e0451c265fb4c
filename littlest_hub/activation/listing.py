"""Stacks and fragments: what there is, and what of it is enabled."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.fragments import catalogue
from littlest_hub.fragments.catalogue import Entry
from littlest_hub.installation import active_overlay
from littlest_hub.layout import Layout
from littlest_hub.manifest import enabled
from littlest_hub.manifest.discovery import Stack, stacks_of
from littlest_hub.manifest.enabled import EnabledStack


def entries(layout: Layout, prefix: Path) -> Iterator[Entry]:
    """Yield stacks, then fragments that belong to no stack."""
    stacks, unusable = stacks_of(active_overlay(layout, prefix))
    known = enabled.read(layout)
    for name in sorted({*stacks, *known}):
        state = "enabled" if name in known else "available"
        title = stacks[name].manifest.title if name in stacks else "not in this release"
        yield Entry(name, title, "stack", state)
    for error in unusable:
        yield Entry("", str(error), "stack", "unusable")
    of_stacks = {each for stack in stacks.values() for each in stack.manifest.fragments}
    for entry in catalogue.entries(layout):
        if entry.name not in of_stacks or entry.kind == "ignored":
            yield entry


def find(layout: Layout, prefix: Path, name: str) -> Stack | None:
    """Return the stack that a name, or the name of one of its fragments, stands for.

    Raises:
        LittlestHubError: there is neither a stack nor a fragment of about this name.
    """
    stacks, unusable = stacks_of(active_overlay(layout, prefix))
    for stack in stacks.values():
        if name == stack.name or f"{name.removesuffix('.py')}.py" in stack.manifest.fragments:
            return stack
    if broken := [each for each in unusable if f"stack {name} " in each.message]:
        raise broken[0]
    fragments = {entry.name.removesuffix(".py") for entry in catalogue.entries(layout)}
    close = difflib.get_close_matches(name, [*stacks], n=1)
    if close and not any(each == name or each.endswith(f"-{name}") for each in fragments):
        raise LittlestHubError(f"there is no stack {name!r} here", f"Did you mean {close[0]}?")
    return None


def find_enabled(
    layout: Layout, prefix: Path, name: str
) -> tuple[EnabledStack, Stack | None, list[Stack]] | None:
    """Return how a stack was enabled, what the release has of it, and the other enabled stacks.

    None: no stack of this name, or with a fragment of it, is enabled.
    """
    known = enabled.read(layout)
    stacks, _ = stacks_of(active_overlay(layout, prefix))
    for how in known.values():
        if name == how.name or f"{name.removesuffix('.py')}.py" in how.fragments:
            others = [stacks[each] for each in known if each != how.name and each in stacks]
            return how, stacks.get(how.name), others
    return None
