"""Terminals of a user server: the user's login shell, with the server's own programs first in PATH.

A Jupyter server extension in every user server that is started from a release.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

OOM_SCORE = 300
"""oom_score_adj of kernels and terminals: counts as 30 % of the limit (proc(5))."""
_START = Path(__file__).parent / "terminal" / "start.sh"
_SYSTEM = frozenset(
    f"{parent}/{name}" for parent in ("/usr/local", "/usr", "") for name in ("bin", "sbin")
)


def terminal_command(path: str) -> list[str]:
    """Return the command of a terminal, for jupyter_server_terminals.

    Args:
        path: PATH of the server.
    """
    return ["/bin/sh", str(_START), own_directories(path), str(OOM_SCORE)]


def own_directories(path: str) -> str:
    """Return the part of PATH before the first directory of the system."""
    return ":".join(itertools.takewhile(lambda each: each not in _SYSTEM, path.split(":")))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _link_jupyter_server_extension(server: Any) -> None:
    # The terminals' extension reads this when it is loaded; extensions are linked before that.
    ours = {"shell_command": terminal_command(os.environ.get("PATH", ""))}
    server.terminado_settings = {**ours, **server.terminado_settings}


def _load_jupyter_server_extension(server: Any) -> None:
    """Do nothing: `_link_jupyter_server_extension` has done it."""
