"""Ports that are held for servers: real programs, real sockets."""

from __future__ import annotations

import errno
import os
import re
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.helpers import held_ports
from littlest_hub.helpers.held_ports import FOREIGN, FREE, IMPOSSIBLE, HeldPorts, Target
from littlest_hub.helpers.reserved_ports import ReservedPorts
from littlest_hub.system import processes, sd_daemon
from tests.network import free_port

pytestmark = [
    pytest.mark.unit,
    pytest.mark.row(26),
    # Only root may duplicate the sockets of other users.
    pytest.mark.needs("root"),
]

ANY = [re.compile("")]
# Another user's program, as at a hub.
SERVER = """
import os, socket, sys
os.setuid(54321)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
if sys.argv[1:] == ["fork"] and os.fork():
    os._exit(0)
sys.stdin.read()
"""


class Server:
    """A program that listens until its standard input is closed."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", SERVER, *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def end(self) -> None:
        with self.process:
            pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.end()


def holding(record: Path, allowed: list[re.Pattern[str]] = ANY) -> HeldPorts:
    return HeldPorts(selectors.DefaultSelector(), record, allowed)


def handle_events(ports: HeldPorts) -> None:
    for key, _ in ports._selector.select(5):
        key.data()


def is_taken(port: int, address: str, *options: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as other:
        for option in options:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            other.bind((address, port))
            other.listen()
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def test_a_port_stays_taken_after_its_server_has_ended(server: Server, tmp_path: Path) -> None:
    ports, place = holding(tmp_path / "ports.json"), ("127.0.0.1", server.port)
    assert ports.update([Target(*place)], [], is_all=False) == []
    server.end()
    handle_events(ports)
    for address in ("127.0.0.1", "0.0.0.0", "::"):
        for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
            assert is_taken(server.port, address, *options), (address, options)
    with socket.create_connection(place, 5) as visitor:
        handle_events(ports)
        with pytest.raises(ConnectionResetError):
            visitor.recv(1)
    # The route is still there.
    assert ports.update([Target(*place)], [], is_all=True) == []
    assert is_taken(server.port, "127.0.0.1")
    ports.update([], [], is_all=True)
    assert not is_taken(server.port, "127.0.0.1", socket.SO_REUSEADDR)


def test_a_server_that_runs_keeps_its_visitors(server: Server, tmp_path: Path) -> None:
    ports = holding(tmp_path / "ports.json")
    assert ports.hold([Target("127.0.0.1", server.port)]) == []
    with socket.create_connection(("127.0.0.1", server.port), 5):
        assert ports._selector.select(0) == []


def test_a_server_whose_first_process_ends_is_not_taken_for_dead(tmp_path: Path) -> None:
    server = Server("fork")
    ports = holding(tmp_path / "ports.json")
    assert ports.hold([Target("127.0.0.1", server.port)]) == []
    server.process.wait()
    for key, _ in ports._selector.select(0):
        key.data()
    with socket.create_connection(("127.0.0.1", server.port), 5):
        assert ports._selector.select(0) == []
    server.end()
    handle_events(ports)
    assert is_taken(server.port, "127.0.0.1")
    ports.update([], [], is_all=True)


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_next_guard_finds_what_the_last_one_held(
    server: Server, tmp_path: Path, is_kept: bool
) -> None:
    """Through the sockets that systemd has kept, or from the running servers."""
    record = tmp_path / "ports.json"
    first = holding(record)
    first.hold([Target("127.0.0.1", server.port)])
    (held,) = first._held.values()
    kept = [os.dup(held.listener.fileno())] if is_kept else []
    held.listener.close()
    ports = holding(record)
    ports.restore(kept)
    server.end()
    handle_events(ports)
    assert is_taken(server.port, "127.0.0.1", socket.SO_REUSEADDR)
    ports.update([], [], is_all=True)


def test_only_the_socket_that_is_meant_is_held(server: Server, tmp_path: Path) -> None:
    ports = holding(tmp_path / "ports.json")
    target = Target("127.0.0.1", server.port)
    own = processes.cgroup_path(os.getpid()).rstrip("/")
    for wrong in (target._replace(inode=1), target._replace(cgroup=f"{own}/elsewhere.service")):
        (refused,) = ports.hold([wrong])
        assert refused.reason == FOREIGN
    (refused,) = ports.hold([target._replace(address="::1")])
    assert refused.reason == FREE
    (refused,) = holding(tmp_path / "x.json", [re.compile("/no/such")]).hold([target])
    assert refused.reason == FOREIGN
    assert ports.hold([target._replace(cgroup=own)]) == []
    ports.update([], [], is_all=True)


def test_a_port_is_released_while_the_end_of_its_server_is_reported(
    server: Server, tmp_path: Path
) -> None:
    """Both events may come together, if the guard was busy."""
    ports, place = holding(tmp_path / "ports.json"), ("127.0.0.1", server.port)
    assert ports.hold([Target(*place)]) == []
    (event,) = ports._selector.get_map().values()
    server.end()
    ports.update([], [place], is_all=False)
    event.data()
    assert not ports._selector.get_map()


def test_a_cgroup_is_not_looked_for_elsewhere(server: Server, tmp_path: Path) -> None:
    """A hub that was taken over could name a directory with a FIFO, and the guard would wait."""
    fifo = tmp_path / "cgroup.procs"
    os.mkfifo(fifo)
    target = Target("127.0.0.1", server.port, f"/../../..{tmp_path}")
    (refused,) = holding(tmp_path / "ports.json").hold([target])
    assert refused.reason == FOREIGN


def test_a_request_for_many_ports_does_not_keep_the_guard_busy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports, target = holding(tmp_path / "ports.json"), Target("127.0.0.1", server.port)
    with monkeypatch.context() as patch:
        patch.setattr(held_ports, "_HOLD_TIMEOUT_S", -1)
        (refused,) = ports.hold([target])
        # The hub keeps its route, and asks again.
        assert refused.reason == IMPOSSIBLE
    assert ports.hold([target]) == []
    ports.update([], [], is_all=True)


def test_a_reservation_ends_with_the_next_guard_if_the_ports_have_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored: list[socket.socket] = []
    monkeypatch.setattr(sd_daemon, "store", lambda fd, name: stored.append(socket.fromfd(fd, 2, 1)))
    monkeypatch.setattr(sd_daemon, "forget", lambda name: stored.clear())
    first, second = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    ReservedPorts([first, second], []).reserve()
    assert [each.getsockname() for each in stored] == [first, second]
    kept = [os.dup(each.fileno()) for each in stored]
    guard = ReservedPorts([second], kept)
    guard.reserve()
    assert [each.getsockname() for each in stored] == [second]
    assert not is_taken(first[1], first[0])
    assert is_taken(second[1], second[0])
