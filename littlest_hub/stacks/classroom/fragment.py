"""Plain values at the top of the stack's fragment, which root reads without running it."""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.manifest import plain_values
from littlest_hub.manifest.plain_values import Checked

FRAGMENT = "60-class.py"


def read(layout: Layout, record: type[Checked]) -> Checked:
    """Return the record of values in the fragment on disk.

    Raises:
        LittlestHubError: there is no such fragment, or a value cannot be used.
    """
    return plain_values.read(layout, FRAGMENT, record)
