"""The hub's side of the guard, with the guard's own code at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.helpers import guard as guard_helper
from littlest_hub.helpers.guard import serve
from littlest_hub.helpers.held_ports import FOREIGN, FREE, IMPOSSIBLE, HeldPorts, Target
from littlest_hub.hub import guard as guard_module
from littlest_hub.hub.guard import Guard, local_place

pytestmark = [pytest.mark.unit, pytest.mark.row(26)]
# Only root may duplicate sockets.
needs_root = pytest.mark.needs("root")


class Helper:
    """A guard in another thread."""

    def __init__(self, directory: Path) -> None:
        self.ports = HeldPorts(selectors.DefaultSelector(), directory / "ports", [re.compile("")])
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(str(directory / "control"))
        self.control.listen()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            serve(self.control, self.ports)


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    made = Guard()
    made.address = tmp_path / "control"
    return made


def test_without_a_guard_nothing_is_held_and_no_route_is_refused() -> None:
    async def requests() -> None:
        refused = await Guard().hold(Target("127.0.0.1", 1))
        assert refused
        assert refused.reason == IMPOSSIBLE
        assert await Guard().hold_route("/user/a/", "http://127.0.0.1:1") is None
        assert await Guard().keep([("/user/a/", "http://127.0.0.1:1")]) == []

    asyncio.run(requests())


def test_a_guard_that_does_not_answer_stops_no_server(guard: Guard) -> None:
    async def requests() -> None:
        refused = await guard.hold(Target("127.0.0.1", 1))
        assert refused
        assert refused.reason == IMPOSSIBLE
        assert await guard.hold_route("/user/a/", "http://127.0.0.1:1") is None
        assert await guard.keep() == []

    asyncio.run(requests())


LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def port() -> Iterator[int]:
    with listening_program() as port:
        yield port


@contextlib.contextmanager
def listening_program() -> Iterator[int]:
    """Yield the port of a program that runs."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LISTEN]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as program:
        assert program.stdout
        yield int(program.stdout.readline())


@needs_root
def test_a_port_is_held_from_before_a_route_until_after_it(
    guard: Guard, tmp_path: Path, port: int
) -> None:
    helper, place, url = Helper(tmp_path), ("127.0.0.1", port), f"http://127.0.0.1:{port}"

    async def requests() -> None:
        assert await guard.hold(Target(*place)) is None
        assert await guard.hold_route("/user/a/", url) is None
        # A route leads there.
        await guard.release(place)
        assert await guard.keep() == []
        assert place in helper.ports._held
        await guard.release_route("/user/a/")
        assert place not in helper.ports._held

    asyncio.run(requests())


@needs_root
def test_a_port_is_given_up_when_another_route_has_replaced_the_one_that_led_there(
    guard: Guard, tmp_path: Path, port: int
) -> None:
    helper, place = Helper(tmp_path), ("127.0.0.1", port)

    async def requests() -> None:
        assert await guard.hold_route("/user/a/", f"http://127.0.0.1:{port}") is None
        await guard.release(place)
        assert await guard.keep() == []
        assert place in helper.ports._held
        with listening_program() as other:
            assert await guard.hold_route("/user/a/", f"http://127.0.0.1:{other}") is None
            assert await guard.keep() == []
            assert set(helper.ports._held) == {("127.0.0.1", other)}

    asyncio.run(requests())


@needs_root
def test_a_route_to_a_port_that_its_server_does_not_have_is_lost(
    guard: Guard, tmp_path: Path, port: int
) -> None:
    Helper(tmp_path)
    place, url = ("127.0.0.1", port), f"http://127.0.0.1:{port}"

    async def requests() -> None:
        guard.expect(place, "/users.slice/a.service")
        ((spec, refused),) = await guard.keep([("/user/a/", url)])
        assert (spec, refused.reason) == ("/user/a/", FOREIGN)
        guard.expect(("::1", port), "/users.slice/b.service")
        again = await guard.hold_route("/user/b/", f"http://[::1]:{port}")
        assert again
        assert again.reason == FREE
        # Packets for it may go on to a container.
        assert await guard.hold_route("/user/c/", f"http://127.0.0.2:{port}") is None

    asyncio.run(requests())


@needs_root
def test_a_server_that_systemd_restarts_is_not_held(
    guard: Guard, tmp_path: Path, port: int
) -> None:
    helper = Helper(tmp_path)

    async def requests() -> None:
        guard.expect(("127.0.0.1", port), None)
        assert await guard.hold_route("/user/a/", f"http://127.0.0.1:{port}") is None
        assert await guard.keep([("/user/a/", f"http://127.0.0.1:{port}")]) == []
        assert not helper.ports._held

    asyncio.run(requests())


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:8888", ("127.0.0.1", 8888)),
        ("http://[::1]:8888", ("::1", 8888)),
        ("http://localhost:8888", ("127.0.0.1", 8888)),
        ("http://192.0.2.1:8888", None),
        ("http://no.such.invalid:8888", None),
        ("http+unix://%2Frun%2Fa", None),
        ("http://a..b:8888", None),
        ("http://127.0.0.1:99999", None),
        ("http://[::1:8888", None),
    ],
)
def test_only_addresses_of_this_machine_are_held(url: str, place: tuple[str, int] | None) -> None:
    found = asyncio.run(local_place(url))
    assert found == place or ("localhost" in url and found == ("::1", 8888))


def test_a_name_server_that_does_not_answer_delays_no_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolve(*_: object) -> str:
        # As asyncio.timeout(), around a request that is never answered.
        raise TimeoutError

    monkeypatch.setattr(guard_module, "_resolved", resolve)
    assert asyncio.run(local_place("http://node1:8888")) is None


def test_a_machine_without_ipv6_has_no_such_address(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *rest)

    monkeypatch.setattr("littlest_hub.hub.guard.socket.socket", without_ipv6)
    assert asyncio.run(local_place("http://[2001:db8::1]:8888")) is None


@pytest.mark.parametrize(
    "request_text",
    [
        b"\n",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b"\xff" * 100_000 + b"\n",
        b'{"hold": [["127.0.0.1", 99999]], "release": [], "is_all": false}\n',
        b'{"hold": [["127.0.0.1", 1, 2]], "release": [], "is_all": false}\n',
        b'{"hold": [[[], {}]], "release": [], "is_all": false}\n',
    ],
)
def test_no_request_ends_the_guard(
    guard: Guard, tmp_path: Path, request_text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    helper = Helper(tmp_path)
    with socket.socket(socket.AF_UNIX) as hub:
        hub.connect(str(guard.address))
        hub.sendall(request_text)
        hub.recv(1 << 16)
    assert asyncio.run(guard.keep()) == []
    assert helper.thread.is_alive()
    assert len(capsys.readouterr().out) < 300


def test_a_request_in_small_pieces_does_not_keep_the_guard_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_helper, "_REQUEST_TIMEOUT_S", 0.2)
    helper = Helper(tmp_path)
    with socket.socket(socket.AF_UNIX) as hub:
        hub.connect(str(tmp_path / "control"))
        hub.settimeout(0.05)
        for _ in range(100):
            try:
                hub.sendall(b" ")
                assert hub.recv(1) == b""
                break
            except TimeoutError:
                continue
            except OSError:  # the guard has closed it
                break
        else:
            pytest.fail("the guard still reads")
    assert helper.thread.is_alive()
