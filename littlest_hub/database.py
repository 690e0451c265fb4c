"""The hub's database: its copies and its schema."""

from __future__ import annotations

from littlest_hub.layout import Layout


def prepare(layout: Layout) -> None:
    """Have the database in the schema of this release, keeping a copy of an older one.

    Raises:
        LittlestHubError: it is damaged, or of a later release.
    """
