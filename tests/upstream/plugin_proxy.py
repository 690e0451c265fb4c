"""pytest plugin: HubProxy in the place of TraefikFileProviderProxy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jupyterhub_traefik_proxy import fileprovider
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy

from littlest_hub.hub.proxy import HubProxy

assert "tests.conftest" not in sys.modules, "imported before it could be replaced"


class TestedProxy(HubProxy):
    """HubProxy that hands traefik its certificate, in the place of ProxyConfiguration.

    It writes TOML only. Tests with YAML get a TOML file beside the one that they remove at the end.
    """

    __test__ = False

    _setup_traefik_dynamic_config = TraefikFileProviderProxy._setup_traefik_dynamic_config

    def __init__(self, *, dynamic_config_file: str, **settings: Any) -> None:
        path = Path(dynamic_config_file)
        if path.suffix == ".yaml":
            path.touch()
        super().__init__(dynamic_config_file=str(path.with_suffix(".toml")), **settings)


fileprovider.TraefikFileProviderProxy = TestedProxy
