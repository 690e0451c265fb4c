"""Kernels of a user server: they have private sockets, and end first when memory runs out.

A Jupyter server extension in every user server that is started from a release.

- Kernels listen on Unix sockets, which the mode of their directory protects. On TCP ports,
  Jupyter's default, every user of the machine can read the traffic (JupyterHub's "Security
  overview" recommends this setting). IPython kernels get `kernel_patches` for one more socket.
- A kernel of a shared environment runs in the generation that is the present one when it starts, so
  that no later change of the environment reaches it.
- At a memory limit, Linux ends the largest process. That may be the server, if many small processes
  such as a pool of workers use the memory. So kernels, terminals, and all their child processes
  have a higher oom_score_adj.
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

from littlest_hub.singleuser.environments import in_generation
from littlest_hub.singleuser.terminals import OOM_SCORE

PROVISIONER = "littlest-hub"
"""The name of our kernel provisioner, for kernel specs."""
# The longest name of a socket: jupyter_client's kernel-UUID-ipc-NUMBER, with our suffix.
_LONGEST_NAME = "kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-999-pipe"
_PATCHES = Path(__file__).with_name("kernel_patches.py")
_TRANSPORT_SECTIONS = ("KernelManager", "ConnectionFileMixin")


class PrivateProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Jupyter's local provisioner, with generations, our patches, and an oom_score_adj."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        command = in_generation(cmd, self.kernel_spec.argv, self.kernel_spec.resource_dir)
        connection = await super().launch_kernel(with_patches(command), **kwargs)
        # The kernel may have ended already.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/oom_score_adj").write_text(str(OOM_SCORE))
        return connection


def with_patches(command: list[str]) -> list[str]:
    """Return the command of a kernel with `kernel_patches`, if it is one of IPython's.

    Others that are built on ipykernel do not always understand its options.
    """
    is_ipython = not {"ipykernel", "ipykernel_launcher"}.isdisjoint(command)
    has_config = any(word.startswith("--config") for word in command)
    return [*command, f"--config={_PATCHES}"] if is_ipython and not has_config else command


def supports_sockets(directory: Path) -> bool:
    """Return whether kernels can listen on Unix sockets in a directory.

    Some file systems have no sockets, and an address has at most 107 bytes (unix(7)).
    """
    if len(os.fsencode(directory / _LONGEST_NAME)) > 107:
        return False
    try:
        with (
            tempfile.TemporaryDirectory(prefix="socket-", dir=directory) as temporary,
            socket.socket(socket.AF_UNIX) as probe,
        ):
            probe.bind(f"{temporary}/0")
    except OSError:
        return False
    return True


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    factory = KernelProvisionerFactory.instance(parent=server)
    factory.provisioners[PROVISIONER] = EntryPoint(
        PROVISIONER, f"{__name__}:{PrivateProvisioner.__name__}", factory.GROUP_NAME
    )
    if factory.default_provisioner_name == "local-provisioner":
        factory.default_provisioner_name = PROVISIONER

    # An explicit configuration wins.
    if any("transport" in server.config.get(name, {}) for name in _TRANSPORT_SECTIONS):
        return
    if supports_sockets(Path(server.runtime_dir)):
        server.kernel_manager.update_config(Config({"KernelManager": {"transport": "ipc"}}))
    else:
        server.log.warning(
            "Kernels listen on TCP ports: %s does not support Unix sockets", server.runtime_dir
        )
