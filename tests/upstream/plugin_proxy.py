"""pytest plugin: HubProxy in the place of TraefikFileProviderProxy."""

from __future__ import annotations

import sys

from jupyterhub_traefik_proxy import fileprovider
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy

from littlest_hub.hub.proxy import HubProxy

assert "tests.conftest" not in sys.modules, "imported before it could be replaced"


class TestedProxy(HubProxy):
    """HubProxy that hands traefik its certificate, in the place of ProxyConfiguration."""

    __test__ = False

    _setup_traefik_dynamic_config = TraefikFileProviderProxy._setup_traefik_dynamic_config


fileprovider.TraefikFileProviderProxy = TestedProxy
