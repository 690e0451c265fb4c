"""Rules on addresses, ports and URLs."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from socket import SOCK_STREAM
from urllib.parse import SplitResult, urlsplit

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings, strings
from littlest_hub.system.addresses import addresses_of

_EVERY_ADDRESS = ("", "*", "0.0.0.0", "::", "::ffff:0.0.0.0")


def ports_out_of_range(settings: Settings) -> Iterator[Problem]:
    """Refuse numbers that are not TCP ports."""
    for key in ("port", "hub_port"):
        setting = settings.get("JupyterHub", key)
        if isinstance(setting.value, int) and not 0 <= setting.value < 65536:
            yield from setting.error(f"expected a port up to 65535, found {setting.value}")


def invalid_urls(settings: Settings) -> Iterator[Problem]:
    """Refuse URLs without a scheme or with an invalid port, and public ones without a host."""
    for key in ("bind_url", "hub_bind_url", "hub_connect_url", "public_url"):
        setting = settings.get("JupyterHub", key)
        url = setting.value
        if not isinstance(url, str) or setting.origin is None or (not url and key != "bind_url"):
            continue
        parts = split_url(url)
        if parts is None:
            yield from setting.error(f"expected a port up to 65535 in {url!r}")
        elif parts.scheme not in ("http", "https", "http+unix", "unix+http"):
            yield from setting.error(f"expected a URL such as 'http://:8000', found {url!r}")
        elif key == "public_url" and not parts.hostname:
            yield from setting.error(f"expected a URL with a host name, found {url!r}")
    subdomains = settings.get("JupyterHub", "subdomain_host")
    if isinstance(url := subdomains.value, str) and url:
        parts = split_url(url if "://" in url else f"https://{url}")
        if parts is None or not parts.hostname:
            text = f"expected a URL such as 'https://hub.example.org', found {url!r}"
            yield from subdomains.error(text)


def ports_of_other_programs(settings: Settings) -> Iterator[Problem]:
    """Refuse ports that another program listens on, unless a socket decides where to listen."""
    for setting, host, port in _listen_settings(settings):
        if _is_overridden(settings, setting):
            continue
        if program := program_at(settings, host, port):
            text = f"port {port} is in use by {program}; expected a free port"
            yield from setting.error(text)


def addresses_that_the_socket_overrides(settings: Settings) -> Iterator[Problem]:
    """Warn that the proxy listens where its socket unit says, not where a fragment says."""
    sockets = settings.facts.public_sockets
    is_everywhere = any(_is_every_address(host) for host, _ in sockets)
    where = " and ".join(
        f"port {port} of {'every address' if _is_every_address(host) else host}"
        for host, port in sockets
    )
    for setting, host, port in _listen_settings(settings):
        if not _is_overridden(settings, setting) or str(setting.value).startswith("https:"):
            continue
        host = "127.0.0.1" if host == "localhost" else host
        hosts = ["", *(host.strip("[]") for host, _ in sockets)]
        is_same_host = _is_every_address(host) if is_everywhere and host else host in hosts
        if port in (0, *(port for _, port in sockets)) and is_same_host:
            continue
        yield from setting.warning(
            f"{setting.value!r} has no effect: the proxy listens where its socket does, at {where};"
            " expected no such setting; to move it:"
            f" LITTLEST_HUB_PORT=127.0.0.1:8000 {settings.layout.command} install, for example, or:"
            f" systemctl edit {settings.layout.proxy_socket}"
        )


def _is_overridden(settings: Settings, setting: EffectiveSetting) -> bool:
    """Return whether the proxy's socket unit decides in place of a setting."""
    has_socket = settings.facts.public_sockets and settings.uses("Proxy", "HubProxy")
    return bool(has_socket) and setting.key in ("bind_url", "ip", "port")


def base_url_that_is_not_a_path(settings: Settings) -> Iterator[Problem]:
    """Refuse a base_url that is a whole URL, or has more than a path."""
    setting = settings.get("JupyterHub", "base_url")
    url = setting.value
    if setting.origin and isinstance(url, str) and re.search(r"[?#\s\\]|//", url):
        yield from setting.error(f"expected a path such as '/jupyter/', found {url!r}")


def public_url_with_another_path(settings: Settings) -> Iterator[Problem]:
    """Refuse a public_url that does not end in base_url: the hub would not start."""
    setting = settings.get("JupyterHub", "public_url")
    base_url, bind_url = (settings.get("JupyterHub", key).value for key in ("base_url", "bind_url"))
    parts = split_url(setting.value) if isinstance(setting.value, str) else None
    if not parts or not isinstance(bind_url, str):
        return
    below = base_url if settings.get("JupyterHub", "base_url").origin else urlsplit(bind_url).path
    path, wanted = parts.path.strip("/"), str(below or "").strip("/")
    if path and not f"/{path}".endswith(f"/{wanted}"):
        yield from setting.error(
            f"expected the path /{wanted} of JupyterHub.base_url, found {setting.value!r}"
        )


def every_address_trusted_as_proxy(settings: Settings) -> Iterator[Problem]:
    """Warn that every visitor could forge the address that the hub sees."""
    setting = settings.get("Proxy", "trusted_proxies")
    for network in strings(setting.value):
        if network.endswith("/0"):
            yield from setting.warning(
                f"{network!r} contains every address; expected those of the proxies in front of"
                " this hub",
                network,
            )


def ports_used_twice(settings: Settings) -> Iterator[Problem]:
    """Refuse equal ports for the public, the hub's and the proxy API's socket."""
    names = {"bind_url": "public port", "hub_port": "hub's port", "api": "proxy API's port"}
    ports = {role: _effective_port(settings, role) for role in names}
    for role, key in (("bind_url", "bind_url"), ("bind_url", "port"), ("hub_port", "hub_port")):
        setting = settings.get("JupyterHub", key)
        others = {each for each, port in ports.items() if each != role and port == ports[role]}
        if others and setting.origin:
            taken = " and ".join(sorted(names[other] for other in others))
            yield from setting.error(f"port {ports[role]} is the {taken} too; expected another")


def _effective_port(settings: Settings, role: str) -> int | None:
    if role == "hub_port":
        port = settings.get("JupyterHub", "hub_port").value
        return port if isinstance(port, int) else None
    url = settings.get("Proxy", "traefik_api_url") if role == "api" else None
    url = url or settings.get("JupyterHub", "bind_url")
    parts = split_url(url.value) if isinstance(url.value, str) else None
    port = settings.get("JupyterHub", "port")
    if role == "bind_url" and port.origin and isinstance(port.value, int):
        return port.value
    return parts.port if parts else None


def addresses_of_other_machines(settings: Settings) -> Iterator[Problem]:
    """Refuse addresses to listen on that this machine does not have."""
    own = settings.facts.addresses
    for setting, host, _ in _listen_settings(settings):
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            continue
        if address.is_unspecified or address.is_loopback or not own or str(address) in own:
            continue
        text = f"{host} is not an address of this machine; expected one of {', '.join(own)}"
        yield from setting.error(text)


def hub_address_that_cannot_be_had(settings: Settings) -> Iterator[Problem]:
    """Refuse an address for the hub that its socket does not have and that it cannot have."""
    sockets = settings.facts.hub_sockets
    if not sockets or not settings.uses("Proxy", "HubProxy"):
        return
    setting, scheme, host, port = _hub_address(settings)
    if scheme != "http":
        yield from setting.error(
            f"the proxy reaches the hub by http and TCP only; expected no such setting, found"
            f" {setting.value!r}"
        )
        return
    where = " and ".join(f"{each}:{number}" for each, number in sockets)
    remedy = (
        f"the socket of {settings.layout.hub_socket} listens at {where}; expected no such setting;"
        " for servers on other machines: one more ListenStream= in a drop-in (systemctl edit"
        f" {settings.layout.hub_socket}), and c.JupyterHub.hub_connect_url"
    )
    listening = list(sockets)
    if not any(port == number and _is_same_host(host, each) for each, number in sockets):
        listening.append((host, port))
        reason = _why_not_bound(host, port)
        # Every address too: the hub gets the socket at its port, even if that has only one.
        is_refused = reason or _is_every_address(host)
        if is_refused and any(port == number for _, number in sockets):
            yield from setting.error(f"the hub cannot listen at {host or '*'}:{port}: {remedy}")
            return
        is_taken = reason == os.strerror(errno.EADDRINUSE)
        # By another program, which another rule reports, or by the hub that serves now.
        if reason and not is_taken:
            yield from setting.error(f"the hub cannot listen at {host}:{port} ({reason}); {remedy}")
            return
    yield from _unreachable_hub(settings, setting, host, port, listening)


def _hub_address(settings: Settings) -> tuple[EffectiveSetting, str, str, int]:
    """Return the setting that decides where the hub listens, and its scheme, host and port."""
    url, ip, number = (
        settings.get("JupyterHub", key) for key in ("hub_bind_url", "hub_ip", "hub_port")
    )
    parts = split_url(url.value) if isinstance(url.value, str) and url.value else None
    if parts:
        default = 443 if parts.scheme == "https" else 80
        return url, parts.scheme, parts.hostname or "", parts.port or default
    host = ip.value if isinstance(ip.value, str) else ""
    port = number.value if isinstance(number.value, int) else 0
    return ip if ip.origin else number, "http", host.strip("[]"), port


def _unreachable_hub(
    settings: Settings,
    bound: EffectiveSetting,
    host: str,
    port: int,
    listening: list[tuple[str, int]],
) -> Iterator[Problem]:
    """Refuse an address to connect to at which the hub does not listen.

    Args:
        settings: all of them.
        bound: the setting that decides where the hub listens.
        host: where it listens.
        port: the same.
        listening: all addresses at which it listens, those of its socket included.
    """
    connected = _connect_address(settings, bound, host, port)
    if connected is None:
        return  # `invalid_urls` says so
    setting, scheme, host, port = connected
    is_url = setting.key == "hub_connect_url"
    if scheme != "http":
        yield from setting.error(
            f"the proxy reaches the hub by http and TCP only, found {setting.value!r}; expected"
            " c.Spawner.hub_connect_url, which is for servers alone"
        )
        return
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(host, port, type=SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        text = f"the proxy would connect to the hub at {host!r}: {error}"
        # A name of a URL may resolve later; at `hub_connect_ip` the hub would listen too.
        yield from setting.warning(text) if is_url else setting.error(text)
        return
    own = {address for address in found if _is_local(settings, address)}
    # At the port of its socket the hub gets that socket, whatever the URL's address is.
    is_ip = setting.key == "hub_connect_ip"
    is_bound = is_ip or (is_url and all(port != each for _, each in listening))
    if is_bound and not own and (reason := _why_not_bound(host, port)):
        instead = "c.JupyterHub.hub_connect_url" if is_ip else "the port of its socket"
        yield from setting.error(
            f"JupyterHub would listen at {host}:{port} too, which fails ({reason}); expected"
            f" {instead}"
        )
    is_heard = any(
        number == port and _is_same_host(address, each)
        for address in own
        for each, number in listening
    )
    if own and not is_heard:
        where = " and ".join(f"{each or '*'}:{number}" for each, number in listening)
        yield from setting.error(
            f"proxy and servers would connect to the hub at {host}:{port}, but it listens at"
            f" {where}; expected one of these, or one more ListenStream= in a drop-in (systemctl"
            f" edit {settings.layout.hub_socket})"
        )


def _connect_address(
    settings: Settings, bound: EffectiveSetting, host: str, port: int
) -> tuple[EffectiveSetting, str, str, int] | None:
    """Return the setting that decides where the proxy finds the hub, and its scheme, host and port.

    None: it is no URL.

    Args:
        settings: all of them.
        bound: the setting that decides where the hub listens.
        host: where it listens.
        port: the same.
    """
    url, ip, number = (
        settings.get("JupyterHub", key)
        for key in ("hub_connect_url", "hub_connect_ip", "hub_connect_port")
    )
    setting = next((each for each in (url, number, ip) if each.value and each.origin), bound)
    if url.value and isinstance(url.value, str):
        parts = split_url(url.value)
        return (setting, parts.scheme, parts.hostname or "", parts.port or 80) if parts else None
    if ip.value and isinstance(ip.value, str):
        host = ip.value
    elif _is_every_address(host):
        host = socket.gethostname()
    if number.value and isinstance(number.value, int):
        port = number.value
    return setting, "http", host, port


def hub_that_servers_would_not_find(settings: Settings) -> Iterator[Problem]:
    """Refuse a URL of the hub for servers if nothing on this machine listens there."""
    setting = settings.get("Spawner", "hub_connect_url")
    facts = settings.facts
    if not isinstance(setting.value, str):
        return
    parts = split_url(setting.value)
    if not parts or parts.scheme not in ("http", "https") or not parts.hostname:
        text = f"expected a URL such as 'http://hub.example.org:8000', found {setting.value!r}"
        yield from setting.error(text)
        return
    # Other spawners' servers may be elsewhere, and the proxy opens its port for https by itself.
    is_here = settings.uses("Spawner", "UnitSpawner") and facts.hub_sockets
    if not is_here or parts.scheme == "https":
        return
    port = parts.port or 80
    others = [(each.address, each.port) for each in facts.listeners]
    listening = [*facts.hub_sockets, *facts.public_sockets, *others]
    addresses = [each for each in addresses_of(parts.hostname) if _is_local(settings, each)]
    is_heard = any(
        number == port and _is_same_host(address, each)
        for address in addresses
        for each, number in listening
    )
    if addresses and not is_heard:
        yield from setting.error(
            f"servers would not find the hub: nothing listens at {parts.hostname}:{port}; expected"
            " no such setting, unless servers are on other machines"
        )


def _is_local(settings: Settings, address: str) -> bool:
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return True
    return address in settings.facts.addresses


def _is_same_host(host: str, listening: str) -> bool:
    """Return whether who connects to a host reaches a socket that listens."""
    host, listening = (each.strip("[]") for each in (host, listening))
    return listening in (host, *addresses_of(host)) or _is_every_address(listening)


def _why_not_bound(host: str, port: int) -> str:
    """Return why this program cannot listen at an address; "": it can."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def program_at(settings: Settings, host: str, port: int) -> str:
    """Return the other program that listens at an address and port; "": none does."""
    for other in settings.facts.listeners:
        if other.port == port and _overlap(host, other.address):
            return other.program
    return ""


def split_url(url: str) -> SplitResult | None:
    """Split a URL; None: its port is invalid."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _listen_settings(settings: Settings) -> Iterator[tuple[EffectiveSetting, str, int]]:
    """Yield what fragments set for hub and proxy to listen on: setting, host, port (0: unset)."""
    for url_key, host_key, port_key in (
        ("bind_url", "ip", "port"),
        ("hub_bind_url", "hub_ip", "hub_port"),
    ):
        url = settings.get("JupyterHub", url_key)
        parts = split_url(url.value) if isinstance(url.value, str) else None
        if url.origin and parts and parts.scheme in ("http", "https"):
            default = 443 if parts.scheme == "https" else 80
            yield url, parts.hostname or "", parts.port or default
        host, port = (settings.get("JupyterHub", key) for key in (host_key, port_key))
        if isinstance(host.value, str) and isinstance(port.value, int):
            if port.origin:
                yield port, host.value, port.value
            elif host.origin:
                yield host, host.value, 0


def _overlap(host: str, address: str) -> bool:
    """Return whether two programs at these addresses cannot share a port."""
    host = "127.0.0.1" if host == "localhost" else host
    return host in _EVERY_ADDRESS or address in _EVERY_ADDRESS or host == address


def _is_every_address(host: str) -> bool:
    return host.strip("[]") in _EVERY_ADDRESS
