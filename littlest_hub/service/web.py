"""A small web application behind the hub at /services/NAME/, with the hub's login.

The hub's base_url is a setting of fragments, which a unit does not know. But each request has it in
its path: BASE_URL/services/NAME/…
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from jupyterhub.utils import url_path_join
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.sd_daemon import inherited_sockets
from littlest_hub.units.stack import HUB_ADDRESS, SERVICE

IDLE_S = 600
"""Time for which a service runs that nobody visits; its socket starts it again."""
_END_S = 10
"""Time in which it completes requests when it ends."""
_GRACE_S = 0.2
"""Time limit of a connection, from its acceptance to its first line."""
_CACHE_S = 10
"""Time for which the hub's answer about a user is used again; a user without rights is out then."""
# Longer than any base_url, which a program of this machine may choose in a request of its own.
_BASE = r"((?:/[A-Za-z0-9._~-]{1,64}){0,8}/)"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self';"
    " font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _Behind(HubOAuthenticated):  # type: ignore[misc]
    """A request to the service, whose user logs in at the hub."""

    application: WebService
    request: Any

    def initialize(self) -> None:
        self.application.begin()
        found = self.application.path.match(self.request.path)
        self.hub_base = found[1] if found else "/"
        self.hub_auth = self.application.hub_auth(self.hub_base)

    def set_default_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def on_finish(self) -> None:
        self.application.end()


class Handler(_Behind, RequestHandler):  # type: ignore[misc]
    """Base class of a stack's pages: `hub_base` is the hub's base URL, `current_user` its user.

    Pages with `tornado.web.authenticated` are for users who have the scope
    `access:services!service=NAME`: administrators, and those whom a role gives it.
    """

    application: WebService
    hub_base: str

    async def ask_hub(self, path: str) -> HTTPResponse:
        """Return an answer of the hub's API, asked with the service's own token.

        Raises:
            HTTPClientError, OSError: it refuses, or does not answer.
        """
        return await AsyncHTTPClient().fetch(
            f"{self.hub_auth.api_url}/{path}",
            headers={"Authorization": f"token {self.hub_auth.api_token}"},
            follow_redirects=False,
        )

    async def published(self) -> Any:
        """Return the `info` of this service, which a fragment publishes through the hub.

        The service needs the scope `read:services!service=NAME`.

        Raises:
            LittlestHubError: the hub does not answer.
        """
        try:
            answer = await self.ask_hub(f"services/{self.application.name}")
            return json.loads(answer.body)["info"]
        except (HTTPClientError, OSError, ValueError, KeyError) as error:
            raise LittlestHubError(
                f"the hub does not tell the settings of this page ({error})",
                "Try again in a moment; if that does not help, ask the administrator",
            ) from error


class _Callback(_Behind, HubOAuthCallbackHandler):  # type: ignore[misc]
    """The end of a login."""


class WebService(Application):  # type: ignore[misc]
    """A stack's web application.

    Args:
        name: the service.
        token: its token.
        hub: address of the hub, as in a URL.
        pages: paths below /services/NAME/, as regular expressions, and their handlers.
        settings: what the handlers find as `settings`.
    """

    def __init__(
        self,
        name: str,
        token: str,
        hub: str,
        pages: Sequence[tuple[str, type[Handler]]],
        **settings: Any,
    ) -> None:
        self.name, self._token, self._hub = name, token, hub
        self.path = re.compile(f"{_BASE}services/{re.escape(name)}/")
        self.active = 0
        """Number of requests that are being answered."""
        self.last_s = time.monotonic()
        """Time at which the last one began or ended."""
        self.is_over = asyncio.Event()
        """Set to end the service as soon as it can; its socket starts it again."""
        prefix = f"{_BASE.replace('(', '(?:', 1)}services/{re.escape(name)}/"
        handlers = [(prefix + path, handler) for path, handler in pages]
        secret = hashlib.sha256(f"cookies of {token}".encode()).digest()
        super().__init__(
            [*handlers, (f"{prefix}oauth_callback", _Callback)],
            # The same after a restart: nobody has to log in again.
            cookie_secret=secret,
            xsrf_cookies=True,
            **settings,
        )
        self.hub_auth = lru_cache(maxsize=8)(self._hub_auth)

    def _hub_auth(self, base: str) -> HubOAuth:
        """Return what asks a hub with this base URL about users."""
        return HubOAuth(
            api_token=self._token,
            api_url=f"http://{self._hub}{base}hub/api",
            hub_prefix=f"{base}hub/",
            base_url=url_path_join(base, "services", self.name),
            oauth_client_id=f"service-{self.name}",
            access_scopes={f"access:services!service={self.name}"},
            cache_max_age=_CACHE_S,
        )

    def begin(self) -> None:
        self.active += 1
        self.last_s = time.monotonic()

    def end(self) -> None:
        self.active -= 1
        self.last_s = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nobody has come for some time."""
        return not self.active and time.monotonic() >= self.last_s + IDLE_S

    def log_request(self, handler: RequestHandler) -> None:
        # The proxy's log has the others; addresses of logins contain secrets.
        if handler.get_status() >= 500:
            super().log_request(handler)


def serve(pages: Sequence[tuple[str, type[Handler]]], **settings: Any) -> None:
    """Serve pages at the socket that systemd has passed, until nobody comes or SIGTERM.

    Args:
        pages: paths below /services/NAME/, as regular expressions, and their handlers.
        settings: what the handlers find as `settings`.
    """
    token = sys.stdin.readline().strip()
    asyncio.run(_serve(from_environ(os.environ, token, pages, **settings)))


def from_environ(
    environ: Mapping[str, str],
    token: str,
    pages: Sequence[tuple[str, type[Handler]]],
    **settings: Any,
) -> WebService:
    """Return the web service that a unit describes.

    Raises:
        LittlestHubError: it describes none.
    """
    if not token or not environ.get(SERVICE) or not environ.get(HUB_ADDRESS):
        raise LittlestHubError(
            f"expected {SERVICE} and {HUB_ADDRESS}, and the token as standard input",
            "systemd starts this program: systemctl start littlest-hub.NAME",
        )
    return WebService(environ[SERVICE], token, environ[HUB_ADDRESS], pages, **settings)


async def _serve(service: WebService) -> None:
    # Without kept connections, none is lost when the service ends.
    server = HTTPServer(service, no_keep_alive=True, max_body_size=1 << 20)
    sockets = [each.duplicate() for each in inherited_sockets()]
    for each in sockets:
        each.setblocking(False)
    server.add_sockets(sockets)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.is_over.set)
    while not (service.is_over.is_set() or service.is_idle):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(service.is_over.wait(), 5)
    server.stop()
    await asyncio.sleep(_GRACE_S)
    deadline = time.monotonic() + _END_S
    while service.active and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
