"""Rules on addresses, ports and URLs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from littlest_hub.check.report import Problem
from littlest_hub.check.settings import EffectiveSetting, Settings, strings

_EVERY_ADDRESS = ("", "*", "0.0.0.0", "::", "::ffff:0.0.0.0")


def ports_out_of_range(settings: Settings) -> Iterator[Problem]:
    """Refuse numbers that are not TCP ports."""
    for key in ("port", "hub_port"):
        setting = settings.get("JupyterHub", key)
        if isinstance(setting.value, int) and not 0 <= setting.value < 65536:
            yield from setting.error(f"expected a port up to 65535, found {setting.value}")


def invalid_urls(settings: Settings) -> Iterator[Problem]:
    """Refuse URLs without a scheme or with an invalid port."""
    for key in ("bind_url", "hub_bind_url", "hub_connect_url", "public_url"):
        setting = settings.get("JupyterHub", key)
        url = setting.value
        if not url or not isinstance(url, str) or setting.origin is None:
            continue
        parts = split_url(url)
        if parts is None:
            yield from setting.error(f"expected a port up to 65535 in {url!r}")
        elif parts.scheme not in ("http", "https", "http+unix", "unix+http"):
            yield from setting.error(f"expected a URL such as 'http://:8000', found {url!r}")


def ports_of_other_programs(settings: Settings) -> Iterator[Problem]:
    """Refuse ports that another program listens on."""
    for setting, host, port in _listen_settings(settings):
        if program := program_at(settings, host, port):
            text = f"port {port} is in use by {program}; expected a free port"
            yield from setting.error(text)


def addresses_that_the_socket_overrides(settings: Settings) -> Iterator[Problem]:
    """Warn that the proxy listens where its socket unit says, not where a fragment says."""
    sockets = settings.facts.public_sockets
    if not sockets or not settings.uses("Proxy", "HubProxy"):
        return
    is_everywhere = any(_is_every_address(host) for host, _ in sockets)
    where = " and ".join(
        f"port {port} of {'every address' if _is_every_address(host) else host}"
        for host, port in sockets
    )
    for setting, host, port in _listen_settings(settings):
        is_public = setting.key in ("bind_url", "ip", "port")
        if not is_public or str(setting.value).startswith("https:"):
            continue
        host = "127.0.0.1" if host == "localhost" else host
        hosts = ["", *(host.strip("[]") for host, _ in sockets)]
        is_same_host = _is_every_address(host) if is_everywhere and host else host in hosts
        if port in (0, *(port for _, port in sockets)) and is_same_host:
            continue
        yield from setting.warning(
            f"{setting.value!r} has no effect: the proxy listens where its socket does, at {where};"
            " expected no such setting; to move it: `littlest-hub install` with, for example,"
            " LITTLEST_HUB_PORT=127.0.0.1:8000, or: systemctl edit"
            f" {settings.layout.proxy_socket}"
        )


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
