"""A real server with limits, and real connections that try to exceed them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler

from littlest_hub.system.http_server import PAUSE_S, BoundedServer, Sender

pytestmark = pytest.mark.unit

LARGE_ANSWER_BYTES = 64 * 2**20
CHUNKED = b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"
"""A body of 1001 bytes."""


class Page(RequestHandler):  # type: ignore[misc]
    """Answers with the size of the body; `/large` with more than the kernel buffers."""

    async def get(self) -> None:
        self.write(b"x" * LARGE_ANSWER_BYTES if self.request.path == "/large" else b"hello")

    async def post(self) -> None:
        self.write(str(len(self.request.body)))


class Limited(BoundedServer):
    """A server with small limits that knows those who say so, and counts attempts to accept."""

    attempts = 0
    max_unfinished = 20
    stranger_body_bytes = 1000
    large_bodies_bytes = 2_000_000

    async def identify(self, request: HTTPServerRequest) -> Sender | None:
        if "Fails" in request.headers:
            raise HTTPError(503, "no answer")
        name = request.headers.get("Known")
        return Sender(name, 1_500_000) if name else None

    def _accept(self, *args: Any) -> None:
        self.attempts += 1
        super()._accept(*args)


Connect = Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@contextlib.asynccontextmanager
async def serving(server: BoundedServer) -> AsyncIterator[Connect]:
    port = 0
    with contextlib.ExitStack() as opened, socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = listening.getsockname()[1]
        server.add_sockets([listening])

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.callback(writer.close)
            return reader, writer

        yield connect
        server.stop()
        await server.close_all_connections()


async def answer(connect: Connect, head: str, body: bytes = b"") -> str:
    """Send a request on a new connection, and return all of the answer."""
    reader, writer = await connect()
    writer.write(f"{head}\r\nHost: here\r\nConnection: close\r\n\r\n".encode() + body)
    with contextlib.suppress(ConnectionError):
        return (await reader.read()).decode()
    return ""


def page(**limits: Any) -> Limited:
    server = Limited(Application([(".*", Page)]))
    for name, value in limits.items():
        setattr(server, name, value)
    return server


def in_a_loop(what: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(what, 30))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.mark.row(29)
@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost:",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_unfinished_requests_give_way_to_later_ones(beginning: bytes) -> None:
    async def scenario() -> None:
        server = page()
        async with serving(server) as connect:
            flood = [await connect() for _ in range(100)]
            for _, writer in flood:
                writer.write(beginning)
            await until(lambda: len(server._connections) == server.max_unfinished)
            assert "hello" in await answer(connect, "GET / HTTP/1.1")
            assert "\r\n\r\n5" in await answer(
                connect, "POST / HTTP/1.1\r\nContent-Length: 5", b"fives"
            )
            # The oldest ones were dropped, and the youngest may go on.
            assert await flood[0][0].read() == b""
            flood[-1][1].write(b" here\r\n\r\n" if b"GET" in beginning else b"123456789")

    in_a_loop(scenario())


@pytest.mark.row(29)
def test_unfinished_requests_leave_room_for_others_where_few_descriptors_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (60, hard))

    async def scenario() -> None:
        server = page()
        async with serving(server) as connect:
            for _ in range(100):
                await connect()
            await until(lambda: len(server._connections) == server.max_connections // 2)
            assert "hello" in await answer(connect, "GET / HTTP/1.1")

    in_a_loop(scenario())


@pytest.mark.row(29)
def test_a_request_that_takes_too_long_is_dropped() -> None:
    async def scenario() -> None:
        server = page(body_timeout_s=0.2)
        server.conn_params.header_timeout = 0.2
        async with serving(server) as connect:
            for beginning in (
                "",
                "GET / HTTP/1.1\r\nHost: here\r\nPart: ",
                "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n123",
                "POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
            ):
                reader, writer = await connect()
                writer.write(beginning.encode())
                assert await reader.read() == b""

    in_a_loop(scenario())


@pytest.mark.row(29)
def test_an_answer_that_no_one_reads_ends_the_connection() -> None:
    async def scenario() -> None:
        server = page(unread_timeout_s=0.5)
        async with serving(server) as connect:
            _, writer = await connect()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
            await until(lambda: len(server._connections) == 1)
            await until(lambda: len(server._connections) == 0)

    in_a_loop(scenario())


@pytest.mark.row(29)
def test_connections_beyond_the_limit_wait_until_others_end() -> None:
    async def scenario() -> None:
        server = page(max_connections=5)
        async with serving(server) as connect:
            held = [await connect() for _ in range(5)]
            await until(lambda: len(server._connections) == 5)
            before = server.attempts
            later = asyncio.ensure_future(answer(connect, "GET / HTTP/1.1"))
            await until(lambda: server.attempts - before >= 2)
            assert not later.done()
            held[0][1].close()
            assert "hello" in await later

    in_a_loop(scenario())


@contextlib.contextmanager
def no_free_descriptor(listening: socket.socket) -> Iterator[None]:
    """Use up the process's descriptors, and connect to `listening`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with socket.socket() as connecting:
        connecting.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (connecting.fileno() + 50, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(connecting.fileno()))
            with contextlib.suppress(BlockingIOError):
                connecting.connect(listening.getsockname())
            yield
        finally:
            for each in taken:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.row(29)
def test_without_a_free_descriptor_it_waits_instead_of_spinning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        server = page()
        async with serving(server) as connect:
            reader, writer = await connect()
            await until(lambda: len(server._connections) == 1)
            before = server.attempts
            with no_free_descriptor(next(iter(server._sockets.values()))):
                began = asyncio.get_running_loop().time()
                await until(lambda: server.attempts - before >= 3)
                assert asyncio.get_running_loop().time() - began > 1.5 * PAUSE_S
                # It serves the connections that it has.
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                assert b"200" in await reader.readline()
                assert len(server._connections) == 1
            assert "hello" in await answer(connect, "GET / HTTP/1.1")

    with caplog.at_level(logging.WARNING):
        in_a_loop(scenario())
    assert caplog.text.count("have to wait") == 1


@pytest.mark.row(30)
@pytest.mark.parametrize(
    ("head", "sent", "status"),
    [
        ("Content-Length: 1000", b"x" * 1000, "200"),
        ("Content-Length: 1001", b"", "403"),
        ("Content-Length: 500000000", b"x" * 5000, "403"),
        ("Content-Length: 2000", b"x" * 2000, "403"),
        ("Content-Length: 500000000\r\nExpect: 100-continue", b"", "403"),
        ("Known: yes\r\nContent-Length: 1500000", b"x" * 1500000, "200"),
        ("Known: yes\r\nContent-Length: 1500001", b"", "413"),
        ("Fails: yes\r\nContent-Length: 1001", b"", "503"),
        ("Transfer-Encoding: chunked", b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n", "200"),
        ("Transfer-Encoding: chunked", b"3e9\r\n", "400"),
        ("Transfer-Encoding: chunked\r\nKnown: 1", CHUNKED, "200"),
        ("Transfer-Encoding: chunked\r\nKnown: 1", b"16e361\r\n", "400"),
        ("Content-Length: 1_0", b"", "400"),
        ("Content-Length: " + "9" * 5000, b"", "400"),
    ],
)  # fmt: skip
def test_a_stranger_may_send_a_small_body_and_a_known_sender_a_large_one(
    head: str, sent: bytes, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(page()) as connect:
            said = await answer(connect, f"POST / HTTP/1.1\r\n{head}", sent)
            assert said.startswith(f"HTTP/1.1 {status} "), said

    in_a_loop(scenario())
    assert "Traceback" not in caplog.text


@pytest.mark.row(30)
def test_large_bodies_of_one_sender_share_a_budget_and_outlive_a_flood() -> None:
    async def scenario() -> None:
        server = page()
        async with serving(server) as connect:
            reader, writer = await connect()
            head = "POST / HTTP/1.1\r\nHost: here\r\nKnown: yes\r\nContent-Length: 1200000\r\n\r\n"
            writer.write(head.encode())
            await until(lambda: bool(server._large))
            second = f"POST / HTTP/1.1\r\nKnown: yes\r\nContent-Length: {10**6}"
            assert "429" in await answer(connect, second)
            other = second.replace("yes", "other")
            assert "200" in await answer(connect, other, b"x" * 10**6)
            for _ in range(100):
                await connect()
            writer.write(b"x" * 1_200_000)
            assert b"200" in await reader.readline()
            writer.close()
            await until(lambda: not server._large)
            assert "200" in await answer(connect, second, b"x" * 10**6)

    in_a_loop(scenario())
