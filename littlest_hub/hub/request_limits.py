"""Limits of what the hub accepts: sizes of requests and of stored values, numbers of streams."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.users import SpawnProgressAPIHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.user import User
from sqlalchemy import Unicode, event, func, inspect, select
from tornado.httputil import HTTPServerRequest
from tornado.web import Finish, HTTPError
from traitlets import Int
from traitlets.config import Configurable

from littlest_hub.hub.spawn_options import LIMIT_BYTES
from littlest_hub.system.http_server import BoundedServer, Sender

MOST_TOKENS = 2000
"""The most tokens that one user may have. The hub does nothing else while it lists them. Each login
to a server makes one, which expires after two weeks."""


class RequestLimits(Configurable):  # type: ignore[misc]
    """Limits that fragments may change, as c.RequestLimits."""

    max_body_bytes = Int(
        2**20,
        min=BoundedServer.stranger_body_bytes,
        config=True,
        help="The largest request that someone who is logged in may send to the hub, in bytes: a"
        " spawn form with files, for example. Others may send 64 KiB.",
    )
    max_progress_streams = Int(
        64,
        min=1,
        config=True,
        help="How many pages of one user may follow the start of servers at the same time.",
    )


class HubServer(BoundedServer):
    """The hub's HTTP server."""

    unread_timeout_s = 60
    large_body_timeout_s = 600
    large_bodies_bytes = 16 * 2**20

    async def identify(self, request: HTTPServerRequest) -> Sender | None:
        application: Any = self.request_callback
        handler = BaseHandler(application, request)
        found = handler.get_current_user_token() or handler.get_current_user_cookie()
        if found is None:
            return None
        return Sender(f"{found.kind} {found.name}", application.limits.max_body_bytes)


class ProgressHandler(SpawnProgressAPIHandler):  # type: ignore[misc]
    """The event stream of a starting server; a limited number for each user.

    Each one keeps a connection open as long as the server takes to start.
    """

    _open: Counter[str] = Counter()
    _answer: asyncio.Task[Any] | None = None

    async def get(self, user_name: str, server_name: str = "") -> None:
        # A service, such as a portal, follows the servers of all users.
        user = self.current_user if isinstance(self.current_user, User) else None
        name = user.name if user else ""
        if user and self._open[name] >= self.application.limits.max_progress_streams:
            raise HTTPError(429, "Too many pages of yours follow the start of servers")
        self._answer = asyncio.current_task()
        self._open[name] += 1
        try:
            await super().get(user_name, server_name)
        except asyncio.CancelledError:
            raise Finish from None
        finally:
            self._open[name] -= 1

    def on_connection_close(self) -> None:
        super().on_connection_close()
        # Otherwise it would notice only when the server has something to report.
        if self._answer:
            self._answer.cancel()


def limit_stored_values() -> None:
    """Refuse values that are too long for their column, and more tokens than a user may have.

    SQLite stores any length in a column of Unicode(255). Most of these values come from users:
    names of servers, notes of tokens, identifiers of sessions.
    """
    for mapper in orm.Base.registry.mappers:
        for name, column in mapper.columns.items():
            if isinstance(column.type, Unicode) and column.type.length:
                attribute = mapper.class_manager[name]
                what = f"{mapper.class_.__name__}.{name}"
                event.listen(attribute, "set", _limit(what, column.type.length))
    as_stored = orm.JSONDict()

    def check_options(_: Any, options: Any, *__: Any) -> None:
        size = len(as_stored.process_bind_param(options, None) or "")
        if size > LIMIT_BYTES:
            raise HTTPError(400, f"options of {size} bytes; at most {LIMIT_BYTES} are stored")

    event.listen(orm.Spawner.user_options, "set", check_options)
    _limit_tokens()


def _limit_tokens() -> None:
    """Count before a token is made: all requests share a session, and errors in it fail them all.

    JupyterHub rolls the session back only after errors of SQLAlchemy.
    """
    upstream = orm.APIToken.new

    def new(token: str | None = None, *, user: Any = None, **others: Any) -> Any:
        if user is not None:
            of_user = select(func.count()).where(orm.APIToken.user_id == user.id)
            if inspect(user).session.scalar(of_user) >= MOST_TOKENS:
                reason = f"a user may have {MOST_TOKENS} tokens at most; revoke some first"
                raise HTTPError(429, reason)
        return upstream(token, user=user, **others)

    orm.APIToken.new = staticmethod(new)


def _limit(what: str, length: int) -> Any:
    def check(_: Any, value: Any, *__: Any) -> None:
        if isinstance(value, str) and len(value) > length:
            raise HTTPError(400, f"{what}: {len(value)} characters; at most {length} are stored")

    return check
