"""The user server's client for the hub."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tornado.httpclient import HTTPError

from littlest_hub.singleuser import hubclient

pytestmark = pytest.mark.unit


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(404 if self.path == "/missing" else 200, self.path)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(201, f"{self.headers['Authorization']} {body}")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def hub() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_requests_to_the_hub_return_what_jupyterhubs_own_client_returns() -> None:
    async def ask(url: str) -> None:
        answer = await hubclient.fetch(f"{url}/hub/api")
        assert (answer.status, await answer.text()) == (200, "/hub/api")
        assert answer.headers.get("x-jupyterhub-version") == "6.1.1"
        answer = await hubclient.fetch(
            f"{url}/activity", method="POST", headers={"Authorization": "token x"}, data='{"a": 1}'
        )
        assert (answer.status, await answer.text()) == (201, 'token x {"a": 1}')
        answer = await hubclient.fetch(f"{url}/missing", raise_for_status=False)
        assert answer.status == 404
        with pytest.raises(HTTPError):
            await hubclient.fetch(f"{url}/missing")

    with hub() as url:
        asyncio.run(ask(url))
    for is_picky in (True, False):
        with pytest.raises(OSError, match="refused"):
            asyncio.run(hubclient.fetch(f"{url}/hub/api", raise_for_status=is_picky))
