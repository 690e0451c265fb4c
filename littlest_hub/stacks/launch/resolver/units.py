"""The units of the resolver, and of the program that looks up names for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import STACK, packet_filter
from littlest_hub.stacks.launch.resolver.limits import AT_ONCE
from littlest_hub.units.bound_socket import bound_socket
from littlest_hub.units.unit import (
    SANDBOX,
    WITHOUT_RIGHTS,
    Directive,
    Unit,
    base_directory_conditions,
)

_PACKAGE = "littlest_hub.stacks.launch.resolver"
_RUNTIME_S = 180
"""More than the time in `limits.Limits`, so that the resolver can say itself what took long."""
_LOOKUP_S = 15
_MOST_RESOLVERS, _MOST_LOOKUPS = 3 * AT_ONCE, 16
"""The service keeps to AT_ONCE; a unit that is about to end counts, too."""
_WORK = "/run"
"""A directory in memory for objects of git, in the resolver's view, where nothing of /run is."""
_WORK_BYTES = "400M"


def address_of(layout: Layout) -> Path:
    """Return the resolver's socket, which the service's unit has to bind into its view."""
    return Path(f"/run/{layout.stack_unit(STACK, '-resolver')}/socket")


def sources_of(layout: Layout) -> Path:
    """Return the directory of repositories' files; it is in no backup."""
    return layout.stack_cache(STACK) / "sources"


def settings_of(layout: Layout) -> Path:
    """Return the file with the resolver's settings."""
    return layout.stacks / STACK / "resolver.json"


def needs_sources(layout: Layout) -> Iterator[Directive]:
    """Yield what the [Unit] section of a service needs that has the directory in its view.

    A command of the service itself would be too late for its view of the file system.
    """
    unit = _sources_unit(layout)
    yield Directive("Requires", unit, "whoever frees the disk may have removed the directory")
    yield Directive("After", unit)


def _sources_unit(layout: Layout) -> str:
    return layout.stack_unit(STACK, "-sources.service")


def units(layout: Layout, stack: EnabledStack, networks: Collection[str] = ()) -> Iterator[Unit]:
    """Yield the resolver's units.

    Args:
        layout: the installation.
        stack: how the stack was enabled.
        networks: networks that are not of the internet, and that the resolver may reach.
    """
    resolver = layout.stack_unit(stack.name, "-resolver")
    names = layout.stack_unit(stack.name, "-names")
    yield _sources(layout)
    yield bound_socket(layout, resolver, "repositories to resolve", _MOST_RESOLVERS)
    yield Unit(
        f"{resolver}@.service",
        "Fetches a repository that a stranger may have written, for one request."
        "\nIt reaches the internet and nothing else, and writes to one directory.",
        {
            "Unit": [*_about(layout, "a repository"), *needs_sources(layout)],
            "Service": [*_resolver(layout, resolver, names, networks)],
        },
    )
    yield bound_socket(layout, names, "names of hosts to look up", _MOST_LOOKUPS)
    yield Unit(
        f"{names}@.service",
        "Asks the name server for the addresses of one host. The resolver cannot: the name server"
        "\nmay be on this machine, or in its network.",
        {
            "Unit": _about(layout, "the name of a host"),
            "Service": [*_lookup(layout)],
        },
    )


def _sources(layout: Layout) -> Unit:
    """Return the unit that makes the directory of repositories' files, whenever one needs it."""
    base, state = layout.base, layout.state
    return Unit(
        _sources_unit(layout),
        "Makes the directory of repositories' files if it is missing.",
        {
            "Unit": [
                *_about(layout, "files of repositories"),
                Directive("StartLimitIntervalSec", "0"),
            ],
            "Service": [
                Directive("Type", "oneshot"),
                base_directory_conditions(base)[1],
                Directive("ExecStart", f"/bin/mkdir -p {sources_of(layout)}"),
                Directive("CapabilityBoundingSet", ""),
                Directive(
                    "CapabilityBoundingSet", "CAP_DAC_OVERRIDE", "state/ may be another user's"
                ),
                Directive("ProtectSystem", "strict"),
                Directive("ReadWritePaths", str(state)),
                Directive("PrivateNetwork", "yes"),
                Directive("RestrictAddressFamilies", "AF_UNIX"),
                Directive("MemoryDenyWriteExecute", "yes"),
                *SANDBOX,
                Directive("SystemCallFilter", "@system-service"),
                Directive("SystemCallFilter", "~@resources"),
            ],
        },
    )


def _about(layout: Layout, what: str) -> list[Directive]:
    return [
        Directive("Description", f"Littlest Hub at {layout.base}: {what}"),
        Directive("CollectMode", "inactive-or-failed"),
        Directive("RequiresMountsFor", str(layout.base)),
        base_directory_conditions(layout.base)[0],
    ]


def _resolver(
    layout: Layout, name: str, names: str, networks: Collection[str]
) -> Iterator[Directive]:
    sources, file, lookup = sources_of(layout), settings_of(layout), f"/run/{names}/socket"
    own = f"/run/{name}-%i"
    yield Directive(
        "ExecStartPre",
        f"+/bin/chown --reference={own} {sources}",
        "its user may have another uid than last time",
    )
    yield from _program(layout, f"program {file} {sources} {_WORK} {lookup}", _RUNTIME_S)
    yield Directive("User", layout.dynamic_user("stack launch resolver"))
    yield Directive("RuntimeDirectory", f"{name}-%i")
    yield Directive("LimitCORE", "0", "its memory may contain a password")
    yield Directive("MemoryMax", "1G", "with what is in the directory in memory")
    yield Directive("TasksMax", "32")
    yield Directive("TemporaryFileSystem", f"{layout.state}:ro", "it sees only what follows")
    yield Directive("TemporaryFileSystem", f"{_WORK}:size={_WORK_BYTES},mode=1777")
    yield Directive("BindPaths", str(sources))
    yield Directive("BindReadOnlyPaths", f"-{file}")
    yield Directive("BindPaths", lookup)
    yield Directive("BindReadOnlyPaths", own, "whose owner is asked for above")
    yield Directive("ProcSubset", "pid")
    yield Directive("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6")
    yield from packet_filter.denied("addresses that do not belong to the internet")
    if networks:
        yield Directive("IPAddressAllow", " ".join(networks), "as the stack's fragment says")


def _lookup(layout: Layout) -> Iterator[Directive]:
    yield from _program(layout, "lookup", _LOOKUP_S)
    yield Directive("User", layout.dynamic_user("stack launch names"))
    yield Directive("MemoryMax", "128M")
    yield Directive("TasksMax", "16")
    yield Directive("TemporaryFileSystem", f"{layout.state}:ro")
    yield Directive(
        "RestrictAddressFamilies",
        "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "the C library asks the kernel for this machine's addresses",
    )


def _program(layout: Layout, command: str, runtime_s: int) -> Iterator[Directive]:
    """Yield what both services have: a program for one connection, without rights."""
    yield base_directory_conditions(layout.base)[1]
    yield Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {_PACKAGE}.{command}")
    yield Directive("StandardInput", "socket")
    yield Directive("StandardOutput", "socket")
    yield Directive("StandardError", "journal")
    yield Directive("RuntimeMaxSec", str(runtime_s))
    yield Directive("TimeoutStopSec", "10")
    yield Directive("UMask", "0022")
    yield Directive("DynamicUser", "yes", "a user that exists as long as it runs")
    yield Directive("InaccessiblePaths", f"-{layout.fragments}")
    yield Directive("KeyringMode", "private")
    yield from WITHOUT_RIGHTS
    yield Directive("SystemCallFilter", "~@privileged @resources")
