"""The program of a unit that mounts a folder: it looks whether there is one, and becomes rclone.

    python -m littlest_hub.stacks.launch.webdav.program SOCKET SETTINGS

systemd passes the device and the order to it. It has no rights, and a network namespace of its own:
everything goes through the proxy (`carrier`), to which it passes the socket where it expects it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.resolver import settings
from littlest_hub.stacks.launch.resolver.connection import Credentials
from littlest_hub.stacks.launch.webdav.mounting import DEVICE, ORDER
from littlest_hub.stacks.launch.webdav.order import Order
from littlest_hub.system import sd_daemon
from littlest_hub.system.rclone import PROGRAM, command, obscured, variables

MODULE = "littlest_hub.stacks.launch.webdav.program"
_REACH_S, _LOOK_S = 20, 15
_LIMIT_BYTES = 1 << 16
_ANSWERS = {
    401: "it does not accept this name and password",
    403: "it does not let you read this folder",
    404: "there is no such folder",
}
_FOUND = 207
"""The status of an answer about a folder; RFC 4918, 11.1."""


def main() -> None:
    """Serve the mount of this unit."""
    try:
        _serve(Path(sys.argv[1]), Path(sys.argv[2]))
    except LittlestHubError as error:
        sd_daemon.notify(f"STATUS={error.message}")
        sys.exit(error.message)


def _serve(place: Path, file: Path) -> NoReturn:
    found = {each.name: each.fd for each in sd_daemon.inherited_sockets()}
    if not {DEVICE, ORDER} <= {*found} or shutil.which(PROGRAM) is None:
        raise LittlestHubError(f"this machine has no {'rclone' if found else 'FUSE'}")
    order = Order.of_text(os.pread(found[ORDER], _LIMIT_BYTES, 0).decode(errors="replace"))
    os.close(found[ORDER])
    ca_file = settings.read(file).ca_file
    connection, port = reached(place, order.address)
    look(order, port, ca_file)
    try:
        password = obscured(order.password)
    except (OSError, subprocess.SubprocessError) as error:
        raise LittlestHubError(f"rclone does not run: {error}") from None
    # If systemd kept the device too, the mount would not end with rclone.
    for name in (DEVICE, ORDER):
        sd_daemon.forget(name)
    for each in (found[DEVICE], connection.fileno()):
        os.set_inheritable(each, True)
    proxy = f"http://127.0.0.1:{port}"
    environment = variables(order.address, order.user, password, proxy, ca_file)
    kept = {name: os.environ[name] for name in ("NOTIFY_SOCKET", "PATH") if name in os.environ}
    words = command(found[DEVICE])
    os.execvpe(words[0], words, {**kept, **environment})


def reached(place: Path, address: str) -> tuple[socket.socket, int]:
    """Return a connection that has to stay open, and the port of the proxy.

    Args:
        place: socket of the proxy's unit.
        address: the folder.

    Raises:
        LittlestHubError: the server of the folder may not be reached, or there is no proxy.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_REACH_S)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            connection.connect(str(place))
            socket.send_fds(connection, [address.encode()], [listening.fileno()])
            reply = json.loads(connection.recv(_LIMIT_BYTES))
            port = int(listening.getsockname()[1])
    except (OSError, ValueError) as error:
        raise LittlestHubError(
            f"the program that reaches folders does not answer: {error}"
        ) from None
    if refusal := reply.get("refusal"):
        raise LittlestHubError(str(refusal)[:300])
    connection.settimeout(None)
    return connection, port


def look(order: Order, port: int, ca_file: str) -> None:
    """Look whether there is a folder that can be opened with this name and password.

    Args:
        order: the folder.
        port: of the proxy.
        ca_file: certificate authorities besides those of the machine; "": none.

    Raises:
        LittlestHubError: there is none.
    """
    parts = urlsplit(order.address)
    tls = ssl.create_default_context()
    if ca_file:
        tls.load_verify_locations(ca_file)
    headers = {**Credentials(order.user, order.password).header, "Depth": "0"}
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=_LOOK_S, context=tls)
    connection.set_tunnel(parts.hostname or "", parts.port or 443)
    try:
        connection.request("PROPFIND", f"{parts.path}/".replace("//", "/"), headers=headers)
        status = connection.getresponse().status
    except ssl.SSLCertVerificationError as error:
        why = f"its certificate is not valid: {error.verify_message}"
        raise LittlestHubError(f"{parts.netloc}: {why}") from None
    except (OSError, http.client.HTTPException) as error:
        why = "it does not answer in time" if isinstance(error, TimeoutError) else str(error)
        raise LittlestHubError(f"{parts.netloc}: {why[:200]}") from None
    finally:
        connection.close()
    if status != _FOUND:
        usual = f"it answers with {status}, expected {_FOUND} as servers of WebDAV do"
        raise LittlestHubError(f"{parts.netloc}: {_ANSWERS.get(status, usual)}")


if __name__ == "__main__":
    main()
