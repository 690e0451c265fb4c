"""Resources of the kernel that all users share and that it limits for no single user.

When one gets scarce, the guard ends the processes that have most of it, as the kernel's OOM killer
does for memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.system import processes, sd_daemon, tcp

_NET = Path("/proc/self/net")
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TERMINALS = Path("/proc/sys/kernel/pty")
_TERMINAL = re.compile(r"^tty-index:\s*(\d+)", re.MULTILINE)
_IN_FLIGHT = re.compile(r"^scm_fds:\s*(\d+)", re.MULTILINE)

LIMITS = ((1 / 2, 1 / 8), (3 / 4, 1 / 64))
"""Parts of a resource: the part that has to be in use, and the most that one user may then have."""
MOST_EXAMINED = 200_000
"""Open files of one user that are looked at, which takes a second; of the rest, all count."""
_END_TIMEOUT_S = 1


@dataclass(frozen=True)
class Resource:
    """A resource that all users of the machine share."""

    name: str
    in_use: Callable[[], int]
    capacity: Callable[[], int]
    count: Callable[[], Callable[[int], int]]
    """Returns a function that tells how much of it a process has at this moment."""

    @property
    def most_for_one(self) -> float | None:
        """The most that one user may have at the moment; None: it is not scarce."""
        capacity, in_use = self.capacity(), self.in_use()
        shares = [share for threshold, share in LIMITS if in_use > threshold * capacity]
        return min(shares) * capacity if shares else None


def relieve(resources: Sequence[Resource], units: re.Pattern[str]) -> None:
    """End the processes that have too much of a scarce resource.

    Args:
        resources: what to look at.
        units: the cgroups whose processes may be ended.
    """
    for resource in resources:
        # Where the kernel, or a container, does not tell how much is in use, nothing is scarce.
        with contextlib.suppress(OSError):
            if (most := resource.most_for_one) is not None:
                _relieve(resource, most, units)


def _relieve(resource: Resource, most: float, units: re.Pattern[str]) -> None:
    users: dict[int, Counter[int]] = {}
    examined: Counter[int] = Counter()
    held_by = resource.count()
    for pid in _processes_in(units):
        with contextlib.suppress(OSError):
            uid = processes.uid(pid)
            slots = processes.descriptor_slots(pid)
            examined[uid] += slots
            is_short = examined[uid] <= MOST_EXAMINED
            users.setdefault(uid, Counter())[pid] = held_by(pid) if is_short else slots
    for counts in sorted(users.values(), key=lambda each: -each.total()):
        # The largest first: usually it is the only one that has to end.
        for pid, count in counts.most_common():
            if counts.total() <= most or resource.most_for_one is None:
                break
            _end(pid, units, f"had {count} {resource.name}", round(most))
            counts[pid] = 0


def _processes_in(units: re.Pattern[str]) -> Iterator[int]:
    return (pid for pid in processes.process_ids() if units.match(processes.cgroup_path(pid)))


def _end(pid: int, units: re.Pattern[str], what: str, most: int) -> None:
    try:
        opened = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Only now: the number may be another process's meanwhile, perhaps root's.
        if not units.match(processes.cgroup_path(pid)):
            return
        unit, name = processes.unit(pid), processes.name(pid)
        signal.pidfd_send_signal(opened, signal.SIGKILL)
        # Its resources are free once it has ended.
        select.select([opened], [], [], _END_TIMEOUT_S)
    except OSError:
        return
    finally:
        os.close(opened)
    message = (
        f"ended process {pid} ({name}) of {unit}, which {what}: few are left"
        f" on this machine, and one user may then have {most}"
    )
    sd_daemon.log_to_journal(message, unit, 4)


# --- ports


def _sockets(*protocols: bytes) -> Callable[[], Callable[[int], int]]:
    """Return what `Resource.count` needs for the sockets of these protocols."""

    def counter() -> Callable[[int], int]:
        # A connection that waits to be accepted is a socket that no process has open.
        waiting: Counter[int] = Counter()
        waiting_for_user: Counter[int] = Counter()
        for each in tcp.listeners():
            waiting[each.inode] += each.waiting
            waiting_for_user[each.uid] += each.waiting

        def count(pid: int, file: Path, what: str) -> int:
            protocol = os.getxattr(file, "system.sockprotoname").rstrip(b"\0")
            if protocol in protocols:
                return 1 + waiting[int(what[len("socket:[") : -1])]
            in_flight = _in_flight(pid, file) if protocol.startswith(b"UNIX") else 0
            # The kernel does not say which sockets these are; each may be one that listens. What
            # waits for the user counts once, not again for each socket and process.
            return in_flight + (waiting_for_user.pop(processes.uid(pid), 0) if in_flight else 0)

        return lambda pid: sum(_counts(pid, count))

    return counter


def _counts(pid: int, count: Callable[[int, Path, str], int]) -> Iterator[int]:
    for file, what in processes.descriptors(pid):
        with contextlib.suppress(OSError):  # closed meanwhile
            if what.startswith("socket:"):
                yield count(pid, file, what)


def _in_flight(pid: int, socket: Path) -> int:
    """Return how many descriptors were sent to a Unix socket and not received yet (Linux 5.6)."""
    return sum(map(int, _IN_FLIGHT.findall(processes.descriptor_info(pid, socket.name))))


def _counters(file: str) -> dict[str, int]:
    """Return the numbers in /proc/net/sockstat or sockstat6: "TCP.alloc"."""
    found = {}
    with contextlib.suppress(OSError):
        for line in (_NET / file).read_text().splitlines():
            protocol, *words = line.split()
            for name, number in zip(words[::2], words[1::2], strict=False):
                found[f"{protocol.rstrip(':')}.{name}"] = int(number)
    return found


def _tcp_in_use() -> int:
    return _counters("sockstat").get("TCP.alloc", 0)


def _udp_in_use() -> int:
    inuse = _counters("sockstat").get("UDP.inuse", 0)
    return inuse + _counters("sockstat6").get("UDP6.inuse", 0)


def ephemeral_ports() -> int:
    """Return how many ports the kernel chooses from, for connections and for programs."""
    first, last = map(int, _PORT_RANGE.read_text().split())
    return last - first + 1


# --- pseudo-terminals


def _terminals(pid: int) -> int:
    """Return how many pseudo-terminals a process has; each end keeps one in use."""
    found: set[str] = set()
    in_flight = 0
    for file, what in processes.descriptors(pid):
        with contextlib.suppress(OSError):
            if what.startswith("socket:"):
                in_flight += _in_flight(pid, file)
            elif what.endswith("/ptmx"):
                found |= set(_TERMINAL.findall(processes.descriptor_info(pid, file.name)))
            elif what.startswith("/dev/pts/"):
                found.add(what.removeprefix("/dev/pts/").partition(" ")[0])
    return len(found) + in_flight


def _terminals_in_use() -> int:
    return int((_TERMINALS / "nr").read_text())


def _most_terminals() -> int:
    # The rest is reserved for those that the machine itself has mounted.
    most, reserved = (int((_TERMINALS / name).read_text()) for name in ("max", "reserve"))
    return most - reserved


RESOURCES = (
    # A socket of MPTCP has sockets of TCP, which no process has open itself (mptcp(7)).
    Resource(
        "TCP sockets",
        _tcp_in_use,
        ephemeral_ports,
        _sockets(b"TCP", b"TCPv6", b"MPTCP", b"MPTCPv6"),
    ),
    Resource("UDP sockets", _udp_in_use, ephemeral_ports, _sockets(b"UDP", b"UDPv6")),
    Resource("pseudo-terminals", _terminals_in_use, _most_terminals, lambda: _terminals),
)
