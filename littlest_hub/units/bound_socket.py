"""Sockets of stacks' programs, which other units of the stack have in their view.

The users of these units have no fixed numbers, so none could own a socket. Only root may enter its
directory; whoever else may connect has the socket bound into its view of the file system.
"""

from __future__ import annotations

from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.units.unit import Directive, Unit, base_directory_conditions


def directory_of(name: str) -> Path:
    """Return the directory of a socket, which systemd makes and does not remove.

    Args:
        name: of the socket's unit, without its suffix.
    """
    return Path("/run") / name


def bound_socket(layout: Layout, name: str, what: str, most: int, *, why: str = "") -> Unit:
    """Return the socket /run/NAME/socket; systemd starts NAME@.service for each connection.

    Args:
        layout: the installation.
        name: of its unit, without its suffix.
        what: what it takes, for people.
        most: the most connections at the same time.
        why: the reason for `most`; "": systemd closes further ones.
    """
    return Unit(
        f"{name}.socket",
        f"Takes {what}. Only root may enter its directory: who else may connect has the socket"
        "\nbound into its view of the file system, since its user has no fixed number.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: {what}"),
                Directive("RequiresMountsFor", str(layout.base)),
                base_directory_conditions(layout.base)[0],
            ],
            "Socket": [
                Directive("ListenStream", str(directory_of(name) / "socket")),
                Directive("DirectoryMode", "0700"),
                Directive("SocketMode", "0666"),
                Directive("Accept", "yes"),
                Directive("MaxConnections", str(most), why or "systemd closes further ones"),
                Directive("TriggerLimitIntervalSec", "0", "never give up"),
                Directive("RemoveOnStop", "yes"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )
