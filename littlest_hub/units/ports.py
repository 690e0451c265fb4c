"""The TCP ports of an installation: kept, requested or the first free ones."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import installed_unit
from littlest_hub.layout import Layout
from littlest_hub.system.addresses import in_url, is_local
from littlest_hub.system.tcp import family_of

FIRST_PUBLIC = 80
FIRST_OTHER_PUBLIC = 8000
FIRST_HTTPS = 443
FIRST_OTHER_HTTPS = 8443
FIRST_INTERNAL = 15001

# A unit file's line, which is not what `systemctl show` prints.
_LISTEN = re.compile(r"^ListenStream=(?:(\S*):)?(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Ports:
    """TCP ports of one installation."""

    public: int = FIRST_PUBLIC
    """The proxy's port for http."""
    hub: int = FIRST_INTERNAL
    """The hub's port, on loopback."""
    api: int = FIRST_INTERNAL + 1
    """The port of the proxy's API, on loopback."""
    host: str = ""
    """The only address that the proxy listens on, as in a URL; "": all addresses."""
    https: int = FIRST_HTTPS
    """The proxy's port for https, while fragments enable it."""

    def listen(self, port: int) -> str:
        """Return ListenStream= of a public port."""
        return f"{self.host}:{port}" if self.host else str(port)

    @property
    def public_address(self) -> tuple[str, int]:
        """Host and port at which programs of this machine reach the proxy."""
        return self.host.strip("[]") or "127.0.0.1", self.public

    @property
    def is_public(self) -> bool:
        """True unless the proxy listens on loopback only."""
        return not (self.host and ipaddress.ip_address(self.host.strip("[]")).is_loopback)

    @property
    def hub_address(self) -> str:
        return f"127.0.0.1:{self.hub}"

    @property
    def api_address(self) -> str:
        return f"127.0.0.1:{self.api}"


def choose_ports(layout: Layout, requested: str | None) -> Ports:
    """Return the ports that an installation has, or free ones.

    Args:
        layout: the installation.
        requested: LITTLEST_HUB_PORT: the public port, or address and port; None: the present one,
            or 80 for the default base directory, or the first free one from 8000.

    Raises:
        LittlestHubError: the requested port is not a port, or it is in use.
    """
    own = {
        unit: port_of(layout, unit)
        for unit in layout.started_unit_names
        if unit.endswith(".socket")
    }
    taken = set(_configured(layout)) - set(own.values())
    internal = (
        port
        for port in range(FIRST_INTERNAL, 65536)
        if _is_usable(layout, port, taken, "127.0.0.1")
    )
    host, public = _public(layout, requested, taken)
    return Ports(
        public=public,
        hub=own[layout.hub_socket] or next(internal),
        api=own[layout.proxy_api_socket] or next(internal),
        https=own[layout.proxy_https_socket] or _https(layout, host, public, taken),
        host=host,
    )


def free_internal_port(layout: Layout) -> int:
    """Return a port on loopback that no program and no unit has."""
    taken = set(_configured(layout))
    ports = range(FIRST_INTERNAL, 65536)
    return next(port for port in ports if _is_usable(layout, port, taken, "127.0.0.1"))


def is_free(port: int, address: str = "") -> bool:
    """Return whether we could listen on a port of this machine ("": on all addresses)."""
    # As systemd does it: an IPv6 socket that takes IPv4 too, if the kernel has IPv6.
    is_dual = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if is_dual else family_of(address)
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_dual:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            # EACCES: a low port, and we are not root.
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def first_free(start: int) -> int:
    """Return the first port from `start` on that is free on all addresses."""
    return next(port for port in range(start, 65536) if is_free(port))


def _public(layout: Layout, requested: str | None, taken: set[int]) -> tuple[str, int]:
    """Return host, as in a URL, and port of the proxy."""
    current = address_of(layout, layout.proxy_socket)
    if requested:
        host, port = _parse_requested(requested)
        if host and layout.is_live and not is_local(host.strip("[]")):
            raise LittlestHubError(
                f"LITTLEST_HUB_PORT={requested}: {host} is no address of this machine",
                "See which are: ip -brief address",
            )
        is_moved = current is None or port != current[1]
        if is_moved and not _is_usable(layout, port, taken, host.strip("[]")):
            raise LittlestHubError(
                f"LITTLEST_HUB_PORT={requested}: another program listens on this port",
                f"See which: ss -ltnp 'sport = :{port}'. Or give another LITTLEST_HUB_PORT, or none"
                " to take the first free one",
            )
        return host, port
    if current:
        return current
    if layout.is_default and _is_usable(layout, FIRST_PUBLIC, taken):
        return "", FIRST_PUBLIC
    return "", next(p for p in range(FIRST_OTHER_PUBLIC, 65536) if _is_usable(layout, p, taken))


def _parse_requested(text: str) -> tuple[str, int]:
    """Parse 8000, 127.0.0.1:8000 or [::1]:8000 to a host, as in a URL, and a port."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not port.isascii() or not 0 < int(port) < 65536:
        raise LittlestHubError(
            f"LITTLEST_HUB_PORT={text!r}: expected a port between 1 and 65535, or an address and a"
            " port such as 127.0.0.1:8000"
        )
    try:
        address = ipaddress.ip_address(host.strip("[]")) if ":" in text else None
    except ValueError:
        address = None
    is_bracketed = host.startswith("[") and host.endswith("]")
    if ":" in text and (address is None or is_bracketed != (address.version == 6)):
        raise LittlestHubError(
            f"LITTLEST_HUB_PORT={text!r}: {host!r} is no IP address",
            "Give one such as 127.0.0.1:8000 or [::1]:8000, or only a port for all addresses",
        )
    if address is None or address.is_unspecified:
        return "", int(port)
    return in_url(str(address)), int(port)


def _https(layout: Layout, host: str, public: int, taken: set[int]) -> int:
    if public == FIRST_PUBLIC:
        # The port of https://. If a program has it, `check` reports that once HTTPS is enabled.
        return FIRST_HTTPS
    others = (port for port in range(FIRST_OTHER_HTTPS, 65536) if port != public)
    return next(port for port in others if _is_usable(layout, port, taken, host.strip("[]")))


def _is_usable(layout: Layout, port: int, taken: set[int], address: str = "") -> bool:
    # Listeners on this machine do not matter to an image of another one.
    return port not in taken and (not layout.is_live or is_free(port, address))


def _configured(layout: Layout) -> Iterator[int]:
    """Yield the ports of all socket units in /etc/systemd/system."""
    for unit in sorted(layout.on_disk(layout.system_units).glob("*.socket")):
        file = installed_unit(layout, unit.name)
        for _, port in _LISTEN.findall(file.read_text(errors="replace")) if file.is_file() else ():
            yield int(port)


def port_of(layout: Layout, unit: str) -> int | None:
    """Return the TCP port in a socket unit's file, without drop-ins; None: there is none."""
    found = address_of(layout, unit)
    return found[1] if found else None


def address_of(layout: Layout, unit: str) -> tuple[str, int] | None:
    """Return host, as in a URL ("": all addresses), and port in a socket unit's file."""
    file = installed_unit(layout, unit)
    found = _LISTEN.search(file.read_text()) if file.is_file() else None
    return (found[1] or "", int(found[2])) if found else None
