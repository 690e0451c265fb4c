"""The parts of JupyterHub and of our hub that a check uses.

The evaluator's modules import them from here, so that the first import of JupyterHub, which is half
of the time of a check, goes through `light_imports`.
"""

from __future__ import annotations

from littlest_hub.hub.light_imports import light_imports

with light_imports():
    from jupyterhub.app import JupyterHub
    from jupyterhub.auth import Authenticator
    from jupyterhub.proxy import Proxy
    from jupyterhub.spawner import Spawner

    from littlest_hub.hub.config import FragmentError, complete, defaults, execute
    from littlest_hub.hub.login_limits import LoginLimits
    from littlest_hub.hub.request_limits import RequestLimits
    from littlest_hub.hub.spawn_options import RequestPolicy

__all__ = [
    "Authenticator",
    "FragmentError",
    "JupyterHub",
    "LoginLimits",
    "Proxy",
    "RequestLimits",
    "RequestPolicy",
    "Spawner",
    "complete",
    "defaults",
    "execute",
]
