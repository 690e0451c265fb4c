"""The end of `enable`: what the fragment permits, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import fragment, permissions


def after_enable(layout: Layout, _: EnabledStack) -> Iterator[str]:
    """Let resolver and builder have what the fragment says, and yield the next steps."""
    permissions.follow(layout)
    yield "People find it at /services/launch/, and as Launch in the bar at the top of each page."
    yield f"Which repositories, how much of the machine: {layout.fragments / fragment.FRAGMENT}"
