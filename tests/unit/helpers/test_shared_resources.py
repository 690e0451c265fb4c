"""Shared resources: what counts, and how much one user may have."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from littlest_hub.helpers.shared_resources import RESOURCES, Resource, relieve
from littlest_hub.system import processes, tcp
from tests.capabilities import missing

pytestmark = [pytest.mark.unit, pytest.mark.row(27)]

TCP, UDP, TERMINALS = RESOURCES


def held(resource: Resource) -> int:
    """Return how much of a resource this process has."""
    return resource.count()(os.getpid())


@pytest.mark.parametrize(
    ("in_use", "most"), [(0, None), (500, None), (501, 125), (750, 125), (751, 15.625)]
)
def test_the_scarcer_a_resource_the_less_one_user_may_have(in_use: int, most: float | None) -> None:
    resource = Resource("things", lambda: in_use, lambda: 1000, lambda: lambda pid: 0)
    assert resource.most_for_one == most


def test_the_sockets_of_a_process_are_counted_by_protocol() -> None:
    tcp, udp = held(TCP), held(UDP)
    with (
        socket.socket() as bound,
        socket.socket(socket.AF_INET6),
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        bound.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        assert (held(TCP), held(UDP)) == (tcp + 2, udp + 1)
        # Other programs of this machine have sockets too.
        assert TCP.in_use() >= 2
        assert UDP.in_use() >= 1
    assert TCP.capacity() > 1000


def test_sockets_that_were_sent_and_not_received_count() -> None:
    before = held(TCP)
    sender, receiver = socket.socketpair()
    with sender, receiver:
        with socket.socket() as sent:
            socket.send_fds(sender, [b"x"], [sent.fileno()] * 3)
        assert held(TCP) == before + 3


def test_connections_that_nobody_has_accepted_count_for_the_process_that_listens() -> None:
    before = held(TCP)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(20):
            socket.create_connection(listener.getsockname()).close()
        assert held(TCP) == before + 21
        # Nor is it overlooked while the listening socket itself is on its way to a process.
        sender, receiver = socket.socketpair()
        with sender, receiver:
            socket.send_fds(sender, [b"x"], [listener.fileno()])
            listener.close()
            assert held(TCP) >= before + 21


def test_connections_that_wait_for_a_user_count_once_however_many_sockets_are_on_their_way() -> (
    None
):
    with contextlib.ExitStack() as opened, socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(20):
            socket.create_connection(listener.getsockname()).close()
        before = held(TCP)
        for _ in range(3):
            sender, _ = map(opened.enter_context, socket.socketpair())
            socket.send_fds(sender, [b"x"], [listener.fileno()])
        # All that waits for this user: other programs of this machine may listen too.
        waiting = sum(each.waiting for each in tcp.listeners() if each.uid == os.getuid())
        assert waiting >= 20
        assert held(TCP) <= before + 3 + waiting


def test_a_socket_of_another_protocol_that_takes_a_port_of_tcp_counts() -> None:
    before = held(TCP)
    try:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    except OSError as error:
        missing(f"MPTCP: {error}")
    with made:
        made.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"):
            socket.create_server(made.getsockname())
        made.listen()
        socket.create_connection(made.getsockname()).close()
        assert held(TCP) == before + 2


@pytest.mark.row(33)
def test_a_terminal_counts_once_and_for_either_end_that_a_process_has() -> None:
    before = held(TERMINALS)
    in_use = TERMINALS.in_use()
    master, slave = pty.openpty()
    again = os.dup(slave)
    assert held(TERMINALS) == before + 1
    # Other programs of this machine open and close some too.
    assert 0 < TERMINALS.in_use() < in_use + 100
    os.close(slave)
    os.close(master)
    assert held(TERMINALS) == before + 1
    os.close(again)
    assert held(TERMINALS) == before
    assert TERMINALS.capacity() > 100


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as started:
        yield started
        started.kill()


USER_SERVER, OTHER = "/users.slice/a.service", "/system.slice/cron.service"


@pytest.mark.parametrize(("at_the_end", "is_ended"), [(USER_SERVER, True), (OTHER, False)])
def test_a_process_that_has_got_the_number_of_one_that_was_counted_is_not_ended(
    process: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    at_the_end: str,
    is_ended: bool,
) -> None:
    cgroups = {process.pid: USER_SERVER}

    def count(pid: int) -> int:
        cgroups[pid] = at_the_end
        return 1000

    monkeypatch.setattr(processes, "cgroup_path", lambda pid: cgroups.get(pid, OTHER))
    in_use = iter([1000, 1000, 0])
    things = Resource("things", lambda: next(in_use, 0), lambda: 1000, lambda: count)
    relieve([things], re.compile(re.escape(USER_SERVER)))
    if is_ended:
        assert process.wait(5) == -signal.SIGKILL
    else:
        assert process.poll() is None


def test_a_resource_that_the_kernel_does_not_tell_of_is_not_scarce() -> None:
    def unknown() -> int:
        raise FileNotFoundError("/proc/sys/kernel/pty/nr")

    relieve([Resource("things", unknown, lambda: 1, lambda: lambda pid: 1)], re.compile(""))
