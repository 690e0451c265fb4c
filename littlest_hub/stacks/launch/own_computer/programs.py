"""The resolver, builds, and cleaning as child processes, which units start elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import STACK
from littlest_hub.stacks.launch.address import networks
from littlest_hub.stacks.launch.builder import program as builder
from littlest_hub.stacks.launch.builder import starter
from littlest_hub.stacks.launch.builder.place import Place as Environments
from littlest_hub.stacks.launch.builder.units import BUILD_TIMEOUT_S, cleaning_of
from littlest_hub.stacks.launch.code.approved import places_of_files
from littlest_hub.stacks.launch.code.proxy import Place, Proxy, Reach, place_of
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.own_computer import confined
from littlest_hub.stacks.launch.resolver import request
from littlest_hub.stacks.launch.resolver.units import settings_of, sources_of
from littlest_hub.system import pip

_RESOLVER = "littlest_hub.stacks.launch.resolver.program"
_RESOLVER_S, _CLEANING_S = 180, 600
_MOST_RESOLVERS = 4
_RESOLVER_GB, _BUILDER_GB = 1, 8
_END_S = 10
_PART_BYTES = 1 << 16
_OF_PIP = {"index-url": "PIP_INDEX_URL", "cert": "PIP_CERT", "proxy": "PIP_PROXY"}
"""Variables by option: programs do not see the person's own configuration of pip."""


@dataclass
class Programs:
    """The programs of the stack, which answer at sockets as their units do.

    Args:
        layout: the installation.
        values: those of the fragment.
        work: a directory for their temporary files.
        python: that of the release.
    """

    layout: Layout
    values: Values
    work: Path
    python: Path = Path(sys.executable)
    _builds: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _places: set[Place] = field(default_factory=set)
    """The hosts from which the index of the person sends files."""
    _resolvers: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_MOST_RESOLVERS)
    )

    async def resolve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request to the resolver."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            data = await reader.read(request.LIMIT_BYTES + 1)
            async with self._resolvers, asyncio.timeout(_RESOLVER_S):
                await self._resolve(data, writer)
        writer.close()

    async def _resolve(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        settings, sources = settings_of(self.layout), sources_of(self.layout)
        sources.mkdir(parents=True, exist_ok=True)
        readable = [settings, *([Path(self.values.ca_file)] if self.values.ca_file else [])]
        with self._scratch() as scratch:
            words = [_RESOLVER, *map(str, (settings, sources, scratch))]
            writable = [sources, scratch]
            command = confined.command(self.python, _RESOLVER_GB, readable, writable, words)
            async with self._running(command, scratch, stdin=PIPE, stdout=PIPE) as process:
                assert process.stdin
                assert process.stdout
                process.stdin.write(data)
                process.stdin.close()
                while part := await process.stdout.read(_PART_BYTES):
                    writer.write(part)
                    await writer.drain()

    async def start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Build the order whose id somebody asks for, unless that is being done; wait for it."""
        answer: dict[str, object] = {"ended": {}}
        try:
            order = starter.order_of(await reader.read(starter.LIMIT_BYTES))
            build = self._builds.get(order)
            if build is None or build.done():
                build = self._builds[order] = asyncio.create_task(self._build(order))
            # The person who asks may leave; others wait for the same build.
            await asyncio.shield(build)
            self._builds.pop(order, None)
        except LittlestHubError as error:
            answer = {"refused": error.message, "hint": error.hint or ""}
        except OSError as error:
            answer = {"refused": f"the builder does not start: {error.strerror}", "hint": ""}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _build(self, order: str) -> None:
        file = self.layout.stack_data(STACK) / "orders" / f"{order}.json"
        words = [*self.values.networks, *Channels({**self.values.channels}).words]
        # Its log says what has come of it, or that it has been ended.
        with file.open("rb") as text, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BUILD_TIMEOUT_S):
                await self._run_builder(text, "build", order, *words)

    async def clean(self) -> None:
        """Remove environments until the others fit into the disk that they may use."""
        with cleaning_of(self.layout).open("rb") as text, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLEANING_S):
                await self._run_builder(text, "clean")

    async def _run_builder(self, text: IO[bytes], *words: str) -> None:
        place = Environments.of(self.layout)
        place.home.mkdir(parents=True, exist_ok=True)
        options = await asyncio.to_thread(pip.options)
        if not self._places:
            self._places |= await asyncio.to_thread(places_of_files)
        index = options.get("index-url", "") or await asyncio.to_thread(pip.default_index)
        readable = [self.layout.packages, *([Path(options["cert"])] if "cert" in options else [])]
        with self._scratch() as scratch, self._proxy(index) as address:
            # It is unknown what the person's own proxy reaches.
            port = 0 if "proxy" in options else address[1]
            used = {"proxy": "http://{}:{}".format(*address), **options}
            variables = {_OF_PIP[name]: each for name, each in used.items() if name in _OF_PIP}
            writable = [place.home, scratch]
            program = [builder.MODULE, *words]
            command = confined.command(self.python, _BUILDER_GB, readable, writable, program, port)
            async with self._running(command, scratch, variables, stdin=text) as process:
                await process.wait()

    @contextlib.contextmanager
    def _proxy(self, index: str) -> Iterator[Place]:
        """Run a proxy that reaches the index, channels, and what is public; yield its address."""
        addresses = (index, *self.values.channels.values())
        trusted = {found for each in addresses if (found := place_of(each))} | self._places
        reach = Reach(trusted, None, networks(self.values.networks))
        listening = socket.create_server(("127.0.0.1", 0))
        proxy = Proxy(listening, reach, lambda _: None)
        address: Place = listening.getsockname()
        proxy.start()
        try:
            yield address
        finally:
            proxy.stop()

    @contextlib.asynccontextmanager
    async def _running(
        self,
        command: list[str],
        scratch: Path,
        variables: Mapping[str, str] | None = None,
        *,
        stdin: IO[bytes] | int,
        stdout: int = DEVNULL,
    ) -> AsyncIterator[Process]:
        """Run a program, and end it with all that it has started, however this ends."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=stdout,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "HOME": str(scratch),
                "TMPDIR": str(scratch),
                **(variables or {}),
            },
            umask=0o022,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            await _end(process)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.work, ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)


async def _end(process: Process) -> None:
    """End a program and its children: first in a way that lets it remove what is half written."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await process.wait()
