"""The people whom a configuration lets into its server."""

from __future__ import annotations

import re

from littlest_hub.errors import LittlestHubError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")


def checked(text: str, most: int) -> str:
    """Return names of users in their one spelling and order.

    Args:
        text: names with spaces or commas between.
        most: how many there may be; 0: nobody may be let in at this hub.

    Raises:
        LittlestHubError: one is no name, or there are too many.
    """
    names = {*text.replace(",", " ").split()}
    if names and not most:
        raise LittlestHubError("servers cannot be shared at this hub; expected nothing")
    for name in sorted(names):
        if not _NAME.fullmatch(name):
            raise LittlestHubError(f"found {name[:40]!r}, expected names of users of this hub")
    if len(names) > most:
        raise LittlestHubError(f"found {len(names)} names, expected at most {most}")
    return " ".join(sorted(names))
