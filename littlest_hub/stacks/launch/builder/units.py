"""The units of the builder: the starter, the user and its directory, a build, and cleaning."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from littlest_hub.layout import PRODUCT, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import STACK, packet_filter
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.program import MODULE
from littlest_hub.stacks.launch.code import units as code_units
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.resolver.units import sources_of
from littlest_hub.units.bound_socket import bound_socket
from littlest_hub.units.stack import calendar_timer
from littlest_hub.units.unit import (
    SANDBOX,
    WITHOUT_RIGHTS,
    Directive,
    Unit,
    base_directory_conditions,
)

BUILD_TIMEOUT_S = 1800
_STARTER = "littlest_hub.stacks.launch.builder.starter"
_MOST_WAITING = 64


def address_of(layout: Layout) -> Path:
    """Return the starter's socket, which the service's unit has to bind into its view."""
    return Path(f"/run/{layout.stack_unit(STACK, '-starter')}/socket")


def user_of(layout: Layout) -> str:
    """Return the name of the builder's user: lhub-build, lhub-physics-build."""
    return f"{layout.instance.replace(PRODUCT, 'lhub', 1)}-build"


def about_user(layout: Layout) -> str:
    """Return the text that an account has as its full name if it is the builder's user."""
    return f"Builds environments of {layout.base}"


def build_unit(layout: Layout, order: str) -> str:
    """Return the name of the unit that builds an order."""
    return layout.stack_unit(STACK, f"-build@{order}.service")


def cleaning_unit(layout: Layout) -> str:
    """Return the name of the unit that cleans."""
    return layout.stack_unit(STACK, "-cleaning.service")


def kept_unit(layout: Layout) -> str:
    """Return the name of the unit that writes what cleaning keeps."""
    return layout.stack_unit(STACK, "-kept.service")


def cleaning_of(layout: Layout) -> Path:
    """Return the file that says what cleaning keeps, and how much it may keep."""
    return layout.stacks / STACK / "cleaning.json"


def units(
    layout: Layout,
    stack: EnabledStack,
    networks: Collection[str] = (),
    nameservers: Collection[str] = (),
    channels: Channels | None = None,
) -> Iterator[Unit]:
    """Yield the builder's units.

    Args:
        layout: the installation.
        stack: how the stack was enabled.
        networks: networks that are not of the internet, and that builds may reach.
        nameservers: addresses at which names are asked; they need not be public.
        channels: those of conda that builds may use; None: the usual ones.
    """
    words = [*networks, *(channels or Channels()).words]
    setup = layout.stack_unit(stack.name, "-builder.service")
    orders = layout.stack_data(stack.name) / "orders"
    yield from _starter(layout, layout.stack_unit(stack.name, "-starter"))
    yield _setup(layout, setup)
    yield _service(
        layout,
        build_unit(layout, ""),
        setup,
        "Builds the environment of an order. Two people who order the same wait for one build:"
        "\nsystemd starts an instance once.",
        [
            Directive("ExecStart", _command(layout, " ".join(["build %i", *words]))),
            Directive("StandardInput", f"file:{orders}/%i.json", "which systemd opens"),
            *_code(layout),
            *_network((*networks, *nameservers)),
        ],
        [Directive(key, each) for each in code_units.sockets(layout) for key in ("Wants", "After")],
    )
    yield from code_units.units(layout)
    yield from _cleaning(layout, stack, setup)


def _cleaning(layout: Layout, stack: EnabledStack, setup: str) -> Iterator[Unit]:
    """Yield the service that cleans, and its timer."""
    service = _service(
        layout,
        cleaning_unit(layout),
        setup,
        "Removes environments until the others fit into the disk that they may use.",
        [
            Directive("ExecStart", _command(layout, "clean")),
            Directive("StandardInput", f"file:{cleaning_of(layout)}", "which systemd opens"),
            Directive("PrivateNetwork", "yes"),
        ],
    )
    needs = [
        Directive("Requires", kept_unit(layout), "it writes which environments are in use"),
        Directive("After", kept_unit(layout)),
    ]
    yield replace(
        service, sections={**service.sections, "Unit": [*service.sections["Unit"], *needs]}
    )
    name = layout.stack_unit(stack.name, "-cleaning")
    about = "When environments are removed that nobody uses."
    yield calendar_timer(layout, name, about, "environments", "*-*-* 0/6:40", "10min")


def _command(layout: Layout, words: str) -> str:
    # -I: no PYTHON* variables and no ~/.local change what we run.
    return f"{layout.hub}/bin/python3 -I -m {MODULE} {words}"


def _starter(layout: Layout, name: str) -> Iterator[Unit]:
    """Yield the socket and the service of the starter: root, who may only talk to systemd."""
    what = "orders to build"
    yield bound_socket(layout, name, what, _MOST_WAITING)
    yield Unit(
        f"{name}@.service",
        "Starts the build of the order whose id it is given, and nothing else.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: {what}"),
                Directive("CollectMode", "inactive-or-failed"),
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [
                Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {_STARTER}"),
                Directive("StandardInput", "socket"),
                Directive("StandardOutput", "socket"),
                Directive("StandardError", "journal"),
                Directive("RuntimeMaxSec", str(BUILD_TIMEOUT_S + 120)),
                Directive("TimeoutStopSec", "5"),
                Directive("MemoryMax", "128M"),
                Directive("TasksMax", "16"),
                Directive("CapabilityBoundingSet", ""),
                Directive("ProtectSystem", "strict"),
                Directive("PrivateNetwork", "yes"),
                Directive("RestrictAddressFamilies", "AF_UNIX", "systemd's own socket"),
                Directive("ProtectProc", "invisible"),
                Directive("MemoryDenyWriteExecute", "yes"),
                *SANDBOX,
                Directive("SystemCallFilter", "@system-service"),
                Directive("SystemCallFilter", "~@privileged @resources"),
            ],
        },
    )


def _setup(layout: Layout, name: str) -> Unit:
    """Return the unit that makes the builder's user and its directory."""
    user, home = user_of(layout), Place.of(layout).home
    about = about_user(layout)
    return Unit(
        name,
        "Makes the user that builds environments, and the only directory that it writes to. The"
        "\nuser's number stays: environments are many files.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: user of builds"),
                Directive("RequiresMountsFor", str(home)),
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [
                Directive("Type", "oneshot"),
                Directive("RemainAfterExit", "yes"),
                Directive("ExecStart", f"systemd-sysusers --inline 'u {user} - \"{about}\"'"),
                Directive("ExecStart", f"/usr/bin/install -d -m 0755 {home.parent}"),
                Directive("ExecStart", f"/usr/bin/install -d -m 0755 -o {user} -g {user} {home}"),
                Directive("CapabilityBoundingSet", "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER"),
                Directive("ProtectSystem", "strict"),
                Directive("ReadWritePaths", f"/etc {layout.base}"),
                Directive("PrivateNetwork", "yes"),
                Directive("RestrictAddressFamilies", "AF_UNIX"),
                *SANDBOX,
            ],
        },
    )


def _code(layout: Layout) -> Iterator[Directive]:
    """Yield what a build needs to have code run: its units, and files of the repository."""
    seen = code_units.seen_by_builder(layout)
    for address, path in zip(code_units.addresses_of(layout), seen, strict=True):
        yield Directive("BindPaths", f"-{address}:{path}")
    yield Directive("BindReadOnlyPaths", f"-{sources_of(layout)}", "which code may need")


def _service(
    layout: Layout,
    name: str,
    setup: str,
    about: str,
    own: Collection[Directive],
    needs: Collection[Directive] = (),
) -> Unit:
    return Unit(
        name,
        about,
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: environments"),
                Directive("CollectMode", "inactive-or-failed", "a failed one starts again"),
                Directive("StartLimitIntervalSec", "0"),
                Directive("Requires", setup),
                Directive("After", setup),
                *needs,
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [
                Directive("Type", "exec"),
                *own,
                Directive("User", user_of(layout)),
                Directive("UMask", "0022"),
                Directive("TimeoutStartSec", "30"),
                Directive("RuntimeMaxSec", str(BUILD_TIMEOUT_S)),
                Directive("TimeoutStopSec", "5"),
                *_resources(),
                *_sandbox(layout),
            ],
        },
    )


def _resources() -> Iterator[Directive]:
    yield Directive("CPUWeight", "20", "servers of users come first")
    yield Directive("IOWeight", "20")
    yield Directive("Nice", "10")
    yield Directive("MemoryMax", "4G")
    yield Directive("TasksMax", "512")
    yield Directive("LimitFSIZE", "8G")
    yield Directive("LimitCORE", "0")


def _sandbox(layout: Layout) -> Iterator[Directive]:
    yield Directive(
        "ReadWritePaths",
        str(Place.of(layout).home),
        "one directory: between two mounts there are no hard links, and uv would copy",
    )
    yield Directive("TemporaryFileSystem", f"{layout.state}:ro", "it sees nothing of state/")
    yield Directive("InaccessiblePaths", f"-{layout.fragments}")
    yield Directive("ProcSubset", "pid")
    yield from WITHOUT_RIGHTS
    yield Directive("SystemCallFilter", "~@privileged")


def _network(allowed: Collection[str]) -> Iterator[Directive]:
    yield Directive(
        "RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK", "netlink: getaddrinfo(3)"
    )
    yield from packet_filter.denied(
        "lock files name hosts: none may be of this machine, or of the networks around it"
    )
    for text in allowed:
        yield Directive("IPAddressAllow", text)
