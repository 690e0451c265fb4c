"""The parts of JupyterHub and of our hub that a check uses.

The evaluator's modules import them from here, so that the first import of JupyterHub, which is half
of the time of a check, goes through `light_imports`.
"""

from __future__ import annotations

from littlest_hub.hub.light_imports import light_imports

with light_imports():
    from jupyterhub import orm
    from jupyterhub.app import JupyterHub
    from jupyterhub.auth import Authenticator
    from jupyterhub.handlers.login import LoginHandler
    from jupyterhub.proxy import Proxy
    from jupyterhub.spawner import Spawner

    from littlest_hub.hub import database
    from littlest_hub.hub.app import LittlestHub
    from littlest_hub.hub.config import FragmentError, complete, defaults, execute
    from littlest_hub.hub.login_limits import LoginLimits
    from littlest_hub.hub.pages import Pages
    from littlest_hub.hub.proxy import HubProxy
    from littlest_hub.hub.proxy_configuration import ProxyConfiguration, proxy_configuration
    from littlest_hub.hub.request_limits import RequestLimits
    from littlest_hub.hub.spawn_options import RequestPolicy
    from littlest_hub.hub.spawner import UnitSpawner, fragment_properties

__all__ = [
    "Authenticator",
    "FragmentError",
    "HubProxy",
    "JupyterHub",
    "LittlestHub",
    "LoginHandler",
    "LoginLimits",
    "Pages",
    "Proxy",
    "ProxyConfiguration",
    "RequestLimits",
    "RequestPolicy",
    "Spawner",
    "UnitSpawner",
    "complete",
    "database",
    "defaults",
    "execute",
    "fragment_properties",
    "orm",
    "proxy_configuration",
]
