"""The adapter of Python's debugger, with connections of its own user only.

debugpy listens on TCP ports of 127.0.0.1, and whoever connects may run programs as its user. So
`kernel_patches` makes debugpy start this file in the place of its own adapter, in the kernel's
environment, of whatever version: it imports only what every such kernel has, and its syntax is that
of Python 3.6.
"""

import os
import runpy
import socket
import struct
import sys
from typing import Any, Optional, Tuple  # noqa: UP035

_TABLES = {socket.AF_INET: "/proc/self/net/tcp", socket.AF_INET6: "/proc/self/net/tcp6"}
_LISTENING = "0A"


class OwnSocket(socket.socket):
    """A socket that listens, and closes connections of other users at once."""

    def accept(self) -> Tuple[socket.socket, Any]:  # noqa: UP006
        while True:
            connection, address = super().accept()
            peer = user_of(connection.family, connection.getpeername(), connection.getsockname())
            if peer == os.getuid():
                return connection, address
            connection.close()


def user_of(family: int, address: Any, peer: Any = None) -> Optional[int]:  # noqa: UP045
    """Return the user id of a TCP socket of this machine; None: there is no such socket.

    Args:
        family: socket.AF_INET or AF_INET6.
        address: its own address.
        peer: the address that it is connected to; None: it listens.
    """
    wanted = _text(family, address)
    other = None if peer is None else _text(family, peer)
    with open(_TABLES[socket.AddressFamily(family)]) as table:
        next(table)
        for line in table:
            words = line.split()
            is_peer = words[3] == _LISTENING if other is None else words[2] == other
            if words[1] == wanted and is_peer:
                return int(words[7])
    return None


def _text(family: int, address: Any) -> str:
    """Return an address as the kernel's tables have it, proc(5)."""
    packed = socket.inet_pton(family, address[0])
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    host = "".join(f"{word:08X}" for word in words)
    return f"{host}:{address[1]:04X}"


def accept_only_own_user(sockets: Any) -> None:
    """Make debugpy's module of sockets accept connections of this user only."""
    upstream = sockets.create_server

    def create_server(*args: Any, **kwargs: Any) -> socket.socket:
        made = upstream(*args, **kwargs)
        timeout = made.gettimeout()
        own = OwnSocket(made.family, made.type, made.proto, fileno=made.detach())
        own.settimeout(timeout)
        return own

    sockets.create_server = create_server


if __name__ == "__main__":
    # Python has added the directory of this file, whose modules are none of the adapter's.
    del sys.path[0]
    from debugpy.common import sockets  # type: ignore[import-not-found, unused-ignore]

    accept_only_own_user(sockets)
    runpy.run_module("debugpy.adapter", run_name="__main__", alter_sys=True)
