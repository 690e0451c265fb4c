"""The address of a WebDAV folder, as somebody has typed it: judged, and in its one spelling."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import repository
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.volumes import SHOWN

PLACE = SHOWN / "WebDAV"
"""The directory in which a server sees the folder; names of volumes are lower case."""
_SUCH_AS = "expected such as https://cloud.example.org/remote.php/dav/files/alice/data"
_KEPT = "/~!$&'()*+,;=:@"


def checked(text: str, policy: Policy) -> str:
    """Return the address of a folder in its one spelling; "" for "".

    Args:
        text: as somebody has typed it.
        policy: hosts that are not public and may be connected to, and those that may not.

    Raises:
        LittlestHubError: there can be no such folder, or it may not be connected to.
    """
    text = text.strip()
    if not text:
        return ""
    if "@" in text.partition("://")[2].partition("/")[0]:
        # It is not repeated, since it may contain a password.
        raise LittlestHubError("expected an address without a name or a password in it")
    if len(text) > repository.LONGEST_ADDRESS or re.search(r"[?#\\]", text):
        raise LittlestHubError(f"found {text[:80]!r}, {_SUCH_AS}")
    start, path = _parted(text)
    address = repository.web_address(f"{start}/{path or 'x'}", policy)
    return address if path else address.removesuffix("x")


def place_of(address: str) -> tuple[str, int]:
    """Return host and port of an address that `checked` has returned."""
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or 443


def _parted(text: str) -> tuple[str, str]:
    """Return the start of an address, and its path without slashes at its ends."""
    scheme, _, rest = text.partition("://")
    authority, _, path = rest.partition("/")
    try:
        plain = unquote(path, errors="strict")
    except UnicodeDecodeError:
        plain = "\0"  # no text, which is refused below
    names = [each for each in plain.split("/") if each]
    if not plain.isprintable() or {".", ".."}.intersection(names):
        raise LittlestHubError(f"found {text[:80]!r}, {_SUCH_AS}")
    return f"{scheme.lower()}://{authority}", quote("/".join(names), safe=_KEPT)
