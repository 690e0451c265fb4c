"""Internal ports of the hub, reserved for systemd while its own sockets do not listen there.

The proxy sends every login page to the hub's port, so no user may take it while the hub is stopped.
A reserved port has a socket that is bound and does not listen, with SO_REUSEPORT. Only sockets of
the same user, root, can be bound beside it (socket(7)); systemd's are, with ReusePort=.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Sequence

from littlest_hub.helpers.held_ports import Place
from littlest_hub.system import sd_daemon

STORED = "reserved"
"""Name of the descriptors that systemd keeps."""


class ReservedPorts:
    """Ports that are reserved, or are going to be.

    Args:
        places: addresses and ports.
        stored: the sockets of the last guard.
    """

    def __init__(self, places: Sequence[Place], stored: Iterable[int]) -> None:
        kept = [socket.socket(fileno=descriptor) for descriptor in stored]
        self._sockets = [each for each in kept if each.getsockname()[:2] in places]
        held = {each.getsockname()[:2] for each in self._sockets}
        self._missing = [place for place in places if place not in held]
        if len(kept) > len(self._sockets):
            # The ports have changed: others may have the former ones.
            sd_daemon.forget(STORED)
            for each in self._sockets:
                sd_daemon.store(each.fileno(), STORED)

    def reserve(self) -> None:
        """Reserve the ports that are not reserved yet; another program may have one for a while."""
        for place in list(self._missing):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with contextlib.suppress(OSError):
                made.bind(place)
                self._sockets.append(made)
                self._missing.remove(place)
                sd_daemon.store(made.fileno(), STORED)
                continue
            made.close()
