"""Which program has a port that we wanted."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp

# sock_diag(7)
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP_REQUEST = 0x301
_DONE, _ERROR = 3, 2
_MESSAGE = struct.Struct("=IHHII")
_ATTRIBUTES_AT = 72
_CGROUP_ID = 21


class _Listener(NamedTuple):
    uid: int
    inode: int


def who_listens(port: int) -> str:
    """Who listens at a TCP port of this machine, for "port 80 is taken by ...".

    As much as the caller may know: root in no sandbox sees the program, our services see the
    unit it runs in, and everybody the user.

    Returns:
        "nginx (process 123)", "nginx.service", "a program of user www-data", or, if nobody
        listens any more, "".
    """
    found = next(_listeners(port), None)
    if found is None:
        return ""
    return _program(found.inode) or _unit(port) or f"a program of user {_name(found.uid)}"


def listening_uids(port: int) -> set[int]:
    """The users whose programs listen at a TCP port of this machine."""
    return {each.uid for each in _listeners(port)}


def _listeners(port: int) -> Iterator[_Listener]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            # Not /proc/net: ProcSubset=pid hides that one.
            for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield _Listener(int(fields[7]), int(fields[9]))


def _program(inode: int) -> str:
    """The process that has a socket open, as far as we may see; init only if nobody else does."""
    wanted = f"socket:[{inode}]"
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: -int(p.name)):
        with contextlib.suppress(OSError):
            if any(str(fd.readlink()) == wanted for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _unit(port: int) -> str:
    """The systemd unit that a listening socket was made in, by the kernel's word for its cgroup."""
    with contextlib.suppress(OSError):
        wanted = _cgroup_id(port)
        for directory in map(Path, (found[0] for found in os.walk("/sys/fs/cgroup"))):
            is_unit = directory.suffix in (".service", ".scope")
            if is_unit and directory.stat().st_ino == wanted:
                return directory.name
    return ""


def _cgroup_id(port: int) -> int | None:
    """The id of the cgroup of whoever listens there, which sock_diag(7) tells everybody."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        for family in (socket.AF_INET, socket.AF_INET6):
            # inet_diag_req_v2: everything that listens (state 10), whatever its address.
            request = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 0, 0, 1 << 10)
            size = _MESSAGE.size + len(request)
            kernel.send(_MESSAGE.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 1, 0) + request)
            found = [_attribute(m, _CGROUP_ID) for m in _dumped(kernel) if _port(m) == port]
            if found:
                return found[0]
    return None


def _dumped(kernel: socket.socket) -> Iterator[bytes]:
    """The answers of one dump, without their headers."""
    while True:
        data = kernel.recv(1 << 16)
        while data:
            length, kind, *_ = _MESSAGE.unpack_from(data)
            if kind in (_DONE, _ERROR):
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
