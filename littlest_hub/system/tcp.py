"""Listening TCP sockets of this machine, and the users, units and programs that they belong to."""

from __future__ import annotations

import contextlib
import errno
import functools
import pwd
import socket
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.system import cgroups, processes

_TCP_LISTEN = 10
_LISTENING = f"{_TCP_LISTEN:02X}"  # in /proc/net/tcp

# sock_diag(7)
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST, _DUMP_REQUEST = 1, 0x301
_ERROR, _DONE = 2, 3
_MESSAGE = struct.Struct("=IHHII")
_PROTOCOL = socket.IPPROTO_TCP
_ERRNO = struct.Struct("=i")
_UID_AND_INODE = struct.Struct("=64xII")
_ATTRIBUTES_AT = 72
_CGROUP_ID = 21
_NO_COOKIE = _ANY_STATE = 0xFFFFFFFF


class Listener(NamedTuple):
    """A listening TCP socket in /proc/net/tcp (proc_net_tcp(5))."""

    local: str
    """Address and port in the kernel's notation."""
    port: int
    uid: int
    """Its user."""
    inode: int
    waiting: int
    """Number of connections that wait to be accepted."""

    @property
    def address(self) -> str:
        """The IP address; "0.0.0.0" and "::" stand for all addresses."""
        import ipaddress

        digits = self.local.partition(":")[0]
        # Groups of four bytes, each in the machine's byte order.
        words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
        return str(ipaddress.ip_address(b"".join(words)))


class SocketOwner(NamedTuple):
    """User and cgroup of a listening TCP socket, and the socket itself."""

    uid: int
    cgroup: int | None
    """Id of the cgroup in which it was made; None: unknown, as before Linux 5.9."""
    inode: int


def listeners() -> Iterator[Listener]:
    """Yield the listening sockets of our network namespace.

    The kernel takes 3 ms for it with 24 GiB of memory: it walks through its whole hash table.
    """
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            # Not /proc/net, which ProcSubset=pid hides.
            yield from parse(Path(f"/proc/self/net/{table}").read_text())


def parse(table: str) -> Iterator[Listener]:
    """Yield the listening sockets in the text of /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        _, local, _, state, queues, _, _, uid, _, inode, *_ = line.split()
        if state == _LISTENING:
            port, waiting = (int(each.rpartition(":")[2], 16) for each in (local, queues))
            yield Listener(local, port, int(uid), int(inode), waiting)


def processes_of(inodes: Collection[int]) -> dict[int, int]:
    """Return the process that has each socket open, as far as we may see; init comes last."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, int] = {}
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: -int(p.name)):
        if len(found) == len(wanted):
            break
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    if (inode := wanted.get(str(descriptor.readlink()))) is not None:
                        found.setdefault(inode, int(process.name))
    return found


def describe_listener(port: int) -> str:
    """Describe the program that listens at a TCP port, for "port 80 is taken by ...".

    Root outside a sandbox sees the program, our services see its unit, and anyone sees its user.

    Returns:
        "nginx (process 123)", "nginx.service", "a program of user www-data", or "" if nothing
        listens there any more.
    """
    found = next((listener for listener in listeners() if listener.port == port), None)
    if found is None:
        return ""
    return _program(found.inode) or unit_at(port) or f"a program of user {_name(found.uid)}"


def _program(inode: int) -> str:
    with contextlib.suppress(KeyError):
        pid = processes_of([inode])[inode]
        if name := processes.name(pid):
            return f"{name} (process {pid})"
    return ""


def unit_at(port: int) -> str:
    """Return the name of the systemd unit that listens at a port, for a message.

    Names of units are not unique: users have units of their own.

    Returns:
        "": no unit has the socket's cgroup, or the kernel does not tell it (before Linux 5.9).
    """
    addresses = {listener.address for listener in listeners() if listener.port == port}
    owners = (listener_at(address, port) for address in addresses)
    return cgroups.unit_of({owner.cgroup for owner in owners if owner and owner.cgroup})


def listener_at(address: str, port: int) -> SocketOwner | None:
    """Return the owner of the socket that gets the connections to an address; None: no one listens.

    The kernel itself chooses among sockets at this address and at all addresses. sock_diag(7) takes
    0.03 ms and needs no privilege, but not every kernel has it.
    """
    try:
        return _listener_at(address, port)
    except OSError:
        packed = _packed(address)
        wanted = {packed, bytes(len(packed)), bytes(16)}
        for each in listeners():
            if each.port == port and _packed(each.address) in wanted:
                return SocketOwner(each.uid, None, each.inode)
        return None


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an IP address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    return socket.inet_pton(family_of(address), address)


def _listener_at(address: str, port: int) -> SocketOwner | None:
    packed = _packed(address)
    # inet_diag_req_v2 for the socket that would get a connection from port 0 of the same address.
    request = struct.pack(
        "=BBBBI2s2x16s16sIII",
        *(family_of(address), _PROTOCOL, 0, 0, _ANY_STATE),
        *(port.to_bytes(2, "big"), packed, packed, 0, _NO_COOKIE, _NO_COOKIE),
    )
    kind, message = _answer(_REQUEST, request)
    if kind == _ERROR:
        # ENOENT: there is none, or this kernel has no sock_diag(7) for the protocol.
        if _error(message) == errno.ENOENT and _has_sock_diag(_PROTOCOL):
            return None
        raise OSError(_error(message), "no sock_diag(7)")
    if message[1] != _TCP_LISTEN:
        return None
    uid, inode = _UID_AND_INODE.unpack_from(message)
    return SocketOwner(uid, _attribute(message, _CGROUP_ID), inode)


@functools.cache
def _has_sock_diag(protocol: int) -> bool:
    # inet_diag_req_v2: all sockets in no state.
    request = struct.pack("=BBBBI48x", socket.AF_INET, protocol, 0, 0, 0)
    kind, message = _answer(_DUMP_REQUEST, request)
    return kind == _DONE and _error(message) == 0


def _answer(flags: int, request: bytes) -> tuple[int, bytes]:
    """Return kind and content of the first message of the kernel's answer."""
    head = _MESSAGE.pack(_MESSAGE.size + len(request), _SOCK_DIAG_BY_FAMILY, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        kernel.send(head + request)
        answer = kernel.recv(1 << 16)
    length, kind, *_ = _MESSAGE.unpack_from(answer)
    return kind, answer[_MESSAGE.size : length]


def _error(message: bytes) -> int:
    return -int(_ERRNO.unpack_from(message)[0])


def _attribute(message: bytes, wanted: int) -> int | None:
    at = _ATTRIBUTES_AT
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == wanted:
            return int(struct.unpack_from("=Q", message, at + 4)[0])
        at += max(4, (length + 3) & ~3)
    return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
