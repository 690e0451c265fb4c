"""tornado's HTTP server with limits for strangers: connections, unfinished requests, and bodies.

tornado 6.6 reads the whole body of a request before a handler can refuse it, keeps an idle
connection for an hour, and without a free descriptor tries to accept again and again without a
pause.
"""

from __future__ import annotations

import contextlib
import functools
import resource
import socket
from collections.abc import Awaitable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.log import app_log, gen_log
from tornado.web import HTTPError

ACCEPTED_AT_ONCE = 128
"""Number of connections that are accepted before other work gets its turn, as in tornado."""
PAUSE_S = 0.2
"""Time for which no connection is accepted if there are too many, or no descriptor is free."""
LOG_INTERVAL_S = 60


class Sender(NamedTuple):
    """The identified sender of a request."""

    name: str
    max_body_bytes: int
    """The largest body of a request of theirs."""


def close_after(request: HTTPServerRequest) -> None:
    """Close the connection of a request when it is answered, and announce that in the answer."""
    # tornado itself decides this by what the client wants, or for all requests (no_keep_alive).
    connection: Any = request.connection
    connection._disconnect_on_finish = True


class BoundedServer(HTTPServer):  # type: ignore[misc]
    """An HTTP server for requests from strangers.

    The oldest unfinished request is dropped when there are too many. Sources need not be told
    apart for that: an honest client sends its request within milliseconds, so it is never the
    oldest one for long enough.
    """

    max_unfinished = 1024
    """The most connections that are idle, or in the middle of a request's headers or body."""
    stranger_body_bytes = 64 * 1024
    """The largest body of a request whose sender is unknown."""
    idle_timeout_s: float = 100
    """Time for which a connection may be idle, and time limit of headers: longer than the 90 s
    after which traefik closes a connection that it keeps, so that it never sends a request into a
    closed one."""
    body_timeout_s: float = 30
    """Time limit of a body that is not larger than `stranger_body_bytes`."""
    large_body_timeout_s: float | None = None
    """Time limit of a larger body."""
    large_bodies_bytes: float = float("inf")
    """The greatest size of all larger bodies of one sender together."""
    unread_timeout_s: float = 0
    """Time for which a client may leave an answer unread; 0: any."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, idle_connection_timeout=self.idle_timeout_s, **kwargs)
        # The other half is for files, the database, programs.
        self.max_connections = min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        # Less than all of them: otherwise unfinished requests would make others wait.
        self.max_unfinished = min(self.max_unfinished, self.max_connections // 2)
        self._unfinished: dict[Any, None] = {}
        """Connections that wait for a request or its rest; the first one has waited longest."""
        self._large: dict[Any, tuple[str, int]] = {}
        """The sender of each connection with a large body, and the size that the body may have."""
        self._used: set[Any] = set()
        """Connections that have brought a request."""
        self._paused_at = float("-inf")

    async def identify(self, request: HTTPServerRequest) -> Sender | None:
        """Return the sender of a request, whose body is not there yet; None: a stranger.

        It is called for bodies that are larger than `stranger_body_bytes`, or of unknown size.

        Raises:
            HTTPError: the sender cannot be identified now.
        """
        return None

    # --- connections

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        for listening in sockets:
            self._sockets[listening.fileno()] = listening
            self._resume(listening)

    def _resume(self, listening: socket.socket) -> None:
        # A server that was stopped has closed its sockets.
        if listening.fileno() in self._sockets:
            loop = IOLoop.current()
            loop.add_handler(listening, self._accept, IOLoop.READ)
            remove = functools.partial(loop.remove_handler, listening)
            self._handlers[listening.fileno()] = remove

    def _pause(self, listening: socket.socket, reason: str) -> None:
        """Accept nothing for a moment; connections wait in the kernel's queue meanwhile."""
        loop = IOLoop.current()
        loop.remove_handler(listening)
        self._handlers[listening.fileno()] = lambda: None
        loop.call_later(PAUSE_S, self._resume, listening)
        if loop.time() > self._paused_at + LOG_INTERVAL_S:
            self._paused_at = loop.time()
            app_log.warning("New connections have to wait: %s", reason)

    def _accept(self, listening: Any, _events: int) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if len(self._connections) >= self.max_connections:
                self._pause(listening, f"{len(self._connections)} are open")
                return
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:  # EMFILE, ENFILE, ENOBUFS, ENOMEM
                self._pause(listening, str(error))
                return
            if self.unread_timeout_s and connection.family != socket.AF_UNIX:
                timeout_ms = int(self.unread_timeout_s * 1000)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
            self._handle_connection(connection, address)

    def has_kept_connection(self) -> bool:
        """Return whether a connection that has brought a request waits for another one."""
        return not self._used.isdisjoint(self._unfinished)

    # --- requests; tornado calls these

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        self._large.pop(server_conn, None)
        self._unfinished[server_conn] = None
        if len(self._unfinished) > self.max_unfinished:
            oldest = next(iter(self._unfinished))
            del self._unfinished[oldest]
            oldest.stream.close()
        inner = super().start_request(server_conn, request_conn)
        return _Request(self, server_conn, request_conn, inner)

    def on_close(self, server_conn: Any) -> None:
        super().on_close(server_conn)
        self.finished(server_conn)
        self._large.pop(server_conn, None)
        self._used.discard(server_conn)

    # --- for `_Request`

    def finished(self, server_conn: Any) -> None:
        """Forget a connection among those that wait for a request or its rest."""
        self._unfinished.pop(server_conn, None)

    def received(self, server_conn: Any) -> None:
        """Record that a connection has brought a whole request."""
        self._used.add(server_conn)
        self.finished(server_conn)

    async def admit(self, server_conn: Any, request: HTTPServerRequest, size: int | None) -> int:
        """Return the largest body of a request that announces a large one, or of unknown size.

        Raises:
            HTTPError: no such body is accepted.
        """
        sender = await self.identify(request)
        limit = sender.max_body_bytes if sender else self.stranger_body_bytes
        if (size or 0) > limit:
            # A handler that saw the request would answer a stranger with 403, too.
            status, who = (413, "") if sender else (403, " from someone who is not logged in")
            raise HTTPError(status, f"A body of {size} bytes; at most {limit} are accepted{who}")
        if sender:
            needed = limit if size is None else size
            others = [bytes_ for name, bytes_ in self._large.values() if name == sender.name]
            if others and sum(others) + needed > self.large_bodies_bytes:
                raise HTTPError(429, "Your other requests with large bodies have to end first")
            self._large[server_conn] = sender.name, needed
            # A known sender may take their time, while strangers drop each other's requests.
            self.finished(server_conn)
        return limit


class _Request(HTTPMessageDelegate):  # type: ignore[misc]
    """A request on its way to the application."""

    def __init__(
        self,
        server: BoundedServer,
        server_conn: Any,
        connection: HTTP1Connection,
        inner: HTTPMessageDelegate,
    ) -> None:
        self._server = server
        self._server_conn = server_conn
        self._connection = connection
        self._inner = inner

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        size = _announced_size(headers)
        if size is None or size > self._server.stranger_body_bytes:
            return self._large_body(start_line, headers, size)
        if size:
            self._connection.set_body_timeout(self._server.body_timeout_s)
        return self._inner.headers_received(start_line, headers)  # type: ignore[no-any-return]

    async def _large_body(self, start_line: Any, headers: HTTPHeaders, size: int | None) -> None:
        request = HTTPServerRequest(
            connection=self._connection, start_line=start_line, headers=headers
        )
        try:
            limit = await self._server.admit(self._server_conn, request, size)
        except HTTPError as error:
            gen_log.info("%s %s refused: %s", request.method, request.path, error)
            await self._refuse(error)
            return
        is_large = limit > self._server.stranger_body_bytes
        server = self._server
        timeout_s = server.large_body_timeout_s if is_large else server.body_timeout_s
        if timeout_s is not None:
            self._connection.set_body_timeout(timeout_s)
        self._connection.set_max_body_size(limit)
        if waiting := self._inner.headers_received(start_line, headers):
            await waiting

    async def _refuse(self, error: HTTPError) -> None:
        # For what the connection has received already.
        self._inner = HTTPMessageDelegate()
        text = f"{error.log_message}\n".encode()
        reason = HTTPStatus(error.status_code).phrase
        head = f"HTTP/1.1 {error.status_code} {reason}\r\nConnection: close\r\n"
        head += f"Content-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
        stream = self._connection.stream
        with contextlib.suppress(StreamClosedError):
            await stream.write(head.encode() + text)
        stream.close()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)  # type: ignore[no-any-return]

    def finish(self) -> None:
        self._server.received(self._server_conn)
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


def _announced_size(headers: HTTPHeaders) -> int | None:
    """Return the size of a body, 0 if there is none, or None if the headers do not tell it."""
    if "Transfer-Encoding" in headers:
        return None
    try:
        return int(headers.get("Content-Length", "0"))
    except ValueError:
        return None  # tornado refuses it
