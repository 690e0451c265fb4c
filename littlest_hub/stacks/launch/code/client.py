"""The builder's side of the code tier: jobs to its unit, and results, of which nothing is believed.

A wheel that comes back is kept under the SHA-256 that is computed here, and installed by it as any
other. An environment that comes back is written anew, and belongs to its launch alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.address import Network
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.code import handover, jobs
from littlest_hub.stacks.launch.code.handover import HandoverError, Limits
from littlest_hub.stacks.launch.code.jobs import Job
from littlest_hub.stacks.launch.code.proxy import Proxy, Reach, place_of
from littlest_hub.system import locks
from littlest_hub.system.progress import Progress

_ENDED = "it has ended before it was done: it took too much memory or time, or it was ended"
_LINE_BYTES = 64 << 10
_MOST_LINES = 20_000
_READY_S, _AGAIN_S = 60, 0.2
_WHEELS = Limits(files=200, size_bytes=1 << 30)
_WHEEL = re.compile(r"(\d{1,4})/([A-Za-z0-9_.+!-]{1,200}\.whl)")
Connect = Callable[[], socket.socket]
"""Returns a connection to a unit that nobody else has."""


@dataclass(frozen=True)
class BuiltWheel:
    """A wheel that a job has become."""

    name: str
    file: str
    digest: str


@dataclass(frozen=True)
class CodeTier:
    """The code tier, as the builder uses it."""

    place: Place
    connects: Sequence[Connect]
    """One for each unit."""
    trusted: Collection[tuple[str, int]] = ()
    """Hosts and ports of the administrator's indexes."""
    files: Callable[[], Collection[tuple[str, int]]] = tuple
    """Returns hosts and ports of the files to which the indexes link."""
    excepted: Collection[Network] = ()
    """Networks that are not public, and that the administrator permits."""

    def build(self, job: Job, repository: Path | None, report: Progress) -> list[BuiltWheel]:
        """Build wheels, and keep them.

        Args:
            job: what to build.
            repository: its files; None: nothing needs them.
            report: gets lines for people.

        Raises:
            LittlestHubError: one cannot be built.
        """
        with self._running(job, report) as (reader, writer):
            _send(writer, job, [repository] if repository else [])
            _follow(reader, report)
            found = list(self._kept(reader, job))
        if len(found) != len(job.wheels):
            raise HandoverError("a wheel is missing in the result of a build")
        return found

    def run(self, job: Job, repository: Path, result: Path, report: Progress) -> None:
        """Run a script in a copy of an environment.

        Args:
            job: the script, and the environment.
            repository: its files.
            result: does not exist yet; gets what has become of the copy.
            report: gets lines for people.

        Raises:
            LittlestHubError: the script fails.
        """
        with self._running(job, report) as (reader, writer):
            _send(writer, job, [repository, Path(job.environment)])
            _follow(reader, report)
            handover.receive(reader, result, Limits(), targets=[job.python])

    def _kept(self, reader: IO[bytes], job: Job) -> Iterator[BuiltWheel]:
        """Keep the wheels in a result."""
        for number, record in enumerate(handover.records(reader, _WHEELS)):
            found = _WHEEL.fullmatch(record.get("file", ""))
            if not found or int(found[1]) != number or number >= len(job.wheels):
                raise HandoverError("the result of a build has something that is no wheel")
            asked = job.wheels[number]
            try:
                name = parse_wheel_filename(found[2])[0]
            except InvalidWheelFilename as error:
                raise HandoverError(f"{asked.what}: {error}") from None
            if asked.name and name != canonicalize_name(asked.name):
                raise HandoverError(f"{asked.name} was asked for, and {name} has been built")
            yield BuiltWheel(name, found[2], self._keep(reader, record, found[2]))

    def _keep(self, reader: IO[bytes], record: dict[str, int], name: str) -> str:
        """Write a wheel, and return its SHA-256."""
        with tempfile.TemporaryDirectory(dir=self.place.wheels, prefix=".new-") as scratch:
            digest = hashlib.sha256()
            file = Path(scratch, name)
            with file.open("xb") as opened:
                for part in handover.contents(reader, record):
                    digest.update(part)
                    opened.write(part)
                opened.flush()
                os.fsync(opened.fileno())
            kept = self.place.wheels / digest.hexdigest() / name
            kept.parent.mkdir(exist_ok=True)
            file.replace(kept)
            return digest.hexdigest()

    @contextlib.contextmanager
    def _running(self, job: Job, report: Progress) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Connect to a unit that is free, be its proxy, and end it afterwards."""
        with self._slot(report) as connect, contextlib.ExitStack() as stack:
            connection, listening = _ready(connect)
            stack.enter_context(connection)
            is_late = threading.Event()
            timer = threading.Timer(jobs.TIMEOUT_S, _shut, [connection, is_late])
            stack.callback(timer.cancel)
            timer.start()
            if job.indexes:
                places = map(place_of, (*job.indexes, *job.find_links))
                hosts = {each[0] for each in places if each} | set(job.hosts)
                reach = Reach({*self.trusted, *self.files()}, hosts, self.excepted)
                proxy = Proxy(listening, reach, report)
                stack.callback(proxy.stop)
                proxy.start()
            else:
                listening.close()
            try:
                yield connection.makefile("rb"), connection.makefile("wb")
            except (ConnectionError, HandoverError) as error:
                if is_late.is_set():
                    raise LittlestHubError(
                        f"building it took more than {jobs.TIMEOUT_S // 60} minutes"
                    ) from None
                why = error.message if isinstance(error, HandoverError) else _ENDED
                raise LittlestHubError(f"the result of code that was run: {why}") from None

    @contextlib.contextmanager
    def _slot(self, report: Progress) -> Iterator[Connect]:
        """Hold one of the units."""
        files = [self.place.locks / f"code-{number}" for number in range(len(self.connects))]
        tried = ((number, locks.hold(file)) for number, file in enumerate(files))
        number, held = next((each for each in tried if each[1]), (0, None))
        if held is None:
            report("other code is being run; waiting")
            number = os.getpid() % len(files)
            held = locks.hold(files[number], is_patient=True)
        assert held
        with held:
            yield self.connects[number]


def of_sockets(sockets: Sequence[Path]) -> list[Connect]:
    """Return how to connect to units, by their sockets."""

    def connect_to(path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            raise LittlestHubError(
                f"{path}: {error.strerror}", "Ask the administrator: code cannot be run now"
            ) from None
        return connection

    return [partial(connect_to, path) for path in sockets]


def _ready(connect: Connect) -> tuple[socket.socket, socket.socket]:
    """Return a connection, and the socket on which the unit expects its proxy.

    systemd closes a connection at once while it is still ending what ran before.
    """
    deadline = time.monotonic() + _READY_S
    while True:
        connection = connect()
        connection.settimeout(_READY_S)
        with contextlib.suppress(OSError):
            data, descriptors, _, _ = socket.recv_fds(connection, len(jobs.READY), 1)
            if data == jobs.READY and descriptors:
                connection.settimeout(None)
                return connection, socket.socket(fileno=descriptors[0])
        connection.close()
        if time.monotonic() > deadline:
            raise LittlestHubError("the unit that runs code does not start", "Try again")
        time.sleep(_AGAIN_S)


def _shut(connection: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _send(writer: IO[bytes], job: Job, directories: Sequence[Path]) -> None:
    """Send a job; a unit that does not take all of it says why in its answer."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        writer.write(job.canonical)
        for each in directories:
            handover.send(each, writer)
        if not directories:
            handover.end(writer)
        writer.flush()


def _follow(reader: IO[bytes], report: Progress) -> None:
    """Report what a job says, until it is done.

    Raises:
        HandoverError: it has ended without a result.
        LittlestHubError: it has failed.
    """
    for _ in range(_MOST_LINES):
        try:
            record = json.loads(reader.readline(_LINE_BYTES))
            if "done" in record:
                return
            if "failed" in record:
                raise LittlestHubError(str(record["failed"])[:2000])
            report(str(record["line"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise HandoverError(_ENDED) from None
    raise HandoverError(f"it says more than {_MOST_LINES} lines")


def without_password(address: str) -> str:
    """Return the address of an index as code may see it."""
    return re.sub(r"(?<=//)[^/@]*@", "", address)
