"""The units of the service, and of the starter of builds, which it asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch.pages import VARIABLES
from littlest_hub.stacks.launch.place import Place
from littlest_hub.stacks.launch.resolver import units as resolver
from littlest_hub.stacks.launch.starter import WAIT_S
from littlest_hub.units.stack import web_service
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions

_PAGES = "littlest_hub.stacks.launch.pages"
_STARTER = "littlest_hub.stacks.launch.starter"
_MOST_WAITING = 32


def starter_of(layout: Layout) -> Path:
    """Return the starter's socket, which only the service has in its view."""
    return Path(f"/run/{layout.stack_unit('launch', '-starter')}/socket")


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the units of the service and of the starter."""
    about = "The pages at which people launch repositories."
    service = layout.stack_unit(stack.name, ".service")
    for unit in web_service(layout, stack, _PAGES, about):
        yield _with_view(layout, stack, unit) if unit.name == service else unit
    starter = layout.stack_unit(stack.name, "-starter")
    yield _socket(layout, starter)
    yield _starter(layout, starter)


def _with_view(layout: Layout, stack: EnabledStack, unit: Unit) -> Unit:
    """Return the service's unit with the sockets and files of the other programs in its view."""
    # In its own view of state/, where directories are made for it: only root may enter the real
    # ones.
    here = layout.stacks / stack.name
    sockets = {"resolver": resolver.address_of(layout), "starter": starter_of(layout)}
    paths = {name: here / f"{name}.socket" for name in sockets}
    sources = resolver.sources_of(layout)
    paths |= {"sources": sources, "logs": Place.of(layout).logs}
    needed = " ".join(layout.stack_unit(stack.name, f"-{name}.socket") for name in sockets)
    more = [
        Directive("ExecStartPre", f"+/bin/mkdir -p {sources}", "what is bound has to be there"),
        *(Directive("BindPaths", f"{real}:{paths[name]}") for name, real in sockets.items()),
        Directive("BindReadOnlyPaths", str(sources)),
        *(Directive("Environment", f"{VARIABLES[name]}={path}") for name, path in paths.items()),
    ]
    sections = {
        **unit.sections,
        "Unit": [
            *unit.sections["Unit"],
            Directive("Requires", needed, "a new socket has to be bound again"),
            Directive("After", needed),
        ],
        "Service": [*unit.sections["Service"], *more],
    }
    return replace(unit, sections=sections)


def _socket(layout: Layout, name: str) -> Unit:
    return Unit(
        f"{name}.socket",
        "Takes ids of orders to build. Only root may enter its directory: the service has the"
        "\nsocket bound into its view of the file system, since its user has no fixed number.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: orders to build")],
            "Socket": [
                Directive("ListenStream", str(starter_of(layout))),
                Directive("DirectoryMode", "0700"),
                Directive("SocketMode", "0666"),
                Directive("Accept", "yes"),
                Directive("MaxConnections", str(_MOST_WAITING), "systemd closes further ones"),
                Directive("TriggerLimitIntervalSec", "0", "never give up"),
                Directive("RemoveOnStop", "yes"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def _starter(layout: Layout, name: str) -> Unit:
    conditions = base_directory_conditions(layout.base)
    return Unit(
        f"{name}@.service",
        "Starts the builder's unit for the id of an order, and waits for its end. It is root,"
        "\nbecause systemd starts units for nobody else, and can do nothing else.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: starts a build"),
                Directive("CollectMode", "inactive-or-failed"),
                Directive("RequiresMountsFor", str(layout.base)),
                conditions[0],
            ],
            "Service": [
                conditions[1],
                Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {_STARTER}"),
                Directive("StandardInput", "socket"),
                Directive("StandardOutput", "socket"),
                Directive("StandardError", "journal"),
                Directive("RuntimeMaxSec", str(WAIT_S + 30)),
                Directive("TimeoutStopSec", "5"),
                Directive("MemoryMax", "128M"),
                Directive("TasksMax", "16"),
                Directive("CapabilityBoundingSet", ""),
                Directive("AmbientCapabilities", ""),
                Directive("ProtectSystem", "strict"),
                Directive("PrivateNetwork", "yes"),
                Directive("PrivateMounts", "yes"),
                Directive("InaccessiblePaths", f"-{layout.fragments}"),
                Directive("TemporaryFileSystem", f"{layout.state}:ro"),
                Directive("RestrictAddressFamilies", "AF_UNIX"),
                Directive("MemoryDenyWriteExecute", "yes"),
                *SANDBOX,
                Directive("SystemCallFilter", "@system-service"),
                Directive("SystemCallFilter", "~@privileged @resources"),
            ],
        },
    )
