"""The variables that the hub's unit passes to the hub; none of them is secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from littlest_hub.units.ports import Ports

PUBLIC_PORT = "LITTLEST_HUB_PUBLIC_PORT"
PROXY_API = "LITTLEST_HUB_PROXY_API"
HTTPS_PORT = "LITTLEST_HUB_HTTPS_PORT"


@dataclass(frozen=True)
class UnitEnvironment:
    """Addresses that the units decide and the hub's configuration needs."""

    public_port: int = Ports.public
    proxy_api: str = Ports().api_address
    hub_address: tuple[str, int] = ("127.0.0.1", Ports.hub)
    """Address of the socket that systemd passes to the hub."""
    public_host: str = ""
    """The only address that the proxy listens on, as in a URL; "": all addresses."""
    https_port: int | None = Ports.https
    """None: no HTTPS."""

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str] = os.environ,
        hub_address: tuple[str, int] | None = None,
    ) -> UnitEnvironment:
        """Read the variables of the unit; a missing one has its default value."""
        host, _, port = environ.get(PUBLIC_PORT, str(cls.public_port)).rpartition(":")
        return cls(
            public_host=host,
            public_port=int(port),
            proxy_api=environ.get(PROXY_API, cls.proxy_api),
            hub_address=hub_address or cls.hub_address,
            https_port=int(environ.get(HTTPS_PORT, Ports.https)),
        )
