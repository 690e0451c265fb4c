"""Processes that are killed by their number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from littlest_hub.system import pidfd


def test_processes_that_were_killed_have_ended() -> None:
    # The kernel needs some time to take so much memory back.
    program = f"import sys; held = bytes([1]) * {500 * 2**20}; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert pidfd.kill([process.pid])
        assert "State:\tZ" in Path(f"/proc/{process.pid}/status").read_text()
    assert not pidfd.kill([])
