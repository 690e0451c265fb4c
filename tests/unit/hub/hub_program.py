"""A real hub without proxy and systemd, as a program of its own; and a helper of root's for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.eventually import eventually

REPOSITORY = Path(__file__).parents[3]
Work = Callable[[], object]


@contextlib.contextmanager
def running(program: Path, port: int, directory: Path, *words: str) -> Iterator[str]:
    """Run `program PORT DIRECTORY WORDS…`, and yield the hub's URL once it answers.

    What it prints is in `log`, in the directory.

    Args:
        program: such as `small_hub.py`.
        port: of 127.0.0.1.
        directory: for what the hub writes.
        words: further arguments.
    """
    url = f"http://127.0.0.1:{port}"
    log = directory / "log"
    argv = [sys.executable, str(program), str(port), str(directory), *words]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with log.open("w") as opened:
        hub = subprocess.Popen(argv, env=environment, stdout=opened, stderr=opened)
    try:
        eventually(lambda: _answers(url, hub, log), 60, f"a hub; see {log}")
        yield url
    finally:
        hub.terminate()
        hub.wait()


def _answers(url: str, hub: subprocess.Popen[Any], log: Path) -> bool:
    if hub.poll() is not None:
        raise RuntimeError(log.read_text())
    try:
        return httpx.get(f"{url}/hub/login", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def helper_at(
    address: Path, answer: Callable[[bytes], tuple[object, Work | None]]
) -> Iterator[None]:
    """Serve requests of the hub at a socket, one after the other, as a helper of root's does.

    Args:
        address: of the socket.
        answer: returns the reply to a request, and what is done once it is sent.
    """
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address))
        listening.listen()
        serving = threading.Thread(target=_serve, args=[listening, answer], daemon=True)
        serving.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()


def _serve(listening: socket.socket, answer: Callable[[bytes], tuple[object, Work | None]]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection:
                with connection.makefile("rb") as reader:
                    message = reader.read()
                reply, work = answer(message)
                connection.sendall(json.dumps(reply).encode())
            if work:
                work()


def xsrf(page: httpx.Response) -> str:
    """Return the token that forms of a page of the hub carry."""
    found = re.search(r'xsrf_token: "([^"]+)"', page.text)
    assert found, page.text
    return found[1]
