"""The proxy through which a build of the code tier reaches package indexes, and nothing else.

The build has a network namespace with a loopback interface only. Its program listens there before
any code of strangers runs, and passes the socket to the builder, in whose network this accepts
connections. So what a build reaches does not depend on a packet filter, which not every kernel has.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import address
from littlest_hub.stacks.launch.address import Network
from littlest_hub.system.progress import Progress

_HEAD_BYTES = 32 << 10
_HEAD_TIMEOUT_S, _CONNECT_TIMEOUT_S, _SILENCE_S = 30, 30, 120
_MOST_CONNECTIONS = 32
_MOST_REMARKS = 20
_PART_BYTES = 64 << 10
Place = tuple[str, int]
"""A host, in lower case, with a port."""


@dataclass(frozen=True)
class Reach:
    """The places that are reached."""

    trusted: Collection[Place] = ()
    """Those of the administrator, whatever address they have."""
    hosts: Collection[str] | None = ()
    """Hosts that a repository names: they have to be public, and are reached by https; None: all
    of these."""
    excepted: Collection[Network] = ()
    """Networks that are not public, and that the administrator permits."""
    judged: Collection[Place] = ()
    """Further places, which have to be public too, at whatever port."""


class Proxy:
    """A proxy for http and https (RFC 9110, 7.1 and 9.3.6) to some places.

    Args:
        listening: where it accepts connections.
        reach: the places.
        report: gets a line when something else is asked for.
    """

    def __init__(self, listening: socket.socket, reach: Reach, report: Progress) -> None:
        self._listening, self._reach, self._report = listening, reach, report
        self._refused: set[str] = set()
        self._slots = threading.Semaphore(_MOST_CONNECTIONS)

    def start(self) -> None:
        """Serve until the socket is closed."""
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        """Serve nobody any more."""
        # close(2) alone does not wake a thread that waits in accept(2).
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            self._slots.acquire()
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_HEAD_TIMEOUT_S)
                self._relay(connection)
        finally:
            self._slots.release()

    def _relay(self, connection: socket.socket) -> None:
        head, rest = _head(connection)
        try:
            place, opening, answer = _asked(head)
            upstream = self._connected(place)
        except LittlestHubError as error:
            text = f"{error.message}\n".encode()
            connection.sendall(
                b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"
                + b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
            )
            return
        with upstream:
            connection.sendall(answer)
            upstream.sendall(opening + rest)
            _pump(connection, upstream)

    def _connected(self, place: Place) -> socket.socket:
        """Return a connection to a place.

        Raises:
            LittlestHubError: it is not permitted.
        """
        host, port = place
        if place in self._reach.trusted:
            return socket.create_connection(place, _CONNECT_TIMEOUT_S)
        is_of_hosts = self._reach.hosts is None or host in self._reach.hosts
        if place not in self._reach.judged and not (port == 443 and is_of_hosts):
            self._remark(f"{host}:{port}")
            raise LittlestHubError(f"{host}:{port} is not among the hosts that were approved")
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = sorted({str(each[4][0]) for each in answers})
        permitted = address.permitted(host, found, self._reach.excepted)
        return socket.create_connection((permitted[0], port), _CONNECT_TIMEOUT_S)

    def _remark(self, place: str) -> None:
        if place not in self._refused and len(self._refused) < _MOST_REMARKS:
            self._refused.add(place)
            self._report(f"{place} is not reached: it is not among the hosts that were approved")


def place_of(url: str) -> Place | None:
    """Return the place of an address; None: it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.hostname.lower(), port) if parts.hostname else None


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a request, and what has come after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(_PART_BYTES)
        if not part or len(data) > _HEAD_BYTES:
            raise OSError
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _asked(head: bytes) -> tuple[Place, bytes, bytes]:
    """Return the place, what is sent there first, and what the client gets first.

    Raises:
        LittlestHubError: it is no request to a proxy.
    """
    lines = head.decode("latin-1").split("\r\n")
    method, _, more = lines[0].partition(" ")
    target = more.partition(" ")[0]
    if method == "CONNECT":
        if place := place_of(f"https://{target}"):
            return place, b"", b"HTTP/1.1 200 Connected\r\n\r\n"
    elif method in ("GET", "HEAD") and target.startswith("http://") and (place := place_of(target)):
        parts = urlsplit(target)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = [each for each in lines[1:] if not _is_of_hop(each)]
        opening = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""])
        return place, opening.encode("latin-1"), b""
    raise LittlestHubError("expected CONNECT, or GET of an http address")


def _is_of_hop(line: str) -> bool:
    return line.lower().startswith(("connection:", "proxy-", "keep-alive:"))


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Pass on what comes, until both have ended."""
    ends: dict[socket.socket, socket.socket] = {one: other, other: one}
    for each in ends:
        each.settimeout(_SILENCE_S)
    while ends:
        ready, _, _ = select.select(list(ends), [], [], _SILENCE_S)
        if not ready:
            return
        for each in ready:
            part = each.recv(_PART_BYTES)
            if part:
                ends[each].sendall(part)
            else:
                with contextlib.suppress(OSError):
                    ends[each].shutdown(socket.SHUT_WR)
                del ends[each]
