"""The relay, which connects visitors who wait at a socket from which no traefik accepts.

traefik accepts connections as soon as it starts, and answers with 404 until it has loaded its
routes. So no visitor may wait at the sockets that a new traefik gets. The kernel cannot move a
connection to another socket. So this process accepts the connections that wait, connects to the
same address, and copies bytes until both sides have ended. It serves visitors who came at boot, or
after traefik and its supervisor were killed.

This module uses no third-party libraries; `sd_daemon` says why.
"""

from __future__ import annotations

import contextlib
import ipaddress
import selectors
import socket
import time
from collections.abc import Sequence

from littlest_hub.system.sd_daemon import Inherited

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ACCEPTING = "accepting"
"""Name of the inherited socket that the relay closes when it accepts no more."""
LINGER_S = 0.5
"""The relay stops accepting when no connection has come for so long; handshakes take some time."""
SOURCE = "127.0.0.2"
"""The address that the proxy sees for visitors from other machines, unless it is a trusted one."""
_CONNECT_TIMEOUT_S = 5
_CHUNK_BYTES = 1 << 16


class _Connection:
    """The two ends of a visitor's connection."""

    def __init__(self, selector: selectors.BaseSelector, *ends: socket.socket) -> None:
        self._selector = selector
        self._ends = ends
        self._unsent = [b"", b""]
        """Bytes that each end has yet to be sent."""
        self._is_open = [True, True]
        """Whether each end may still send something."""
        for end in ends:
            end.setblocking(False)
        self._watch()

    def on_event(self, number: int, events: int) -> None:
        """Copy what can be copied."""
        other = 1 - number
        try:
            if events & selectors.EVENT_WRITE:
                sent = self._ends[number].send(self._unsent[number])
                self._unsent[number] = self._unsent[number][sent:]
            if events & selectors.EVENT_READ and not self._unsent[other]:
                self._unsent[other] = self._ends[number].recv(_CHUNK_BYTES)
                self._is_open[number] = bool(self._unsent[other])
                if not self._is_open[number]:
                    self._ends[other].shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._is_open, self._unsent = [False, False], [b"", b""]
        self._watch()

    def _watch(self) -> None:
        """Wait for what each end can do next; close both ends if there is nothing left to do."""
        for number, end in enumerate(self._ends):
            events = selectors.EVENT_WRITE if self._unsent[number] else 0
            if self._is_open[number] and not self._unsent[1 - number]:
                events |= selectors.EVENT_READ
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            if events:
                self._selector.register(end, events, (self, number))
        if not any(self._is_open) and not any(self._unsent):
            for end in self._ends:
                end.close()


def relay(inherited: Sequence[Inherited], trusted: Sequence[str] = ()) -> None:
    """Serve those who wait at inherited sockets, and return when their connections have ended.

    Args:
        inherited: the sockets.
        trusted: addresses and networks from which the proxy accepts X-Forwarded-For: visitors from
            other machines must not get one.
    """
    networks = [ipaddress.ip_network(each, strict=False) for each in trusted]
    selector = selectors.DefaultSelector()
    sockets = {each.name: socket.socket(fileno=each.fd) for each in inherited}
    accepting = sockets.pop(ACCEPTING)
    last = time.monotonic()
    while (now := time.monotonic()) < last + LINGER_S:
        for listening in sockets.values():
            if _accept(listening, selector, networks):
                last = now
        _copy(selector, 0.02)
    for each in (*sockets.values(), accepting):
        each.close()
    while selector.get_map():
        _copy(selector, None)


def _copy(selector: selectors.BaseSelector, timeout_s: float | None) -> None:
    for key, events in selector.select(timeout_s):
        connection, number = key.data
        # An event before this one may have closed it.
        if key.fileobj in selector.get_map():
            connection.on_event(number, events)


def _accept(
    listening: socket.socket, selector: selectors.BaseSelector, trusted: Sequence[Network]
) -> bool:
    """Accept a connection, if there is one, and connect it."""
    listening.setblocking(False)
    try:
        visitor, peer = listening.accept()
    except OSError:
        return False
    try:
        address, source = route(listening, peer[0], visitor.getsockname()[0], trusted)
        serving = socket.create_connection(address, _CONNECT_TIMEOUT_S, source)
    except OSError:
        visitor.close()
    else:
        _Connection(selector, visitor, serving)
    return True


def route(
    listening: socket.socket, peer: str, own: str, trusted: Sequence[Network]
) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return where to connect to for a visitor, and from which address.

    Args:
        listening: the socket at which the visitor waited.
        peer: the visitor's address.
        own: the address of this machine that the visitor has connected to.
        trusted: networks from which only visitors of this machine may seem to come.

    Raises:
        PermissionError: every address would be a trusted one.
    """
    host, port = listening.getsockname()[:2]
    visitor, own = (each.removeprefix("::ffff:") for each in (peer, own))
    is_local = ipaddress.ip_address(visitor).is_loopback
    is_dual = host == "::" and not listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    is_every = host in ("0.0.0.0", "::")
    if is_dual and not (is_local and ":" in visitor):
        host = "0.0.0.0"
    # With IPv6, this machine has no second address of its own but those that visitors use.
    sources = [visitor] if is_local else [own] if ":" in host else [SOURCE, own]
    for source in sources:
        address = ipaddress.ip_address(source)
        if (":" in source) == (":" in host) and (
            is_local or not any(address in network for network in trusted)
        ):
            loopback = "::1" if ":" in source else "127.0.0.1"
            local = loopback if address.is_loopback else source
            return (local if is_every else host, port), (source, 0)
    raise PermissionError("the proxy would accept X-Forwarded-For of any visitor")
