"""A real hub, the service of the launch stack, and browsers; stand-ins for resolver and builder.

The stand-ins answer as the programs behind their sockets do. What they answer is what a test is
about: a repository with code, a build that fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import unescape
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from littlest_hub.service.web import WebService
from littlest_hub.stacks.launch.pages.page import Place
from littlest_hub.stacks.launch.pages.routes import PAGES
from tests.eventually import eventually
from tests.network import free_port
from tests.unit.hub import hub_program

COMMIT, LATER, KEY = "0123456789" * 4, "9876543210" * 4, "ab" * 32
URL = "https://github.com/org/repo"
PATH = "/services/launch/"
DIRECTORY = f"{COMMIT}-0123456789abcdef"
ENVIRONMENT: dict[str, Any] = {
    "kind": "requirements.txt",
    "directory": "",
    "files": ["requirements.txt"],
    "python": "3.13",
    "installs_repository": False,
    "post_build": "",
    "start": "",
    "code": [],
    "refused": [],
    "left_out": [],
    "hosts": [],
}
RESOLVED: dict[str, Any] = {
    "repository": URL,
    "moved": False,
    "ref": "refs/heads/main",
    "commit": COMMIT,
    "is_reachable": True,
    "date": "2026-05-01T12:00:00+00:00",
    "directory": DIRECTORY,
    "files": 1,
    "size_bytes": 9,
    "left_out": [],
    "published": None,
    "environment": ENVIRONMENT,
}
DONE = {"s": 1.5, "outcome": "done", "key": KEY}
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_names = (f"someone{number}" for number in count())


@dataclass
class Program:
    """A stand-in for a program behind a socket."""

    lines: list[Any] = field(default_factory=list)
    """Lines that it answers; it waits for an event in the place of a line."""
    requests: list[Any] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()  # the request ends with the input
        self.requests.append(json.loads(data))
        with contextlib.suppress(ConnectionError):
            async for line in _in_order(self.lines):
                writer.write(line)
                await writer.drain()
        writer.close()


@dataclass
class Builder(Program):
    """A stand-in for the starter and the builder: its lines are in the log of the order."""

    directory: Path = Path()
    ended: Any = field(default_factory=dict)
    """The starter's last line."""
    builds: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def orders(self) -> list[Any]:
        """The orders that it was asked for."""
        found = []
        for request in self.requests:
            file = self.directory / "records/orders" / f"{request['order']}.json"
            assert hashlib.sha256(file.read_bytes()).hexdigest() == request["order"]
            found.append(json.loads(file.read_text()))
        return found

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(json.loads(await reader.read()))
        order = self.requests[-1]["order"]
        # Like systemd, which starts a unit once.
        build = self.builds.get(order)
        if build is None or build.done():
            build = self.builds[order] = asyncio.create_task(self._build(order))
        await asyncio.shield(build)
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(self.ended).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _build(self, order: str) -> None:
        log = self.directory / "logs" / f"{order}.jsonl"
        log.unlink(missing_ok=True)
        if self.lines:
            with log.open("xb") as file:
                async for line in _in_order(self.lines):
                    if b'"outcome": "done"' in line:
                        self._note(order, json.loads(line)["key"])
                    file.write(line)
                    file.flush()

    def _note(self, order: str, key: str) -> None:
        """Write what an order has become."""
        results = self.directory / "results"
        results.mkdir(exist_ok=True)
        (results / f"{order}.json").write_text(json.dumps({"key": key}))


async def _in_order(lines: list[Any]) -> AsyncIterator[bytes]:
    for line in lines:
        if isinstance(line, threading.Event):
            await asyncio.to_thread(line.wait, 60)
        else:
            yield line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"


@dataclass
class Site:
    """A hub and the service."""

    directory: Path
    hub_port: int
    service_port: int
    place: Place
    resolver: Program
    """Stand-ins, unless the surroundings are others."""
    builder: Builder

    @property
    def records(self) -> Path:
        return self.place.records

    def started_with(self, name: str, server: str) -> Any:
        """Return the options with which a server was started last; None: it never was."""
        record = self.directory / f"{name}:{server}"
        return json.loads(record.read_text()) if record.exists() else None

    def token_of(self, name: str, server: str) -> str:
        """Return the token with which a server was started last."""
        return (self.directory / f"{name}:{server} token").read_text()

    def reset(self) -> None:
        self.resolver.lines = [{"resolved": RESOLVED}]
        self.builder.lines = [{"s": 1, "text": "Installing numpy"}, DONE]
        self.builder.ended = {"ended": {}}
        self.resolver.requests.clear()
        self.builder.requests.clear()


class _Proxy(httpx.HTTPTransport):
    """Sends requests to the service or to the hub, by path, as traefik does."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        is_service = request.url.path.startswith(PATH)
        port = self._site.service_port if is_service else self._site.hub_port
        request.url = request.url.copy_with(port=port)
        return super().handle_request(request)


class Browser(httpx.Client):
    """A browser, which follows redirects, also those of pages (`meta`) if it is told so."""

    def __init__(self, site: Site, name: str = "") -> None:
        super().__init__(
            base_url="http://127.0.0.1:9",
            transport=_Proxy(site),
            follow_redirects=True,
            timeout=60,
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        self.name = name or next(_names)
        self.site = site

    def log_in(self) -> Browser:
        page = self.get("/hub/login?next=/hub/home")
        fields = {"username": self.name, "_xsrf": hidden(page)["_xsrf"]}
        assert self.post("/hub/login?next=/hub/home", data=fields).is_success
        return self

    def open(self, **form: str) -> httpx.Response:
        """Open a link to the form."""
        return self.get(PATH, params=form)

    def press(self, page: httpx.Response, decision: str, **more: str) -> httpx.Response:
        """Press a button of the confirmation, and return the page of the launch."""
        assert f'value="{decision}"' in page.text, "there is no such button"
        fields = {**hidden(page), "decision": decision, **more}
        return self.post(f"{PATH}launch", data=fields)

    def servers(self) -> dict[str, Any]:
        page = self.get("/hub/home")
        headers = {"X-XSRFToken": hidden(page)["_xsrf"], "Sec-Fetch-Mode": "cors"}
        answer = self.get(
            f"/hub/api/users/{quote(self.name)}?include_stopped_servers=1", headers=headers
        )
        found: dict[str, Any] = answer.json()["servers"]
        return found

    def wait_for(self, server: str) -> None:
        """Wait until a server has started."""
        eventually(lambda: self.servers()[server]["ready"], 60, "the server to start")

    def stop(self, server: str) -> None:
        self.wait_for(server)
        page = self.get("/hub/home")
        headers = {"X-XSRFToken": hidden(page)["_xsrf"], "Sec-Fetch-Mode": "cors"}
        path = f"/hub/api/users/{quote(self.name)}/servers/{server}"
        assert self.delete(path, headers=headers).is_success
        eventually(lambda: self.servers()[server]["stopped"], 60, "the server to stop")


def hidden(page: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of a page."""
    found = re.findall(r'type="hidden" name="([^"]+)"\s+value="([^"]*)"', page.text)
    found += re.findall(r'name="(_xsrf)" value="([^"]*)"', page.text)
    script = re.findall(r'xsrf_token: "([^"]+)"', page.text)
    return {"_xsrf": script[0] if script else "", **{n: unescape(v) for n, v in found}}


def target(page: httpx.Response) -> str:
    """Return the address to which a page goes on; "": it stays."""
    found = re.findall(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', page.text)
    return unescape(found[0]) if found else ""


@dataclass(frozen=True)
class Surroundings:
    """The other programs of the stack, and the directories that they write."""

    resolver: Answer
    starter: Answer
    sources: Path
    logs: Path
    results: Path


@contextlib.contextmanager
def running(
    directory: Path, surroundings: Surroundings | None = None, hosts: Sequence[str] = ()
) -> Iterator[Site]:
    """Run a hub and the service.

    Args:
        directory: for what they write.
        surroundings: the other programs; None: stand-ins.
        hosts: hosts whose repositories may be launched besides.
    """
    for name in ("state", "logs", f"sources/{DIRECTORY}/files"):
        (directory / name).mkdir(parents=True)
    (directory / f"sources/{DIRECTORY}/files/requirements.txt").write_text("numpy\n")
    resolver, builder = Program(), Builder(directory=directory)
    surroundings = surroundings or Surroundings(
        resolver.answer,
        builder.answer,
        directory / "sources",
        directory / "logs",
        directory / "results",
    )
    token = secrets.token_hex(16)
    own_socket, service_port = bind_unused_port()
    hub_port = free_port()
    place = Place(
        records=directory / "records",
        resolver=directory / "resolver",
        sources=surroundings.sources,
        starter=directory / "starter",
        logs=surroundings.logs,
        results=surroundings.results,
    )
    site = Site(directory, hub_port, service_port, place, resolver, builder)
    program = Path(__file__).with_name("launch_hub.py")
    words = [str(service_port), token, *hosts]
    with (
        _serving(site, surroundings, token, own_socket),
        hub_program.running(program, hub_port, directory, *words),
    ):
        yield site


@contextlib.contextmanager
def _serving(
    site: Site, surroundings: Surroundings, token: str, listening: socket.socket
) -> Iterator[None]:
    ready, stopped = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        address = f"127.0.0.1:{site.hub_port}"
        service = WebService("launch", token, address, PAGES, place=site.place)
        server = HTTPServer(service, no_keep_alive=True)
        server.add_sockets([listening])
        await asyncio.start_unix_server(surroundings.resolver, site.place.resolver)
        await asyncio.start_unix_server(surroundings.starter, site.place.starter)
        ready.set()
        await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield
    loops[0].call_soon_threadsafe(stopped.set)
    thread.join(10)
