"""Floods from outside and from a user: during each, a person logs in and a kernel answers."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from tests.client import Kernel, Person
from tests.crowd import crowd
from tests.eventually import eventually
from tests.hub import Hub

UNFINISHED, STREAMS, IDLE = 1300, 1200, 1100
GROWTH_BYTES = 150 * 2**20
"""The most memory that the hub, or a user server, may take in addition in a flood."""
CHUNK = b"x" * 2**16


@dataclass(frozen=True)
class Worker:
    """A person with a running kernel."""

    hub: Hub
    person: Person
    kernel: Kernel

    def is_not_disturbed(self) -> None:
        """Check that someone else logs in, and that the kernel answers."""
        with self.hub.person() as other:
            assert other.sees("/hub/home")
        assert self.kernel.run("print(6 * 7)") == "42\n"
        assert self.person.sees(f"/user/{self.person.name}/api/status")


@pytest.fixture(scope="module")
def worker(hub: Hub) -> Iterator[Worker]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    with hub.person() as person:
        person.start_server()
        with person.open_kernel() as kernel:
            yield Worker(hub, person, kernel)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def address(hub: Hub) -> tuple[str, int]:
    url = httpx.URL(hub.url)
    return url.host, url.port or 80


@contextlib.contextmanager
def connections(hub: Hub, number: int, beginning: bytes) -> Iterator[list[socket.socket]]:
    """Open connections to the public port, and send the beginning of a request on each."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(number):
            opened.append(stack.enter_context(socket.create_connection(address(hub), 10)))
            opened[-1].sendall(beginning)
        yield opened


def begin(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


@contextlib.contextmanager
def growth_limited(hub: Hub, pid: int) -> Iterator[None]:
    """Check that a process does not take much more memory in the block, not even for a moment."""

    def peak_bytes(field: str) -> int:
        lines = hub.machine.read(f"/proc/{pid}/status").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    # proc(5): resets the peak.
    hub.machine.run(["sh", "-c", f"echo 5 > /proc/{pid}/clear_refs"])
    before = peak_bytes("VmRSS")
    yield
    grown = peak_bytes("VmHWM") - before
    print(f"grown by {grown / 2**20:.0f} MiB")
    assert grown < GROWTH_BYTES


@pytest.mark.row(29)
@pytest.mark.parametrize("is_at_user_server", [False, True])
def test_unfinished_requests_do_not_stop_the_hub_or_a_user_server(
    worker: Worker, is_at_user_server: bool
) -> None:
    hub, name = worker.hub, worker.person.name
    path = f"/user/{name}/api/contents/a" if is_at_user_server else "/hub/login"
    with (
        growth_limited(hub, hub.serving_pid()),
        connections(hub, UNFINISHED, begin(path, "Content-Length: 60000") + b"x" * 1000),
    ):
        worker.is_not_disturbed()
    assert "Too many open files" not in hub.machine.journal(hub.layout.hub_service)
    limits = hub.machine.read(f"/proc/{hub.serving_pid()}/limits")
    found = re.search(r"Max open files +(\d+)", limits)
    # This machine may have no more than its host.
    assert found
    assert int(found[1]) > 10_000


@pytest.mark.row(29)
def test_event_streams_of_one_user_do_not_stop_the_hub(hub: Hub, worker: Worker) -> None:
    with crowd(hub, 1, 1) as ((person,), go):
        person.ask_for_server()
        token = person.token()
        path = f"/hub/api/users/{person.name}/server/progress"
        request = f"GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: token {token}\r\n\r\n"

        def is_followed() -> bool:
            with connections(hub, 1, request.encode()) as (stream,):
                return stream.recv(12)[9:] == b"200"

        with connections(hub, STREAMS, request.encode()) as streams:
            worker.is_not_disturbed()
            with ThreadPoolExecutor(20) as readers:
                said = list(readers.map(lambda stream: stream.recv(12)[9:], streams))
            assert said.count(b"429") > STREAMS - 100
            # The page of the same user in a browser that has one already.
            assert said.count(b"200") >= 64
        # A person who closes pages may open others.
        eventually(is_followed, 10, "a stream of theirs")
        hub.machine.put(go, "")
        person.await_server()
    assert "Too many open files" not in hub.machine.journal(hub.layout.hub_service)


IDLE_CONNECTIONS = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.row(29)
def test_idle_connections_of_a_user_to_the_hubs_own_port_do_not_stop_it(worker: Worker) -> None:
    hub = worker.hub
    listen = hub.machine.systemctl(
        "show", "--property=Listen", "--value", hub.layout.hub_socket
    ).stdout
    port = listen.split()[0].rpartition(":")[2]
    python = hub.path("hub/bin/python3")
    command = [python, "-c", IDLE_CONNECTIONS, port, str(IDLE)]
    command = hub.machine.enter(command, user=worker.person.name)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flood:
        assert flood.stdin
        assert flood.stdout
        with flood.stdin:
            assert flood.stdout.readline() == b"open\n"
            worker.is_not_disturbed()
    assert "Too many open files" not in hub.machine.journal(hub.layout.hub_service)


def send(connection: socket.socket, head: bytes, size_bytes: int, *, chunked: bool) -> bytes:
    """Send a request with a large body as far as it is accepted, and return the answer's status."""
    answer = b""
    with contextlib.suppress(OSError):
        connection.sendall(head)
        for _ in range(size_bytes // len(CHUNK)):
            connection.sendall(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK) if chunked else CHUNK)
    with contextlib.suppress(OSError):
        answer = connection.recv(12)
    return answer[9:]


@pytest.mark.row(30)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("number", "size_bytes", "path"),
    [(20, 99 * 2**20, "/hub/login"), (4, 400 * 2**20, "/user/{name}/api/contents/a")],
)
def test_large_bodies_of_strangers_are_not_kept_in_memory(
    worker: Worker, number: int, size_bytes: int, path: str, chunked: bool
) -> None:
    hub, name = worker.hub, worker.person.name
    forged = f"Cookie: jupyterhub-user-{name}=x; _xsrf=y; jupyterhub-hub-login=z"
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size_bytes}"
    token = "Authorization: token 0123456789abcdef0123456789abcdef"
    heads = [begin(path.format(name=name), length, each) for each in (forged, token)]
    unit = f"{hub.layout.user_unit(name)}.service"
    with (
        growth_limited(hub, hub.serving_pid()),
        growth_limited(hub, hub.main_pid(unit)),
        connections(hub, number, b"") as opened,
        ThreadPoolExecutor(number) as senders,
    ):
        said = [
            senders.submit(send, each, heads[i % 2], size_bytes, chunked=chunked)
            for i, each in enumerate(opened)
        ]
        worker.is_not_disturbed()
        answers = {each.result() for each in said}
    # 502: traefik was still sending when the server closed the connection.
    assert answers <= {b"403", b"400", b"502", b""}, answers


@pytest.mark.row(30)
def test_the_owner_of_a_server_uploads_large_files(worker: Worker) -> None:
    person, size_bytes = worker.person, 90 * 2**20
    path = f"/user/{person.name}/api/contents/large.bin"
    token = person._xsrf_token(f"/user/{person.name}/")
    body = {"type": "file", "format": "text", "content": "x" * size_bytes}
    saved = person.browser.put(path, json=body, headers={"X-XSRFToken": token}, timeout=60)
    assert saved.status_code == 201, saved.text
    done = worker.kernel.run("import os; print(os.path.getsize('large.bin'))")
    assert int(done) == size_bytes


@pytest.mark.row(30)
def test_stored_values_of_users_have_limits(worker: Worker) -> None:
    person = worker.person
    server = f"users/{person.name}/servers/extra"
    long = "x" * 2000
    for method, path, body, expected in (
        ("POST", f"users/{person.name}/server", {"a": "x" * 90_000_000}, {413, 502}),
        ("POST", server, {"a": "x" * 500_000}, {400, 403, 413}),
        ("POST", f"users/{person.name}/tokens", {"note": long}, {400}),
        ("POST", f"users/{person.name}/tokens", {"note": "x" * 2_000_000}, {413, 502}),
    ):
        answer = person._api(method, path, json=body)
        assert answer.status_code in expected, (path, answer.status_code, answer.text)
    database = worker.hub.machine.run(["stat", "--format=%s", worker.hub.layout.database]).stdout
    assert int(database) < 5 * 2**20
    eventually(worker.hub.answers, 30, "the hub")
