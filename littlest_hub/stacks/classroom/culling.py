"""Culling: servers and kernels that nobody uses are stopped.

A server is in use while a cell, or a program in the foreground of a terminal, runs
(`littlest_hub.singleuser.activity`). A kernel is in use while a cell runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from littlest_hub.hub.config import CULLER
from littlest_hub.manifest.plain_values import record_of

REPORTS_S = 300
"""Interval at which servers report their activity to the hub."""
_KERNELS = "--MappingKernelManager"


@dataclass(frozen=True)
class Culling:
    """Values of variables at the top of the stack's fragment; times in seconds."""

    cull_idle_s: int = 3600
    """Time for which a server may be idle; 0: no limit."""
    cull_every_s: int = 300
    """Interval at which the hub looks for idle servers, and a server for idle kernels."""
    cull_max_age_s: int = 0
    """Age at which a server is stopped, even in use; 0: no limit."""
    cull_users: bool = False
    """Whether users without a server are deleted when they have been idle for `cull_idle_s`."""
    cull_kernels: bool = False
    """Whether idle kernels are stopped while their server goes on."""
    cull_kernel_idle_s: int = 3600
    cull_connected_kernels: bool = False
    """Whether idle kernels of notebooks that are open in a browser are stopped as well."""

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        found = []
        lowest = {"cull_idle_s": 0, "cull_max_age_s": 0, "cull_every_s": 1, "cull_kernel_idle_s": 1}
        for name, field in self.__dataclass_fields__.items():
            value = getattr(self, name)
            if name in lowest:
                # `isinstance(True, int)` is true.
                if type(value) is not int or value < lowest[name]:
                    text = f"expected seconds, {lowest[name]} or more, found {value!r}"
                    found.append((name.upper(), text))
            elif type(value) is not type(field.default):
                found.append((name.upper(), f"expected True or False, found {value!r}"))
        return found

    def of_culler(self) -> Iterator[str]:
        """Yield the options of jupyterhub-idle-culler."""
        yield f"--timeout={self.cull_idle_s}"
        yield f"--cull-every={self.cull_every_s}"
        if self.cull_max_age_s:
            yield f"--max-age={self.cull_max_age_s}"
        if self.cull_users:
            yield "--cull-users"

    def of_server(self) -> Iterator[str]:
        """Yield the options of user servers."""
        if self.cull_kernels:
            yield f"{_KERNELS}.cull_idle_timeout={self.cull_kernel_idle_s}"
            yield f"{_KERNELS}.cull_interval={self.cull_every_s}"
            yield f"{_KERNELS}.cull_connected={bool(self.cull_connected_kernels)}"


def configure(c: Any, variables: Mapping[str, Any]) -> None:
    """Configure the culler and user servers.

    Args:
        c: the configuration of the hub.
        variables: those of the fragment.
    """
    wanted = record_of(variables, Culling)
    services = [each for each in c.JupyterHub.services if isinstance(each, dict)]
    for service in [each for each in services if each.get("name") == CULLER]:
        if not wanted.cull_idle_s:
            c.JupyterHub.services.remove(service)
            continue
        options = [each for each in service["command"] if not each.startswith("--")]
        service["command"] = [*options, *wanted.of_culler()]
    if wanted.cull_idle_s and wanted.cull_users:
        for role in c.JupyterHub.load_roles:
            if role.get("name") == CULLER:
                role["scopes"] = [*role["scopes"], "delete:users"]
    c.Spawner.args.extend([*wanted.of_server()])
