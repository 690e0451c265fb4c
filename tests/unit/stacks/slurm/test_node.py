"""The program of a job on its node: the server is started at a free port, and reported."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from littlest_hub.stacks.slurm import node
from littlest_hub.stacks.slurm.node import NodeError

SERVER = """\
import os, signal, socket, sys
from urllib.parse import urlsplit
if "fail" in sys.argv:
    sys.exit(3)
with socket.create_server(("127.0.0.1", urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port)):
    signal.pause()
"""


class Hub(HTTPServer):
    """Answers reports with the statuses that it is given, in order."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.reports = statuses, list[tuple[str, object]]()
        self.url = f"http://127.0.0.1:{self.server_port}/hub/api"


class Handler(BaseHTTPRequestHandler):
    """Keeps token and body of each request."""

    server: Hub

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.reports.append((self.headers["Authorization"], body))
        assert self.path == "/hub/api/slurm/port"
        self.send_response(self.server.statuses.pop(0))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that is to be given statuses."""
    with Hub([]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


ENVIRON = {"JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:0/user/alice/"}


def test_the_server_is_started_at_a_free_port() -> None:
    server, port = node.start([], ENVIRON, [sys.executable, "-c", SERVER])
    try:
        assert 0 < port < 65536
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()


def test_a_server_that_ends_at_once_is_named_with_its_code() -> None:
    with pytest.raises(NodeError, match="ended with 3 before it listened"):
        node.start(["fail"], ENVIRON, [sys.executable, "-c", SERVER])


@pytest.mark.parametrize("statuses", [[201], [503, 201], [502, 503, 409]])
def test_a_report_is_repeated_until_the_hub_has_it(hub: Hub, statuses: list[int]) -> None:
    hub.statuses = list(statuses)
    node.report(4321, hub.url, "own", timeout_s=20)
    assert hub.reports == [("token own", {"port": 4321})] * len(statuses)


def test_a_hub_that_refuses_ends_the_job(hub: Hub) -> None:
    hub.statuses = [403]
    with pytest.raises(NodeError, match="answers 403"):
        node.report(4321, hub.url, "own")
