"""The place and the name of a base directory: what systemd units can have; no input or output."""

from __future__ import annotations

import re

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, RESERVED_SUFFIXES, Layout

# The last part of the base directory becomes part of unit names and of a system user's name.
# 20 characters: "lhub-" + name + "-proxy" has to fit the 31 that sysusers.d(5) allows.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?")
# Paths appear in units unquoted: no character that systemd.unit(5) splits at, expands or unquotes.
_PATH = re.compile(r"/[A-Za-z0-9._+/-]*")
# Directories that ProtectHome= and PrivateTmp= hide from our own services.
_HIDDEN = ("/home", "/root", "/run", "/tmp", "/var/tmp", "/dev", "/proc", "/sys")


def check(layout: Layout) -> None:
    """Refuse a base directory that cannot be in units, or that our services cannot see.

    Raises:
        LittlestHubError: its name or its place.
    """
    if not _PATH.fullmatch(str(layout.base)) or ".." in layout.base.parts:
        raise LittlestHubError(
            f"base directory {str(layout.base)!r}: only letters, digits and . _ + - / may be in"
            " the path, since it stands in systemd units",
            f"Choose another, such as {DEFAULT_BASE}",
        )
    if not _NAME.fullmatch(layout.name):
        raise LittlestHubError(
            f"base directory {layout.base}: its last part names the units and a system user, so"
            " it has to be 1 to 20 lower-case letters, digits and inner dashes,"
            f" not {layout.name!r}",
            f"Choose another, such as {DEFAULT_BASE} or /srv/physics",
        )
    # systemd.slice(5): systemd puts a-users-b.slice inside a-users.slice, so a hub named a-users-b
    # would have its servers in the slice of hub a.
    if layout.instance.endswith(RESERVED_SUFFIXES) or "-users-" in f"{layout.instance}-":
        raise LittlestHubError(
            f"base directory {layout.base}: {layout.instance!r} is reserved for the units that"
            " belong to another hub",
            "Choose another last part",
        )
    for hidden in _HIDDEN:
        if layout.base.is_relative_to(hidden):
            raise LittlestHubError(
                f"base directory {layout.base}: the sandbox of the services hides {hidden}",
                f"Choose another, such as {DEFAULT_BASE}; or install as an ordinary user",
            )
