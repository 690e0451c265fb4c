"""Activity of a user server, as the hub and its idle culler see it.

A Jupyter server extension in every user server that is started from a release.

jupyter_server counts requests and messages, so a cell that computes without output, and a program
in a terminal that prints nothing, look idle. Here the server is active while one of them runs.
`--MappingKernelManager.cull_busy=True`, Jupyter's setting for the same question, turns that off.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any


def is_busy(server: Any) -> bool:
    """Return whether a cell, or a program in the foreground of a terminal, runs."""
    if getattr(server.kernel_manager, "cull_busy", False):
        return False
    kernels = map(server.kernel_manager.get_kernel, server.kernel_manager.list_kernel_ids())
    terminals = getattr(server.web_app.settings.get("terminal_manager"), "terminals", {})
    return any(getattr(kernel, "execution_state", "") == "busy" for kernel in kernels) or any(
        runs_program(terminal.ptyproc) for terminal in terminals.values()
    )


def runs_program(terminal: Any) -> bool:
    """Return whether another program than the shell is in the foreground of a terminal."""
    try:
        return bool(os.tcgetpgrp(terminal.fd) != terminal.pid)
    except OSError:  # it has ended
        return False


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    upstream = server.web_app.last_activity

    def last_activity() -> datetime:
        found: datetime = datetime.now(UTC) if is_busy(server) else upstream()
        return found

    server.web_app.last_activity = last_activity
