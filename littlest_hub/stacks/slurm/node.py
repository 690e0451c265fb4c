"""The program of a job on its node: it runs the user server, and reports its port to the hub."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

from littlest_hub.system.tcp import listeners

SERVER = (sys.executable, "-I", "-m", "littlest_hub.singleuser")
LISTEN_TIMEOUT_S = 300
"""Time in which a server has to listen; imports over a network file system are slow."""
REPORT_TIMEOUT_S = 600
"""Time for which the hub may be away before the job ends."""
PORTS_TRIED = 5
_INTERVAL_S = 0.2


class NodeError(Exception):
    """The reason why the server cannot be used, in one line for the log of the job."""


def main() -> int:
    """Run the server until it ends, and return its exit code."""
    # Connection files and sockets of kernels must not be on a network file system, as homes are.
    with tempfile.TemporaryDirectory(prefix="jupyter-") as runtime:
        return run({**os.environ, "JUPYTER_RUNTIME_DIR": runtime})


def run(environ: Mapping[str, str]) -> int:
    """Run the server in an environment until it ends, and return its exit code."""
    try:
        server, port = start(sys.argv[1:], environ)
    except NodeError as error:
        print(f"littlest-hub: {error}", file=sys.stderr)
        return 1
    # scancel(1) and the time limit send these signals, at which the server ends its kernels.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.terminate())
    try:
        report(port, environ["JUPYTERHUB_API_URL"], environ["JUPYTERHUB_API_TOKEN"])
    except NodeError as error:
        print(f"littlest-hub: {error}", file=sys.stderr)
        server.terminate()
    return server.wait()


def start(
    arguments: Sequence[str], environ: Mapping[str, str], command: Sequence[str] = SERVER
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server; return its process and its port when it listens.

    If another program takes the port first, the server is started at another one.

    Args:
        arguments: of the server.
        environ: its environment; JUPYTERHUB_SERVICE_URL gets the port.
        command: its program.

    Raises:
        NodeError: the server ends before it listens, or takes too long.
    """
    for _ in range(PORTS_TRIED):
        port = _free_port()
        url = urlsplit(environ["JUPYTERHUB_SERVICE_URL"])
        address = urlunsplit(url._replace(netloc=f"{url.hostname}:{port}"))
        server = subprocess.Popen(
            [*command, *arguments], env={**environ, "JUPYTERHUB_SERVICE_URL": address}
        )
        if _listens(server, port):
            return server, port
        server.terminate()
        server.wait()
    raise NodeError(f"other programs took {PORTS_TRIED} ports before the server")


def _listens(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a program listens at a port; return whether it is one of this user."""
    deadline = time.monotonic() + LISTEN_TIMEOUT_S
    while time.monotonic() < deadline:
        owners = {each.uid for each in listeners() if each.port == port}
        if owners:
            return owners == {os.getuid()}
        if server.poll() is not None:
            raise NodeError(f"the server ended with {server.returncode} before it listened")
        time.sleep(_INTERVAL_S)
    server.terminate()
    raise NodeError(f"the server does not listen after {LISTEN_TIMEOUT_S} s")


def report(port: int, api_url: str, token: str, timeout_s: float = REPORT_TIMEOUT_S) -> None:
    """Report the port of the server to the hub; wait while the hub is away.

    Raises:
        NodeError: the hub refuses the port, or is away for too long.
    """
    body = json.dumps({"port": port}).encode()
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    request = Request(f"{api_url}/slurm/port", body, headers)
    # Without a proxy of the site, because the token is for the hub alone.
    opener = build_opener(ProxyHandler({}))
    deadline, failure = time.monotonic() + timeout_s, ""
    while True:
        try:
            with opener.open(request, timeout=30):
                return
        except HTTPError as error:
            with error:
                # The hub has got an earlier report, whose answer was lost.
                if error.code == 409:
                    return
                if error.code < 500:
                    raise NodeError(f"{api_url} answers {error.code} {error.reason}") from error
                failure = f"{error.code} {error.reason}"
        except (URLError, OSError) as error:
            failure = str(getattr(error, "reason", error))
        if time.monotonic() > deadline:
            raise NodeError(f"the hub does not answer at {api_url}: {failure}")
        time.sleep(min(5, timeout_s / 10))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    code = 1
    with suppress(KeyboardInterrupt):
        code = main()
    sys.exit(code)
