"""Requests on a fixed schedule, with as little client as possible.

Open loop: each request is sent when it is due, whether or not earlier ones were answered, and its
latency counts from then. Every other one has a connection of its own; the rest keep theirs alive
and behave like browsers: if a reused connection was closed before the first byte of an answer, the
request is sent once more (RFC 9110, 9.2.2), and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.outage.account import Sample

TIMEOUT_S = 30
"""Time after which an unanswered request has failed: longer than a user waits."""


@dataclass(frozen=True)
class Page:
    """One repeated GET request, whose answer must be 200."""

    target: str
    path: str
    headers: tuple[str, ...] = ()

    def request(self, host: str, *, keep: bool) -> bytes:
        """The request's bytes."""
        lines = [f"GET {self.path} HTTP/1.1", f"Host: {host}", *self.headers]
        lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class BrokenError(Exception):
    """The answer is incomplete."""

    def __init__(self, reason: str, *, silent: bool) -> None:
        super().__init__(reason)
        self.silent = silent
        """Whether not a single byte arrived."""


class Connection:
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.reusable = True

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        try:
            return cls(*await asyncio.open_connection(host, port))
        except OSError as error:
            raise BrokenError(_reason(error), silent=True) from error

    @property
    def is_closed(self) -> bool:
        """Return whether the server has closed its side."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def ask(self, request: bytes) -> int:
        """Send a request, read its whole answer, and return the status.

        Raises:
            BrokenError: the answer does not come, or ends early.
        """
        silent = True
        try:
            self._writer.write(request)
            first = await self._reader.readline()
            if not first:
                raise BrokenError("closed", silent=True)
            silent = False
            status = int(first.split()[1])
            await self._read_body(await self._read_headers())
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
            raise BrokenError(_reason(error), silent=silent) from error
        return status

    async def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := (await self._reader.readline()).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip().lower()
        self.reusable = headers.get("connection") != "close"
        return headers

    async def _read_body(self, headers: dict[str, str]) -> None:
        if headers.get("transfer-encoding") == "chunked":
            size = 1
            while size:
                size = int(await self._reader.readline(), 16)
                await self._reader.readexactly(size + len("\r\n"))
        elif "content-length" in headers:
            await self._reader.readexactly(int(headers["content-length"]))
        else:
            self.reusable = False
            await self._reader.read()

    def close(self) -> None:
        self._writer.close()


class Load:
    """Requests while `async with Load("10.1.2.3", 80, {"hub": pages, …}, 20) as load:` runs."""

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Sequence[Page]], rate: float
    ) -> None:
        self._host, self._port = host, port
        self._pages = pages
        self._rate = rate
        self._idle: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._clocks: list[asyncio.Task[None]] = []
        self.samples: list[Sample] = []

    async def __aenter__(self) -> Load:
        start_s = asyncio.get_running_loop().time()
        for number, pages in enumerate(self._pages.values()):
            # The targets take turns, instead of adding up to bursts.
            offset_s = start_s + number / self._rate / len(self._pages)
            self._clocks.append(asyncio.create_task(self._send_on_time(pages, offset_s)))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop sending, and wait for outstanding answers."""
        for clock in self._clocks:
            clock.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * TIMEOUT_S)
        for connection in self._idle:
            connection.close()

    def all_well_since(self, at_s: float) -> bool:
        """Return whether each target has answered a request that was due after that time."""
        well = {s.target for s in self.samples if s.due_s > at_s and not s.failure}
        return well == set(self._pages)

    async def _send_on_time(self, pages: Sequence[Page], start_s: float) -> None:
        now = asyncio.get_running_loop().time
        for number in itertools.count():
            due_s = start_s + number / self._rate
            if (wait_s := due_s - now()) > 0:
                await asyncio.sleep(wait_s)
            # Each page alternates between new and kept connections, for any number of pages.
            page = pages[number // 2 % len(pages)]
            task = asyncio.create_task(self._one(page, due_s, keep=number % 2 == 1))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, page: Page, due_s: float, *, keep: bool) -> None:
        now = asyncio.get_running_loop().time
        sent_s = now()
        failure, retried = "", False
        try:
            status, retried = await asyncio.wait_for(self._ask(page, keep), TIMEOUT_S)
            if status != 200:
                failure = f"{status}"
        except BrokenError as error:
            failure = str(error)
        except TimeoutError:
            failure = f"no answer in {TIMEOUT_S} s"
        self.samples.append(Sample(page.target, due_s, sent_s, now(), failure, retried))

    async def _ask(self, page: Page, keep: bool) -> tuple[int, bool]:
        """Return the status, and whether it took a second request."""
        request = page.request(self._host, keep=keep)
        connection = self._take_idle() if keep else None
        if connection:
            try:
                return await self._exchange(connection, request), False
            except BrokenError as error:
                if not error.silent:
                    raise
        fresh = await Connection.open(self._host, self._port)
        return await self._exchange(fresh, request), connection is not None

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed:
                return connection
            connection.close()
        return None

    async def _exchange(self, connection: Connection, request: bytes) -> int:
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(connection.close)
            status = await connection.ask(request)
            if connection.reusable:
                cleanup.pop_all()
                self._idle.append(connection)
        return status


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "cut off" if isinstance(error, asyncio.IncompleteReadError) else "not HTTP"
