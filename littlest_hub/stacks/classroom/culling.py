"""Culling: servers and kernels that nobody uses are stopped.

A server is in use while a cell, or a program in the foreground of a terminal, runs
(`littlest_hub.singleuser.activity`). A kernel is in use while a cell runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from littlest_hub.hub.config import CULLER
from littlest_hub.manifest.plain_values import record_of

REPORTS_S = 300
"""Interval at which servers report their activity to the hub."""
SETTINGS = "LITTLEST_HUB_CULLING"
"""Environment variable of the culler that knows groups: the values below, as JSON."""
_CULLER_OF_GROUPS = "littlest_hub.stacks.classroom.group_culler"
_KERNELS = "--MappingKernelManager"
_NEVER_S = 2**31 - 1
_GROUPS = "cull_groups"
_OF_GROUPS = ("idle_s", "max_age_s")
_EXAMPLE = '{"thesis": {"idle_s": 86400}}'


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
    cull_groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Other values of `cull_idle_s` and `cull_max_age_s`, as `idle_s` and `max_age_s`, for members
    of groups of the hub."""

    def problems(self) -> list[tuple[str, str]]:
        """Return problems: the variable, and what was found and expected."""
        found = []
        lowest = {"cull_idle_s": 0, "cull_max_age_s": 0, "cull_every_s": 1, "cull_kernel_idle_s": 1}
        for name, about in self.__dataclass_fields__.items():
            value = getattr(self, name)
            if name == _GROUPS:
                found += [(name.upper(), text) for text in _problems_of_groups(value)]
            elif name in lowest:
                # `isinstance(True, int)` is true.
                if type(value) is not int or value < lowest[name]:
                    text = f"expected seconds, {lowest[name]} or more, found {value!r}"
                    found.append((name.upper(), text))
            elif type(value) is not type(about.default):
                found.append((name.upper(), f"expected True or False, found {value!r}"))
        return found

    @property
    def has_culler(self) -> bool:
        """Whether servers of anybody are stopped."""
        return bool(self.cull_idle_s or self.cull_groups)

    def of_person(self, groups: Collection[str]) -> tuple[int, int]:
        """Return the idle time and the age at which a person's server is stopped; 0: never.

        Of several groups, the longest time counts, and none is the longest of all.

        Args:
            groups: those that the person is in.
        """
        own = [what for group, what in self.cull_groups.items() if group in groups]
        idle_s = [each["idle_s"] for each in own if "idle_s" in each] or [self.cull_idle_s]
        age_s = [each["max_age_s"] for each in own if "max_age_s" in each] or [self.cull_max_age_s]
        return (max(idle_s) if all(idle_s) else 0, max(age_s) if all(age_s) else 0)

    def of_culler(self) -> Iterator[str]:
        """Yield the options of jupyterhub-idle-culler."""
        yield f"--timeout={self.cull_idle_s or _NEVER_S}"
        yield f"--cull-every={self.cull_every_s}"
        # With groups, the age is that of a person.
        if self.cull_max_age_s and not self.cull_groups:
            yield f"--max-age={self.cull_max_age_s}"
        if self.cull_users and self.cull_idle_s:
            yield "--cull-users"

    def to_json(self) -> str:
        """Return the values for the culler that knows groups."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Culling:
        """Return the values that `to_json` has written.

        Raises:
            ValueError, TypeError: it has not.
        """
        return cls(**json.loads(text))

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
        if not wanted.has_culler:
            c.JupyterHub.services.remove(service)
            continue
        program = [each for each in service["command"] if not each.startswith("--")]
        if wanted.cull_groups:
            program[-1] = _CULLER_OF_GROUPS
            service["environment"] = {**service.get("environment", {}), SETTINGS: wanted.to_json()}
        service["command"] = [*program, *wanted.of_culler()]
    for role in c.JupyterHub.load_roles:
        if role.get("name") == CULLER:
            role["scopes"] = [*role["scopes"], *_more_scopes(wanted)]
    c.Spawner.args.extend([*wanted.of_server()])


def _more_scopes(wanted: Culling) -> Iterator[str]:
    if wanted.cull_idle_s and wanted.cull_users:
        yield "delete:users"
    for group in wanted.cull_groups:
        yield f"read:groups!group={group}"


def _problems_of_groups(groups: Any) -> Iterator[str]:
    """Yield what is wrong with limits of groups."""
    if not isinstance(groups, dict):
        yield f"expected {_EXAMPLE}, found {groups!r}"
        return
    for group, what in groups.items():
        if not (isinstance(group, str) and group and group.isprintable()):
            yield f"expected the name of a group of the hub, found {group!r}"
        elif not (isinstance(what, dict) and what):
            yield f'{group}: expected {{"idle_s": 86400, "max_age_s": 0}}, found {what!r}'
        else:
            yield from _problems_of_group(group, what)


def _problems_of_group(group: str, what: Mapping[Any, Any]) -> Iterator[str]:
    for kind, value in what.items():
        if kind not in _OF_GROUPS:
            yield f"{group}: expected {' or '.join(_OF_GROUPS)}, found {kind!r}"
        # `isinstance(True, int)` is true.
        elif type(value) is not int or value < 0:
            yield f"{group}: {kind}: expected seconds, 0 or more, found {value!r}"
