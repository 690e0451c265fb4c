"""The service as its unit runs it: a socket of systemd's, a token, and paths in variables."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from littlest_hub.stacks.launch.pages import VARIABLES
from littlest_hub.units.stack import HUB_ADDRESS, SERVICE

REPOSITORY = Path(__file__).parents[4]
# systemd names the process that the sockets are for (sd_listen_fds(3)).
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "littlest_hub.stacks.launch.pages"])
"""
MEMORY_BYTES = 128 << 20
"""Half of what its unit gives it."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address of the service, whose hub does not answer, and its process id."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        environment = {
            **{variable: str(tmp_path / name) for name, variable in VARIABLES.items()},
            **{SERVICE: "launch", HUB_ADDRESS: "127.0.0.1:1", "LISTEN_FDS": "1"},
            **{"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
        }
        with subprocess.Popen(
            [sys.executable, "-c", START, str(listening.fileno())],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            text=True,
        ) as running:
            assert running.stdin
            running.stdin.write("0123456789abcdef\n")
            running.stdin.close()
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/services/launch/", running.pid
            running.terminate()
            assert running.wait(60) == 0


def test_it_serves_its_pages_in_little_memory(service: tuple[str, int]) -> None:
    url, pid = service
    answer = httpx.get(f"{url}launch.css", trust_env=False, timeout=60)
    assert "animation: late" in answer.text
    login = httpx.get(f"{url}badge.svg", trust_env=False, timeout=60)
    assert login.status_code == 502
    assert "the hub does not tell the settings" in login.text
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < MEMORY_BYTES


def test_it_ends_without_a_failure_when_systemd_ends_it(service: tuple[str, int]) -> None:
    url, _ = service
    assert httpx.get(f"{url}launch.css", trust_env=False, timeout=60).is_success
