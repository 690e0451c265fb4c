"""Kernels of a user server: reached by their owner alone, and the first to go when memory ends.

Part of every user server that is started from a release, as `notice`.

- Kernels listen at sockets in the file system, where the modes of the directory decide who gets to
  them. At TCP ports, Jupyter's default, everybody on the machine can read along (JupyterHub's
  "Security overview" recommends this setting).
- When a limit is reached Linux ends what takes most memory. That may be the server while the memory
  is taken by many small processes, such as a pool of workers; so kernels and terminals volunteer,
  and what they start with them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner
from traitlets.config import Config

OOM_SCORE = 300
"""How much earlier than the server they go: as if they took 30 % of the limit more (proc(5))."""

TERMINAL = (
    *("/bin/sh", "-c"),
    f'echo {OOM_SCORE} 2>/dev/null >/proc/self/oom_score_adj; exec "${{SHELL:-/bin/sh}}" -l',
)
"""A login shell, as jupyter_server_terminals starts it, and a volunteer."""

NAME = "littlest-hub"
# The longest that jupyter_client appends to the directory: kernel-UUID-ipc-NUMBER.
_LONGEST = "kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-999"
_TRANSPORT_OF = ("KernelManager", "ConnectionFileMixin")


class VolunteeringProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Starts kernels as usual, and has Linux know that they are to go first."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        connection = await super().launch_kernel(cmd, **kwargs)
        # It may have ended already.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/oom_score_adj").write_text(str(OOM_SCORE))
        return connection


def takes_sockets(directory: Path) -> bool:
    """Whether kernels can listen in a directory: some file systems have no sockets, and the
    address of one has 107 bytes at most (unix(7))."""
    if len(os.fsencode(directory / _LONGEST)) > 107:
        return False
    try:
        with (
            tempfile.TemporaryDirectory(prefix="socket-", dir=directory) as mine,
            socket.socket(socket.AF_UNIX) as probe,
        ):
            probe.bind(f"{mine}/0")
    except OSError:
        return False
    return True


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _link_jupyter_server_extension(server: Any) -> None:
    # Before any extension is loaded: that of terminals reads this when it is.
    server.terminado_settings = {"shell_command": [*TERMINAL], **server.terminado_settings}


def _load_jupyter_server_extension(server: Any) -> None:
    factory = KernelProvisionerFactory.instance(parent=server)
    factory.provisioners[NAME] = EntryPoint(
        NAME, f"{__name__}:{VolunteeringProvisioner.__name__}", factory.GROUP_NAME
    )
    if factory.default_provisioner_name == "local-provisioner":
        factory.default_provisioner_name = NAME

    # Whoever has chosen has chosen.
    if any("transport" in server.config.get(name, {}) for name in _TRANSPORT_OF):
        return
    if takes_sockets(Path(server.runtime_dir)):
        server.kernel_manager.update_config(Config({"KernelManager": {"transport": "ipc"}}))
    else:
        server.log.warning(
            "Kernels listen at TCP ports, for %s takes no sockets", server.runtime_dir
        )
