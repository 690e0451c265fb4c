"""A package index on this machine, with wheels that a test makes.

Its interface is that of PyPA's "Simple repository API".
"""

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Any, Self

from littlest_hub.system.digests import sha256
from tests import wheels

LONG_AGO = "2020-01-01T00:00:00Z"


class PackageIndex:
    """An index, served on the loopback interface while the block runs.

    Args:
        directory: of the wheels; more may come.
        port: 0: any.
        listening: a socket that listens already, such as one of another network.
    """

    def __init__(self, directory: Path, port: int = 0, listening: socket | None = None) -> None:
        self._port = port
        self._listening = listening
        self.files = directory
        self.files.mkdir(parents=True, exist_ok=True)
        self.uploaded: dict[str, str] = {}
        """Time at which each file was uploaded; others were long ago."""
        self.requested: list[str] = []
        self._held: dict[str, threading.Event] = {}
        self._waiting = threading.Semaphore(0)

    def __enter__(self) -> Self:
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index._answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        is_new = self._listening is None
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler, is_new)
        if self._listening:
            self._server.socket.close()
            self._server.socket = self._listening
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for event in self._held.values():
            event.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.socket.getsockname()[1]}/simple"

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        requires: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        uploaded: str = LONG_AGO,
    ) -> Path:
        """Add a wheel."""
        wheel = wheels.make(self.files, name, version, requires=requires, files=files)
        self.uploaded[wheel.name] = uploaded
        return wheel

    def hold(self, file: str) -> threading.Event:
        """Answer no request for a file until the result is set."""
        return self._held.setdefault(file, threading.Event())

    def wait_for_held(self, timeout_s: float) -> bool:
        """Wait until somebody asks for a file that is held."""
        return self._waiting.acquire(timeout=timeout_s)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.strip("/").rpartition("/")[2].partition("?")[0]
        self.requested.append(handler.path)
        if handler.path.startswith("/files/"):
            if (event := self._held.get(name)) and not event.is_set():
                self._waiting.release()
                event.wait()
            file = self.files / name
            status, data = (200, file.read_bytes()) if file.is_file() else (404, b"")
            kind = "application/octet-stream"
        else:
            kind = "application/vnd.pypi.simple.v1+json"
            files = [each for each in sorted(self.files.iterdir()) if _name(each) == name]
            found = [self._entry(each) for each in files]
            listed = {"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": found}
            status, data = (200, json.dumps(listed).encode()) if found else (404, b"")
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(data)

    def _entry(self, file: Path) -> dict[str, object]:
        return {
            "name": _name(file),
            "filename": file.name,
            "url": f"/files/{file.name}",
            "size": file.stat().st_size,
            "hashes": {"sha256": sha256(file)},
            "upload-time": self.uploaded.get(file.name, LONG_AGO),
        }


def _name(file: Path) -> str:
    return file.name.partition("-")[0].replace("_", "-")
