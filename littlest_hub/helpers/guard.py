"""The guard: it holds the ports of user servers, and keeps shared resources available.

It runs as root, with three capabilities, and makes and accepts no connection of the network; only
the hub can connect to it. Its arguments are addresses to reserve. A request is one line of JSON,
and so is the answer. The sockets that it holds survive it: systemd keeps a copy of each ("FDSTORE"
in sd_notify(3)).
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time

from littlest_hub import installation
from littlest_hub.helpers.held_ports import HeldPorts, Place, Target
from littlest_hub.helpers.reserved_ports import STORED, ReservedPorts
from littlest_hub.helpers.shared_resources import RESOURCES, relieve
from littlest_hub.system import sd_daemon
from littlest_hub.units.guard import CONTROL, ONLY_OWN

LIMIT_BYTES = 1 << 22
"""Longest request: some 40,000 ports."""
_REQUEST_TIMEOUT_S = 2
_WATCH_INTERVAL_S = 1


def main() -> None:
    """Serve until systemd ends this process."""
    layout = installation.of_this_release()
    selector = selectors.DefaultSelector()
    servers = _pattern(rf"{re.escape(layout.instance)}\.user[-@][^/]*\.service")
    hub = _pattern(re.escape(layout.hub_service))
    # A hub that is not root must not keep other services from listening.
    is_restricted = sys.argv[1:2] == [ONLY_OWN]
    of_this_hub = [servers, hub] if is_restricted else [re.compile("")]
    ports = HeldPorts(selector, layout.held_ports, of_this_hub)
    inherited = sd_daemon.inherited_sockets()
    control = next(each.duplicate() for each in inherited if each.name == CONTROL)
    stored = [each.fd for each in inherited if each.name == STORED]
    addresses = sys.argv[2:] if is_restricted else sys.argv[1:]
    reserved = ReservedPorts([_place(word) for word in addresses], stored)
    reserved.reserve()
    ports.restore(each.fd for each in inherited if each.name not in (CONTROL, STORED))
    selector.register(control, selectors.EVENT_READ, lambda: serve(control, ports))
    sd_daemon.notify("READY=1")
    next_watch = 0.0
    while True:
        for key, _ in selector.select(max(0, next_watch - time.monotonic())):
            key.data()
        if time.monotonic() >= next_watch:
            relieve(RESOURCES, servers)
            reserved.reserve()
            next_watch = time.monotonic() + _WATCH_INTERVAL_S


def _place(address: str) -> Place:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _pattern(unit: str) -> re.Pattern[str]:
    """Return a pattern of the cgroups in a unit of the system."""
    # Users have units too, of their own systemd, with any names.
    return re.compile(rf"(?!.*/user@).*/{unit}(/|$)")


def serve(control: socket.socket, ports: HeldPorts) -> None:
    """Answer one request of the hub."""
    connection, _ = control.accept()
    with connection:
        try:
            request = json.loads(_line(connection))
            refused = ports.update(
                [Target(*each) for each in request["hold"]],
                [(address, port) for address, port in request["release"]],
                is_all=request["is_all"],
            )
            connection.settimeout(_REQUEST_TIMEOUT_S)
            connection.sendall(json.dumps(refused).encode() + b"\n")
        except Exception as error:
            # No request may end the guard: the hub may have been taken over.
            reason = f"{type(error).__name__}: {error}"[:200]  # not the request, of any length
            print(f"<4>A request that cannot be served: {reason}", flush=True)


def _line(connection: socket.socket) -> bytes:
    """Return a line of the hub's, which gets no more time if it comes in small pieces.

    Raises:
        TimeoutError: it takes too long.
    """
    deadline = time.monotonic() + _REQUEST_TIMEOUT_S
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < LIMIT_BYTES:
        if (left_s := deadline - time.monotonic()) <= 0:
            raise TimeoutError("it takes too long")
        connection.settimeout(left_s)
        if not (received := connection.recv(1 << 16)):
            break
        line += received
    return bytes(line)


if __name__ == "__main__":
    main()
