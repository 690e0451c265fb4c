"""Listening TCP sockets of this machine, and the users, units and programs that they belong to."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.system import processes

_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp

# sock_diag(7)
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP_REQUEST = 0x301
_DONE, _ERROR = 3, 2
_MESSAGE = struct.Struct("=IHHII")
_PROTOCOL = socket.IPPROTO_TCP
_ERRNO = struct.Struct("=i")
_UID = struct.Struct("=64xI")
_ATTRIBUTES_AT = 72
_CGROUP_ID = 21
# Where cgroup version 2 is mounted: alone, or beside version 1.
_CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


class Listener(NamedTuple):
    """A listening TCP socket in /proc/net/tcp (proc_net_tcp(5))."""

    local: str
    """Address and port in the kernel's notation."""
    port: int
    uid: int
    """Its user."""
    inode: int

    @property
    def address(self) -> str:
        """The IP address; "0.0.0.0" and "::" stand for all addresses."""
        import ipaddress

        digits = self.local.partition(":")[0]
        # Groups of four bytes, each in the machine's byte order.
        words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
        return str(ipaddress.ip_address(b"".join(words)))


class SocketOwner(NamedTuple):
    """User and cgroup of a listening TCP socket."""

    uid: int
    cgroup: int | None
    """Id of the cgroup in which it was made; None: unknown, as before Linux 5.9."""


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
        _, local, _, state, _, _, _, uid, _, inode, *_ = line.split()
        if state == _LISTENING:
            yield Listener(local, int(local.rpartition(":")[2], 16), int(uid), int(inode))


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
    wanted = {held.cgroup for held in owners_at(port)}
    with contextlib.suppress(OSError):
        for directory in map(Path, (found[0] for found in os.walk(_CGROUPS[0]))):
            is_unit = directory.suffix in (".service", ".scope")
            if is_unit and directory.stat().st_ino in wanted:
                return directory.name
    return ""


def cgroups_of(unit: str) -> set[int]:
    """Return the ids of a unit's cgroup and of all cgroups in it.

    Args:
        unit: its ControlGroup= (systemctl(1)); "", for a unit that does not run, has none.
    """
    places = [f"{root}{unit}" for root in _CGROUPS if unit.strip("/")]
    found = (Path(directory[0]) for place in places for directory in os.walk(place))
    ids = set()
    for directory in found:
        with contextlib.suppress(OSError):  # removed meanwhile
            ids.add(directory.stat().st_ino)
    return ids


def owners_at(port: int) -> set[SocketOwner]:
    """Return the owners of the sockets that listen at a TCP port, at any address.

    sock_diag(7) takes 0.04 ms and needs no privilege, but not every kernel has it.
    """
    try:
        return set(_owners_at(port))
    except OSError:
        return {
            SocketOwner(listener.uid, None) for listener in listeners() if listener.port == port
        }


def _owners_at(port: int) -> Iterator[SocketOwner]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        for family in (socket.AF_INET, socket.AF_INET6):
            # inet_diag_req_v2: sockets that listen (state 10) at a port, at any address.
            request = struct.pack(
                "=BBBBI2s46x", family, _PROTOCOL, 0, 0, 1 << 10, port.to_bytes(2, "big")
            )
            size = _MESSAGE.size + len(request)
            head = _MESSAGE.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 1, 0)
            kernel.send(head + request)
            for message in _dumped(kernel):
                if _port(message) == port:
                    yield SocketOwner(_UID.unpack_from(message)[0], _attribute(message, _CGROUP_ID))


def _dumped(kernel: socket.socket) -> Iterator[bytes]:
    """Yield the messages of one dump, without their headers.

    Raises:
        OSError: the kernel refuses.
    """
    while True:
        data = kernel.recv(1 << 16)
        while data:
            length, kind, *_ = _MESSAGE.unpack_from(data)
            # The end of a dump has an error code, as an error message has.
            if kind in (_ERROR, _DONE):
                if code := _ERRNO.unpack_from(data, _MESSAGE.size)[0]:
                    raise OSError(-code, "no sock_diag(7)")
                return
            yield data[_MESSAGE.size : length]
            data = data[(length + 3) & ~3 :]


def _port(message: bytes) -> int:
    return int.from_bytes(message[4:6], "big")


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
