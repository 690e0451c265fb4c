"""Ports of user servers, held by the guard: while it has the listening socket, no one can take it.

The guard duplicates the listening socket of the running server (pidfd_getfd(2)), which works for
every program. The server alone accepts connections. When it has ended, the guard accepts and closes
them, so that visitors get an error page at once.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from littlest_hub.helpers.shared_resources import MOST_EXAMINED
from littlest_hub.system import cgroups, pidfd, processes, sd_daemon
from littlest_hub.system.files import write
from littlest_hub.system.tcp import listener_at

FREE, FOREIGN, IMPOSSIBLE = "free", "foreign", "impossible"
"""Reasons of a `Refusal`: no one listens there; it is another program's; the kernel refuses."""
CANNOT_HOLD = "cannot hold others: "
"""Part of the status text, before the reason."""
_HOLD_TIMEOUT_S = 5
"""Time limit of one request; the hub waits 10 s, and will repeat it."""
_CLOSED_AT_ONCE = 64
"""Connections to ended servers that are closed before the guard does something else."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close without TIME_WAIT


Place = tuple[str, int]
"""Address and port."""


class Target(NamedTuple):
    """A port to hold. As JSON, it is a list."""

    address: str
    port: int
    cgroup: str = ""
    """The cgroup that the server runs in, as ControlGroup= (systemctl(1)); "": any."""
    inode: int = 0
    """The listening socket; 0: whichever is there."""

    @property
    def place(self) -> Place:
        return self.address, self.port


class Refusal(NamedTuple):
    """A port that is not held, and why. As JSON, it is a list."""

    address: str
    port: int
    reason: str
    detail: str = ""


class NotHeldError(Exception):
    """A port cannot be held: a reason and its detail."""


class _HeldPort:
    """A port, and the listening socket of its server."""

    def __init__(self, target: Target, listener: socket.socket) -> None:
        self.target = target
        self.listener = listener
        self.pidfd: int | None = None
        """The process that serves it; None: it has ended."""

    @property
    def name(self) -> str:
        """The name of the descriptor that systemd keeps."""
        return str(self.target.inode)


class HeldPorts:
    """The ports that the guard holds.

    Args:
        selector: gets a callback for each event.
        record: file with what the guard holds, for the next one.
        allowed: the cgroups whose ports the hub may have held.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        record: Path,
        allowed: Sequence[re.Pattern[str]],
    ) -> None:
        self._selector = selector
        self._record = record
        self._allowed = allowed
        self._held: dict[Place, _HeldPort] = {}
        self._obstacle = ""
        """The reason why the kernel does not permit to hold a port."""

    def restore(self, stored: Iterable[int]) -> None:
        """Hold the ports that the last guard has held.

        Args:
            stored: the listening sockets that systemd has kept.
        """
        targets = {target.inode: target for target in self._recorded()}
        for descriptor in stored:
            inode = os.fstat(descriptor).st_ino
            listener = socket.socket(fileno=descriptor)
            address, port, *_ = listener.getsockname()
            self._add(targets.pop(inode, Target(address, port, inode=inode)), listener)
        # systemd has lost them, since the guard was stopped.
        self.hold(targets.values())

    def update(
        self, targets: Sequence[Target], release: Sequence[Place], *, is_all: bool
    ) -> list[Refusal]:
        """Hold and release ports; return those that cannot be held.

        Args:
            targets: ports to hold.
            release: ports to release.
            is_all: whether to release all other ports.
        """
        places = {target.place for target in targets}
        for place in [*release, *(set(self._held) - places if is_all else ())]:
            self._release(place)
        return self.hold(targets)

    def hold(self, targets: Iterable[Target]) -> list[Refusal]:
        """Hold ports; return those that cannot be held."""
        refused = []
        deadline = time.monotonic() + _HOLD_TIMEOUT_S
        for target in targets:
            if time.monotonic() > deadline:
                refused.append(Refusal(*target.place, IMPOSSIBLE, "too many ports at once"))
                continue
            try:
                self._hold(target)
            except NotHeldError as error:
                refused.append(Refusal(*target.place, *error.args))
                if error.args[0] == IMPOSSIBLE:
                    self._obstacle = error.args[1]
        self._write_record()
        return refused

    def _hold(self, target: Target) -> None:
        held = self._held.get(target.place)
        if held and target.inode in (0, held.target.inode):
            return
        owner = listener_at(*target.place)
        if owner is None:
            raise NotHeldError(FREE, "no program listens there")
        if target.inode not in (0, owner.inode):
            raise NotHeldError(FOREIGN, "another program listens there")
        # Twice: a process may have passed it on to a child and ended meanwhile.
        for pid in (pid for _ in range(2) for pid in _candidates(target.cgroup)):
            descriptor = _descriptor(pid, owner.inode)
            cgroup = processes.cgroup_path(pid)
            if descriptor is None:
                continue
            if not any(pattern.match(cgroup) for pattern in self._allowed):
                raise NotHeldError(FOREIGN, f"{cgroup} is not a server of this hub")
            listener = _take(pid, descriptor, owner.inode)
            if listener is None:
                continue
            if held:
                self._release(target.place)
            self._add(Target(*target.place, target.cgroup or cgroup, owner.inode), listener)
            return
        raise NotHeldError(FOREIGN, f"a program of uid {owner.uid} outside of {target.cgroup}")

    def _add(self, target: Target, listener: socket.socket) -> None:
        held = self._held[target.place] = _HeldPort(target, listener)
        sd_daemon.store(listener.fileno(), held.name)
        self._follow(held)

    def _follow(self, held: _HeldPort) -> None:
        """Wait for the end of the process that serves a port; if there is none, refuse visitors."""
        for pid in _candidates(held.target.cgroup):
            with contextlib.suppress(OSError):  # it has ended
                opened = os.pidfd_open(pid)
                if _descriptor(pid, held.target.inode) is None:
                    os.close(opened)
                    continue
                held.pidfd = opened
                self._selector.register(opened, selectors.EVENT_READ, lambda: self._on_exit(held))
                return
        self._on_end(held)

    def _on_exit(self, held: _HeldPort) -> None:
        # An event before this one may have released the port.
        if self._held.get(held.target.place) is held:
            self._unfollow(held)
            self._follow(held)

    def _unfollow(self, held: _HeldPort) -> None:
        if held.pidfd is not None:
            self._selector.unregister(held.pidfd)
            os.close(held.pidfd)
            held.pidfd = None

    def _on_end(self, held: _HeldPort) -> None:
        place = f"{held.target.address}:{held.target.port}"
        print(f"<6>The server at {place} has ended: holding its port for the hub", flush=True)
        listener = held.listener
        listener.setblocking(False)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            # The server called shutdown(2) first.
            with contextlib.suppress(OSError):
                listener.listen()
        self._selector.register(listener, selectors.EVENT_READ, lambda: _refuse(listener))

    def _release(self, place: Place) -> None:
        held = self._held.pop(place, None)
        if held is None:
            return
        if held.pidfd is None:
            self._selector.unregister(held.listener)
        self._unfollow(held)
        sd_daemon.forget(held.name)
        held.listener.close()

    def _recorded(self) -> list[Target]:
        try:
            return [Target(*each) for each in json.loads(self._record.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def _write_record(self) -> None:
        targets = [held.target for held in self._held.values()]
        write(self._record, json.dumps(targets), 0o600, is_durable=False)
        obstacle = f"; {CANNOT_HOLD}{self._obstacle}" if self._obstacle else ""
        sd_daemon.notify(f"STATUS=holds {len(targets)} ports of user servers{obstacle}")


def _candidates(cgroup: str) -> list[int]:
    """Return the processes in a cgroup, those with few open files first.

    Args:
        cgroup: "" and "/": all processes.
    """
    found: Iterable[int] = processes.process_ids()
    if cgroup.strip("/"):
        # In some containers, the mounted cgroups have other paths than systemd's.
        found = cgroups.process_ids(cgroup) or (
            pid for pid in found if f"{processes.cgroup_path(pid)}/".startswith(f"{cgroup}/")
        )
        most = MOST_EXAMINED
    else:
        most = 10 * MOST_EXAMINED
    slots = sorted((processes.descriptor_slots(pid), pid) for pid in found)
    # A user could open files without end, to keep the guard busy.
    totals = itertools.accumulate(number for number, _ in slots)
    return [pid for (_, pid), total in zip(slots, totals, strict=True) if total <= most]


def _descriptor(pid: int, inode: int) -> int | None:
    """Return the descriptor of a socket in a process; None: the process does not have it."""
    if pid == os.getpid():
        return None  # our duplicate
    wanted = f"socket:[{inode}]"
    return next((int(f.name) for f, what in processes.descriptors(pid) if what == wanted), None)


def _take(pid: int, descriptor: int, inode: int) -> socket.socket | None:
    """Return a duplicate of a process's socket; None: the process has ended or closed it.

    Raises:
        NotHeldError: the kernel does not permit it.
    """
    try:
        opened = os.pidfd_open(pid)
        try:
            copy = pidfd.duplicate(opened, descriptor)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EBADF):
            return None
        raise NotHeldError(IMPOSSIBLE, f"{error.strerror}") from None
    if os.fstat(copy).st_ino != inode:
        os.close(copy)
        return None
    return socket.socket(fileno=copy)


def _refuse(listener: socket.socket) -> None:
    for _ in range(_CLOSED_AT_ONCE):
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()
