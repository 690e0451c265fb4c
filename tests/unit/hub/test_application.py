"""The hub's application: it keeps the proxy's connections, and loses no request when it ends."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from littlest_hub.hub.application import HubApplication
from littlest_hub.hub.request_limits import HubServer, RequestLimits

pytestmark = pytest.mark.unit

KEPT, CLOSED = "keep-alive", "close"


class _Held(RequestHandler):  # type: ignore[misc]
    """Answers once `go` is set."""

    async def get(self) -> None:
        await self.application.go.wait()
        self.finish("there")


class _Client:
    """A connection of a client that keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> _Client:
        self._reading, self._writing = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writing.close()

    async def send(self, *headers: str) -> None:
        self._writing.write(
            "\r\n".join(["GET / HTTP/1.1", "Host: here", *headers, "", ""]).encode()
        )
        await self._writing.drain()

    async def answer(self) -> str:
        """Return what the server says about the connection."""
        head = (await self._reading.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 ")
        await self._reading.readexactly(len("there"))
        return CLOSED if "Connection: close" in head else KEPT


def test_the_proxys_connections_are_kept_until_the_hub_ends_and_no_others() -> None:
    def is_from_proxy(request: HTTPServerRequest) -> bool:
        return "Mark" in request.headers

    async def scenario() -> None:
        application = HubApplication([("/", _Held)], RequestLimits(), is_from_proxy)
        application.go = asyncio.Event()
        application.go.set()
        server = HubServer(application)
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        server.add_sockets([listening])
        port = listening.getsockname()[1]
        async with _Client(port) as other, _Client(port) as idle, _Client(port) as asking:
            await other.send()
            assert await other.answer() == CLOSED
            for client in (idle, asking, idle, asking):
                await client.send("Mark: 1")
                assert await client.answer() == KEPT
            application.go.clear()
            await asking.send("Mark: 1")
            await _until(application.has_open_request)
            application.keep_no_connection()
            application.go.set()
            assert await asking.answer() == CLOSED
            # It may bring one more request as long as its client has not closed it.
            assert server.has_kept_connection()
            await idle.send("Mark: 1")
            assert await idle.answer() == CLOSED
            await _until(lambda: not server.has_kept_connection())
        server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 30))


async def _until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.01)
