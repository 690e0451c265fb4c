"""Names of guests, by which they are known everywhere."""

from __future__ import annotations

import re
import secrets

_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
_NAME = re.compile(rf"guest-[{_LETTERS}]{{12}}")
GROUP = "guests"
"""Stands for guests in the lists of a volume; "*" does not include them."""


def new() -> str:
    """Return a name that nobody has."""
    return "guest-" + "".join(secrets.choice(_LETTERS) for _ in range(12))


def is_guest(name: str) -> bool:
    """Return whether somebody with this name is a guest."""
    return bool(_NAME.fullmatch(name))
