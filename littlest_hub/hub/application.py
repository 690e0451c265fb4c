"""The hub's tornado application: its open requests, and the connections that it keeps."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from littlest_hub.hub.request_limits import RequestLimits
from littlest_hub.proxy.routes import MARK_HEADER
from littlest_hub.system.http_server import close_after

SLOW_REQUEST_S = 0.1
"""Time after which a request counts as slow."""


class HubApplication(Application):  # type: ignore[misc]
    """A tornado application that knows its open requests, and their limits.

    It keeps connections of the proxy, which closes them in time when this hub ends
    (`keep_no_connection`), and no others.
    """

    def __init__(
        self,
        handlers: Any,
        limits: RequestLimits,
        is_from_proxy: Callable[[HTTPServerRequest], bool],
        **settings: Any,
    ) -> None:
        super().__init__(handlers, **settings)
        self.limits = limits
        self._is_kept = is_from_proxy
        self.open_requests: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
        """Time at which each one began; CLOCK_MONOTONIC, in seconds."""

    def has_open_request(self) -> bool:
        return len(self.open_requests) > 0

    def has_slow_request(self) -> bool:
        now = time.monotonic()
        return any(now - began > SLOW_REQUEST_S for began in self.open_requests.values())

    def keep_no_connection(self) -> None:
        """Close each connection after the request that is open, or the next one."""
        self._is_kept = lambda _: False
        for request in self.open_requests:
            close_after(request)

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        self.open_requests[request] = time.monotonic()
        if not self._is_kept(request):
            close_after(request)
        return super().find_handler(request, **kwargs)

    def log_request(self, handler: RequestHandler) -> None:
        self.open_requests.pop(handler.request, None)
        # JupyterHub logs the headers of a request that fails.
        handler.request.headers.pop(MARK_HEADER, None)
        super().log_request(handler)
