"""The end of `enable`: what the fragment permits, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.activation.plan import is_in_foreground
from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import fragment, permissions


def after_enable(layout: Layout, _: EnabledStack) -> Iterator[str]:
    """Let resolver and builder have what the fragment says, and yield the next steps.

    A hub in the foreground does the first itself, at each start.
    """
    file = layout.fragments / fragment.FRAGMENT
    if is_in_foreground(layout):
        yield f"Start the hub, or end it and start it again: {layout.command} run"
        yield "You find it at /services/launch/, and as Launch in the bar at the top of each page."
        yield f"Which repositories, from where: {file}"
        return
    permissions.follow(layout)
    yield "People find it at /services/launch/, and as Launch in the bar at the top of each page."
    yield f"Which repositories, how much of the machine: {file}"
