"""Who has a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from littlest_hub.services.listener import who_listens

pytestmark = pytest.mark.unit

LISTEN = """
import socket
with socket.create_server(("127.0.0.1", 0)) as s:
    print(s.getsockname()[1], flush=True)
    input()
"""


def test_the_program_that_listens_is_named() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        port = int(process.stdout.readline())
        try:
            assert f"(process {process.pid})" in who_listens(port)
        finally:
            process.stdin.write("\n")
            process.stdin.flush()
    assert who_listens(port) == ""


def test_without_permission_to_see_programs_it_is_at_least_known_whose_it_is() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody who may not see")
    with socket.create_server(("127.0.0.1", 0)) as held:
        ask = (
            "import os; from littlest_hub.services.listener import who_listens;"
            "os.setgroups([]); os.setuid(65534);"
            f"print(who_listens({held.getsockname()[1]}))"
        )
        seen = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    answer = seen.stdout.strip()
    assert answer.endswith((".service", ".scope", "user root")), (seen.stdout, seen.stderr)
