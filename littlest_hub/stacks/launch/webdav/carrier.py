"""The proxy of one folder: the only way out of the network namespace in which rclone runs.

    python -m littlest_hub.stacks.launch.webdav.carrier SETTINGS

Standard input is the connection of the unit that mounts the folder. It sends the address of the
folder, and the socket at which it expects its proxy, which lives as long as this connection. So
where rclone gets, also by a redirect, does not depend on a packet filter.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import address
from littlest_hub.stacks.launch.code.proxy import Proxy, Reach
from littlest_hub.stacks.launch.resolver import settings
from littlest_hub.stacks.launch.resolver.settings import Settings
from littlest_hub.stacks.launch.webdav import folder

MODULE = "littlest_hub.stacks.launch.webdav.carrier"
_TIMEOUT_S = 20
_LIMIT_BYTES = 4096


def main() -> None:
    """Be the proxy of the unit that has connected."""
    permitted = settings.read(Path(sys.argv[1]))
    with socket.socket(fileno=os.dup(0)) as connection:
        connection.settimeout(_TIMEOUT_S)
        serve(connection, permitted)


def serve(connection: socket.socket, permitted: Settings) -> None:
    """Carry what a unit sends to the server of its folder, until it has ended.

    Args:
        connection: of the unit.
        permitted: what the administrator permits.
    """
    data, descriptors, _, _ = socket.recv_fds(connection, _LIMIT_BYTES, 1)
    if not descriptors:
        return
    with socket.socket(fileno=descriptors[0]) as listening:
        try:
            reach = reach_of(data.decode(errors="replace"), permitted)
        except LittlestHubError as error:
            connection.sendall(json.dumps({"refusal": error.message}).encode())
            return
        Proxy(listening, reach, lambda text: print(text, file=sys.stderr, flush=True)).start()
        connection.sendall(b"{}")
        connection.settimeout(None)
        # The other side sends nothing more, and its last program closes it.
        connection.recv(1)


def reach_of(text: str, permitted: Settings) -> Reach:
    """Return what may be reached for a folder: its own server.

    Args:
        text: address of the folder, of a unit that talks to strangers.
        permitted: what the administrator permits.

    Raises:
        LittlestHubError: nothing may.
    """
    place = folder.place_of(folder.checked(text, permitted.policy))
    host, port = place
    excepted = address.networks(permitted.networks)
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LittlestHubError(f"{host} cannot be found: {error.strerror}") from None
    address.permitted(host, {str(each[4][0]) for each in answers}, excepted)
    return Reach(judged=[place], excepted=excepted)


if __name__ == "__main__":
    main()
