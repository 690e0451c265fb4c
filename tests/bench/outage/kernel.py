"""A kernel that counts, and the websocket through which a user watches it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

import httpx
import websocket

from tests.bench.outage.account import Count
from tests.client import execute_request
from tests.eventually import eventually

CELL = """\
import itertools, sys, time
for number in itertools.count():
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    time.sleep(0.05)
"""
AGAIN_S = 0.1
"""Delay before a failed connection is tried again. JupyterLab waits for seconds, at random; this
measures the servers and not that delay."""


class CountingKernel:
    """A kernel of a running user server.

    Args:
        server: URL of the user server.
        token: of its owner.
        clock: the clock for the times of the count.
    """

    def __init__(self, server: str, token: str, clock: Callable[[], float]) -> None:
        self._server = server
        self._headers = {"Authorization": f"token {token}"}
        self._clock = clock
        self._id: str = self._call("POST", "api/kernels", {"name": "python3"})["id"]

    def watch(self) -> Watch:
        """Start the cell, and watch it until the end of the block."""
        session = uuid.uuid4().hex
        path = f"api/kernels/{self._id}/channels?session_id={session}"
        url = urlsplit(f"{self._server}/{path}")._replace(scheme="ws").geturl()

        def connect() -> websocket.WebSocket:
            # With the same session, the server replays the messages that it could not send.
            channels = websocket.create_connection(url, header=self._headers, timeout=30)
            channels.settimeout(1)  # how often the thread checks whether to end
            return channels

        return Watch(connect, self._clock, self._is_interrupted)

    def _is_interrupted(self) -> bool:
        """Return whether the cell has ended; if not, interrupt it again."""
        if self._call("GET", f"api/kernels/{self._id}")["execution_state"] == "idle":
            return True
        self._call("POST", f"api/kernels/{self._id}/interrupt")
        return False

    def _call(self, method: str, path: str, body: object = None) -> dict[str, str]:
        try:
            answer = httpx.request(
                method,
                f"{self._server}/{path}",
                json=body,
                headers=self._headers,
                timeout=30,
                trust_env=False,
            )
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error
        assert answer.is_success, f"{answer.status_code}: {answer.text}"
        return dict(answer.json()) if answer.content else {}


class Watch:
    """A watcher like a notebook: shows output, and reconnects when the connection breaks.

    It is a thread of its own, so that it and the requests do not delay each other.
    """

    def __init__(
        self,
        connect: Callable[[], websocket.WebSocket],
        clock: Callable[[], float],
        is_interrupted: Callable[[], bool],
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._is_interrupted = is_interrupted
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = threading.Event()
        self._request_id = uuid.uuid4().hex
        self.count = Count(clock())
        self.reconnects = 0

    def __enter__(self) -> Watch:
        """Wait for the first number."""
        self._channels = self._connect()
        self._channels.send(json.dumps(execute_request(self._request_id, CELL)))
        self._thread.start()
        eventually(lambda: self.count.next > 0, 30, "the kernel to count")
        self.count.gap_s = 0.0  # the start of a kernel is no interruption
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=15)
        self._channels.close()
        self.count.silent_until(self._clock())
        eventually(self._is_interrupted, 60, "the kernel to be interrupted", interval_s=0.3)

    def counts_since(self, at_s: float) -> bool:
        """Return whether a number has arrived after that time."""
        return self.count.since_s > at_s

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                message = json.loads(self._channels.recv())
            except websocket.WebSocketTimeoutException:
                continue
            except (websocket.WebSocketException, OSError):
                self._reconnect()
                continue
            if (
                message["header"]["msg_type"] == "stream"
                and message["parent_header"].get("msg_id") == self._request_id
            ):
                self.count.arrived(message["content"]["text"], self._clock())

    def _reconnect(self) -> None:
        self.reconnects += 1
        self._channels.close()
        while not self._stop.is_set():
            try:
                self._channels = self._connect()
            except (websocket.WebSocketException, OSError):
                self._stop.wait(AGAIN_S)
            else:
                return
