"""Facts about this machine that decide whether a fragment will work on it.

They are gathered outside the sandbox, which has no access to systemd.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from littlest_hub.hub import unit_files
from littlest_hub.layout import Layout
from littlest_hub.system import processes, systemctl, tcp
from littlest_hub.system.addresses import local_addresses
from littlest_hub.system.passwords import Unusable, unusable_passwords
from littlest_hub.units.unit import service_directives


@dataclass(frozen=True)
class OtherListener:
    """A TCP port that a program other than hub and proxy listens on."""

    address: str
    port: int
    program: str
    """The program as messages name it: "nginx (process 7)"."""


@dataclass(frozen=True)
class Rights:
    """Rights that the hub's unit gives its processes, systemd.exec(5)."""

    can_become_others: bool = True
    """They may run commands as other users (runuser, sudo)."""
    knows_other_users: bool = True
    """Other users exist in the unit, so root's rights extend to their files (no PrivateUsers=)."""


@dataclass(frozen=True)
class Facts:
    """Facts about the machine and the hub's units."""

    is_service: bool = False
    """Whether systemd runs the hub; the fragments are then checked in a unit."""
    addresses: tuple[str, ...] = ()
    """IP addresses of this machine."""
    listeners: tuple[OtherListener, ...] = ()
    public_sockets: tuple[tuple[str, int], ...] = ()
    """Addresses, as in a URL, and ports of the proxy's socket; empty without systemd."""
    hub_sockets: tuple[tuple[str, int], ...] = ()
    """The same of the hub's socket."""
    writable_paths: tuple[str, ...] = ()
    """Directories that drop-ins let the hub write to, besides its state."""
    rights: Rights = Rights()
    unusable_passwords: Mapping[str, Unusable] = field(default_factory=dict)
    """Accounts of this machine that no password opens."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Facts:
        """Return the facts that `to_json` made the JSON object of."""
        return cls(
            is_service=record["is_service"],
            addresses=tuple(record["addresses"]),
            listeners=tuple(OtherListener(**each) for each in record["listeners"]),
            public_sockets=tuple((host, port) for host, port in record["public_sockets"]),
            hub_sockets=tuple((host, port) for host, port in record["hub_sockets"]),
            writable_paths=tuple(record["writable_paths"]),
            rights=Rights(**record["rights"]),
            unusable_passwords={
                name: Unusable(*each) for name, each in record["unusable_passwords"].items()
            },
        )


def gather(layout: Layout) -> Facts:
    """Gather the facts about this machine and the units of an installation."""
    if not is_service(layout):
        return Facts(
            addresses=tuple(sorted(local_addresses())),
            listeners=tuple(_other_listeners(layout, set())),
        )
    paths = systemctl.show(layout.hub_service, "ReadWritePaths").split()
    return Facts(
        is_service=True,
        addresses=tuple(sorted(local_addresses())),
        listeners=tuple(_other_listeners(layout, _ports_of_socket_units(layout))),
        public_sockets=tuple(sorted(systemctl.listen_streams([layout.proxy_socket]))),
        hub_sockets=tuple(systemctl.parse_streams(systemctl.show(layout.hub_socket, "Listen"))),
        writable_paths=tuple(path.lstrip("-+") for path in paths),
        rights=rights_of(unit_files.texts(layout)),
        unusable_passwords=unusable_passwords(),
    )


def is_service(layout: Layout) -> bool:
    """Return whether this machine's systemd runs, or would run, the hub, and we are root."""
    return (
        os.geteuid() == 0
        and layout.is_live
        and systemctl.is_booted()
        and shutil.which("systemd-run") is not None
        and (layout.system_units / layout.hub_service).exists()
    )


def rights_of(texts: Iterable[str]) -> Rights:
    """Return the rights that a unit file and its drop-ins give, systemd.exec(5)."""
    capabilities = {"CAP_SETUID": False, "CAP_SETGID": False}
    knows_other_users = True
    for key, value in (each for text in texts for each in service_directives(text)):
        if key == "PrivateUsers":
            knows_other_users = value.lower() in ("", "no", "n", "false", "f", "off", "0")
        elif key == "CapabilityBoundingSet":
            is_inverted, names = value.startswith("~"), value.lstrip("~").upper().split()
            # Without a name, the assignment concerns all capabilities.
            for name in names or [*capabilities]:
                capabilities[name] = is_inverted != bool(names)
    can_become_others = capabilities["CAP_SETUID"] and capabilities["CAP_SETGID"]
    return Rights(knows_other_users and can_become_others, knows_other_users)


def _other_listeners(layout: Layout, own_ports: set[int]) -> Iterator[OtherListener]:
    listeners = [each for each in tcp.listeners() if each.port not in own_ports]
    owners = tcp.processes_of([each.inode for each in listeners])
    for listener in listeners:
        pid = owners.get(listener.inode)
        if pid is not None and _is_part_of(layout, pid):
            continue
        name = processes.name(pid) if pid is not None else ""
        program = f"{name} (process {pid})" if name else "another program"
        yield OtherListener(listener.address, listener.port, program)


def _is_part_of(layout: Layout, pid: int) -> bool:
    """Return whether a process runs from a release, or in a unit, of this installation."""
    return processes.runs_below(pid, layout.releases) is not None or processes.unit(pid) in (
        layout.hub_service,
        layout.proxy_service,
    )


def _ports_of_socket_units(layout: Layout) -> set[int]:
    sockets = [unit for unit in layout.started_unit_names if unit.endswith(".socket")]
    # The HTTPS port is taken only once a fragment configures HTTPS.
    if not systemctl.is_active(layout.proxy_https_socket):
        sockets.remove(layout.proxy_https_socket)
    return {port for _, port in systemctl.listen_streams(sockets)}
