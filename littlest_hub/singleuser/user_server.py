"""The user server's HTTP server: strangers cannot make it keep large bodies in memory."""

from __future__ import annotations

import inspect
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from littlest_hub.system.http_server import BoundedServer, Sender


class _RequestHandler(JupyterHandler):  # type: ignore[misc]
    """The sender of a request, identified by cookie or token before the body is read."""

    def check_xsrf_cookie(self) -> None:
        # The handler itself does it with the complete request.
        pass


class UserServer(BoundedServer):
    """jupyter_server's HTTP server: ServerApp.max_body_size is for those who are logged in."""

    # A user server may open 4096 files.
    max_unfinished = 512
    body_timeout_s = 60

    async def identify(self, request: HTTPServerRequest) -> Sender | None:
        application: Any = self.request_callback
        try:
            user = application.settings["identity_provider"].get_user(
                _RequestHandler(application, request)
            )
            if inspect.isawaitable(user):
                user = await user
        except Exception as error:
            # The hub, which knows tokens, does not answer, for example.
            raise HTTPError(503, f"It is unknown who sends this: {error}") from error
        return Sender(user.username, self.conn_params.max_body_size) if user else None
