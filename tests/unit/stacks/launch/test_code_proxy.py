"""The proxy of the code tier: what it connects to, for whoever asks whatever."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from littlest_hub.stacks.launch.address import networks
from littlest_hub.stacks.launch.code.proxy import Place, Proxy, Reach, place_of
from tests.git_server import GitServer, git
from tests.package_index import PackageIndex


class Running:
    """A proxy, and an index behind it."""

    def __init__(self, index: PackageIndex, reach: Reach) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.place: Place = listening.getsockname()
        self.index = index
        self.lines: list[str] = []
        self.proxy = Proxy(listening, reach, self.lines.append)
        self.proxy.start()

    def answer(self, request: str) -> str:
        """Return what is answered to the bytes of a request."""
        with socket.create_connection(self.place, 30) as connection:
            connection.sendall(request.encode())
            connection.shutdown(socket.SHUT_WR)
            parts = list(iter(lambda: connection.recv(1 << 16), b""))
        return b"".join(parts).decode(errors="replace")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with PackageIndex(tmp_path / "index") as found:
        found.add("alpha")
        yield found


@pytest.fixture
def running(index: PackageIndex) -> Iterator[Running]:
    trusted = place_of(index.address)
    assert trusted
    found = Running(index, Reach([trusted], ["localhost", "pypi.org"]))
    yield found
    found.proxy.stop()


def test_it_passes_on_requests_and_tunnels_to_the_index(running: Running) -> None:
    place = running.index.address.removeprefix("http://").partition("/")[0]
    with httpx.Client(proxy=f"http://127.0.0.1:{running.place[1]}", timeout=30) as client:
        page = client.get(f"{running.index.address}/alpha/")
        assert page.json()["name"] == "alpha"
    request = "GET /simple/alpha/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = running.answer(f"CONNECT {place} HTTP/1.1\r\n\r\n{request}")
    assert answer.startswith("HTTP/1.1 200 Connected\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.needs("git")
def test_git_fetches_through_it(git_server: GitServer, tmp_path: Path) -> None:
    git_server.behaviors.clear()
    commit = git_server.repository("through-a-proxy").commit({"a": "x"})
    port = git_server.server_address[1]
    listening = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listening, Reach([("localhost", port)]), lambda _: None)
    proxy.start()
    # The server's certificate is for another name.
    options = ["-c", "http.sslVerify=false"]
    url = f"https://localhost:{port}/through-a-proxy"
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    variables["https_proxy"] = f"http://127.0.0.1:{listening.getsockname()[1]}"
    command = ["git", *options, "clone", "--quiet", url, str(tmp_path / "clone")]
    subprocess.run(command, env=variables, check=True, timeout=60)
    proxy.stop()
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == commit


@pytest.mark.parametrize(
    "target",
    [
        *("http://example.org/", "http://127.0.0.1:1/", "http://127.0.0.1/", "http://pypi.org/"),
        *("http://pypi.org:443/", "http://[::1]/", "http://pypi.org@127.0.0.1/", "http://a..b/"),
    ],
)
def test_another_place_is_refused(running: Running, target: str) -> None:
    if target == "http://pypi.org:443/":
        target = "http://pypi.org:444/"
    answer = running.answer(f"GET {target} HTTP/1.1\r\n\r\n")
    assert answer.startswith("HTTP/1.1 403 Forbidden\r\n")
    assert running.index.requested == []


def test_a_named_host_with_an_address_of_this_machine_is_refused(running: Running) -> None:
    answer = running.answer("CONNECT localhost:443 HTTP/1.1\r\n\r\n")
    assert "which is not one of the internet" in answer


def test_without_a_list_of_hosts_each_has_to_be_public(index: PackageIndex) -> None:
    found = Running(index, Reach(hosts=None))
    refused = "which is not one of the internet"
    for host in ("localhost", "127.0.0.1", "10.0.0.1", "[::1]", "169.254.169.254"):
        assert refused in found.answer(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n")
    own = index.address.removeprefix("http://").partition("/")[0]
    for place in (own, "localhost:22", "pypi.org:80"):
        answer = found.answer(f"CONNECT {place} HTTP/1.1\r\n\r\n")
        assert answer.startswith("HTTP/1.1 403 Forbidden\r\n")
    found.proxy.stop()


def test_networks_that_the_administrator_permits_are_reached(index: PackageIndex) -> None:
    excepted = networks(["127.0.0.0/8", "::1/128"])
    found = Running(index, Reach(hosts=["localhost"], excepted=excepted))
    # The connection is tried, and ends, because no program listens there.
    assert found.answer("CONNECT localhost:443 HTTP/1.1\r\n\r\n") == ""
    found.proxy.stop()


@pytest.mark.parametrize(
    "request_text",
    [
        "POST http://pypi.org/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: pypi.org\r\n\r\n",
        "GET ftp://pypi.org/ HTTP/1.1\r\n\r\n",
        "CONNECT pypi.org:99999 HTTP/1.1\r\n\r\n",
        "CONNECT : HTTP/1.1\r\n\r\n",
        "CONNECT\r\n\r\n",
        "\r\n\r\n",
    ],
)
def test_what_is_no_request_to_a_proxy_is_refused(running: Running, request_text: str) -> None:
    assert running.answer(request_text).startswith("HTTP/1.1 403 Forbidden\r\n")


def test_a_request_without_an_end_is_given_up(running: Running) -> None:
    assert running.answer("GET http://pypi.org/ HTTP/1.1\r\n" + "x: y\r\n" * 20_000) == ""
    assert running.answer("GET") == ""


def test_a_refused_place_is_said_once_and_not_for_ever(running: Running) -> None:
    for port in (*range(1, 40), 1, 1):
        running.answer(f"CONNECT example.org:{port} HTTP/1.1\r\n\r\n")
    assert running.lines[0] == (
        "example.org:1 is not reached: it is not among the hosts that were approved"
    )
    assert len(running.lines) == 20
