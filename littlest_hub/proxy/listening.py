"""The proxy's listening sockets: two share each address, and one of them gets new connections.

This module uses no third-party libraries; `sd_daemon` says why.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from littlest_hub.system.sd_daemon import Inherited
from littlest_hub.system.tcp import Listener, listeners

# <asm-generic/socket.h>, <linux/bpf_common.h>, <linux/tcp.h>; Python has no names for them.
_SO_ATTACH_REUSEPORT_CBPF = 51
_BPF_RETURN_CONSTANT = 0x06
_TCPI_UNACKED = 24

_PROBES = 10
_PROBE_TIMEOUT_S = 1


class Address(NamedTuple):
    """The listening sockets that share one address (SO_REUSEPORT), one for each slot."""

    name: str
    """The entry point of traefik that accepts from them."""
    sockets: tuple[Inherited, ...]
    """Sockets in the order in which the kernel numbers them: that of listen(2), and so of
    ListenStream=, unless another socket of this address was closed since; its number is then the
    last one's."""

    def socket_of(self, slot: int) -> Inherited:
        """Return the socket of a slot; an address with one socket has the same one for all."""
        return self.sockets[slot % len(self.sockets)]

    def inode_of(self, slot: int) -> int:
        """Return the inode of a slot's socket, by which /proc identifies it."""
        return os.fstat(self.socket_of(slot).fd).st_ino

    @property
    def inodes(self) -> frozenset[int]:
        """The inodes of all sockets."""
        return frozenset(map(self.inode_of, range(len(self.sockets))))

    @property
    def port(self) -> int:
        """The TCP port."""
        with self.sockets[0].duplicate() as listening:
            return int(listening.getsockname()[1])

    def steer(self, slot: int) -> None:
        """Make the kernel give new connections to this slot's socket."""
        if len(self.sockets) > 1:
            program = struct.pack("HBBI", _BPF_RETURN_CONSTANT, 0, 0, slot)
            code = array.array("B", program)
            sock_fprog = struct.pack("HP", 1, code.buffer_info()[0])
            with self.sockets[0].duplicate() as member:
                member.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, sock_fprog)

    def in_order_of(self, inodes: Sequence[int]) -> Address:
        """Return the address with its sockets in the order of their inodes."""
        found = {os.fstat(each.fd).st_ino: each for each in self.sockets}
        return Address(self.name, tuple(found[inode] for inode in inodes if inode in found))

    def in_order_of_kernel(self) -> Address:
        """Return the address with its sockets as the kernel numbers them: connects to find out.

        Nothing may accept from them meanwhile. A relay or traefik finds the connection closed.
        """
        if len(self.sockets) == 1:
            return self
        self.steer(0)
        for _ in range(_PROBES):
            before = self.queued(0), self.queued(1)
            try:
                self._connect()
            except OSError:
                break
            has_grown = self.queued(0) > before[0], self.queued(1) > before[1]
            if has_grown == (False, True):
                return Address(self.name, self.sockets[::-1])
            # A handshake that began before the steering may end at the other socket.
            if has_grown == (True, False):
                break
        return self

    def _connect(self) -> None:
        """Make a connection to this address, and close it."""
        with self.sockets[0].duplicate() as listening:
            host, port = listening.getsockname()[:2]
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        socket.create_connection((loopback.get(host, host), port), _PROBE_TIMEOUT_S).close()

    def queued(self, slot: int) -> int:
        """Return how many connections wait to be accepted."""
        with self.socket_of(slot).duplicate() as listening:
            info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int(struct.unpack_from("I", info, _TCPI_UNACKED)[0])


def group_by_address(inherited: Iterable[Inherited]) -> list[Address]:
    """Group inherited sockets by address; traefik serves one address of each entry point.

    systemd gives all sockets of one unit the same name.
    """
    found: dict[str, dict[object, list[Inherited]]] = {}
    for each in inherited:
        with each.duplicate() as listening:
            local = listening.getsockname()
        found.setdefault(each.name, {}).setdefault(local, []).append(each)
    result = []
    for name, by_address in found.items():
        first, *others = by_address.items()
        for local, _ in others:
            text = f"{name}: {local} is not served, an entry point has one address: {first[0]}"
            print(text, file=sys.stderr, flush=True)
        result.append(Address(name, tuple(first[1][:2])))
    return result


def in_order_of_kernel(addresses: Iterable[Address], known: Sequence[int]) -> list[Address]:
    """Return addresses with their sockets as the kernel numbers them.

    Args:
        addresses: with sockets in any order.
        known: inodes in the order in which an earlier supervisor has found them.
    """
    order = list(dict.fromkeys(known))
    return [
        each.in_order_of(order) if each.inodes.issubset(order) else each.in_order_of_kernel()
        for each in addresses
    ]


def other_listeners(own: frozenset[int]) -> list[Listener]:
    """Return sockets of other programs that share an address with ours, as root's may.

    Args:
        own: inodes of our sockets.
    """
    found = list(listeners())
    ours = {listener.local for listener in found if listener.inode in own}
    return [listener for listener in found if listener.local in ours and listener.inode not in own]
