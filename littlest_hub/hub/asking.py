"""How a hub asks whether a server answers: by tornado's HTTP client, which it has anyway.

JupyterHub's own, aiohttp, is a tenth of what a hub that starts imports and of what it holds. It is
there for whatever else is asked, and with settings of its own (c.JupyterHubHTTPClient).
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from littlest_hub.system.lazy_imports import names_only

_PATIENCE_S = 2
"""For the whole of an answer, of which aiohttp takes the beginning: whoever answers without an end,
or slowly, is asked by that."""
_LOOK = {"raise_for_status": False, "allow_redirects": False}
"""How `jupyterhub.utils.wait_for_http_server` asks."""
_SETTINGS = ("session_options", "connector_options", "_internal_connector_options")


def stand_ins() -> dict[str, ModuleType]:
    """For aiohttp while JupyterHub is imported: what its modules take from there."""
    module = names_only("aiohttp", "ClientResponseError", "TCPConnector")
    # As which tornado raises them.
    module.__dict__.update(ClientConnectionError=OSError, ClientOSError=OSError)
    return {
        "aiohttp": module,
        "aiohttp.client_exceptions": names_only("", "UnixClientConnectorError"),
        "aiohttp.client_proto": names_only("", "ResponseHandler"),
        "aiohttp.helpers": names_only("", "ceil_timeout"),
    }


def take_over(stand_in: ModuleType | None) -> None:
    """Have JupyterHub ask by us, if it has been imported with that in the place of aiohttp."""
    client = sys.modules.get("jupyterhub.httpclient")
    if client and getattr(client, "aiohttp", None) is stand_in:
        client.__dict__["JupyterHubHTTPClient"].fetch = _fetch


async def _fetch(client: Any, url: str, **options: Any) -> Any:
    """As JupyterHubHTTPClient.fetch."""
    is_plain = url.startswith("http://") and not any(getattr(client, name) for name in _SETTINGS)
    if not is_plain or options != _LOOK:
        return await _real().loop_instance().fetch(url, **options)
    from tornado.httpclient import HTTPRequest
    from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

    request = HTTPRequest(
        url, follow_redirects=False, connect_timeout=_PATIENCE_S, request_timeout=_PATIENCE_S
    )
    asking = SimpleAsyncHTTPClient(force_instance=True)
    try:
        return _Response(await asking.fetch(request, raise_error=False))
    except HTTPTimeoutError:
        return await _real().loop_instance().fetch(url, **options)
    finally:
        asking.close()


class _Response:
    """As much of aiohttp's as JupyterHub looks at."""

    def __init__(self, response: Any) -> None:
        self.status = int(response.code)
        self.headers = response.headers


def _real() -> Any:
    """JupyterHub's client as it is, for good."""
    module = sys.modules["jupyterhub.httpclient"]
    ours = module.__dict__["JupyterHubHTTPClient"]
    if ours.fetch is not _fetch:
        return ours
    settings = ours.instance()
    importlib.reload(module)
    aiohttp = importlib.import_module("aiohttp")
    # What they catch.
    sys.modules["jupyterhub.utils"].__dict__["aiohttp"] = aiohttp
    for name in ("ClientConnectionError", "ClientResponseError"):
        sys.modules["jupyterhub.proxy"].__dict__[name] = getattr(aiohttp, name)
    real = module.__dict__["JupyterHubHTTPClient"]
    # Which it closes at the end.
    sys.modules["jupyterhub.app"].__dict__["JupyterHubHTTPClient"] = real
    real.instance(
        parent=settings.parent, _internal_connector_options=settings._internal_connector_options
    )
    return real
