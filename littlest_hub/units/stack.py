"""Units of stacks: what those that are enabled bring, and a web service as most of them need it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import active_overlay
from littlest_hub.layout import Layout
from littlest_hub.manifest import discovery, enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.manifest.manifest import resolve
from littlest_hub.units.ports import address_of
from littlest_hub.units.unit import WITHOUT_RIGHTS, Directive, Unit, base_directory_conditions

HUB_ADDRESS = "LITTLEST_HUB_ADDRESS"
"""Variable of a stack's service: host and port of the hub."""
SERVICE = "LITTLEST_HUB_SERVICE"
"""The same: its name below /services/."""


def enabled_units(layout: Layout, prefix: Path) -> list[Unit]:
    """Return the units of all stacks that are enabled, as a release has them.

    Raises:
        LittlestHubError: the release, with its packages, does not have one of the stacks.
    """
    found = enabled.read(layout)
    if not found:
        return []
    stacks, _ = discovery.stacks_of(active_overlay(layout, prefix))
    units: list[Unit] = []
    for name, stack in sorted(found.items()):
        if name not in stacks:
            raise LittlestHubError(
                f"the stack {name} is enabled, and release {prefix.name} does not have it",
                f"Disable it: {layout.command} disable {name}",
            )
        units += of_stack(layout, stacks[name], stack)
    return units


def renewed_units(layout: Layout, prefix: Path) -> list[Unit]:
    """Make the directories of the enabled stacks if they are missing, and return their units.

    Raises:
        LittlestHubError: as `enabled_units`.
    """
    units = enabled_units(layout, prefix)
    for stack in enabled.read(layout).values():
        enabled.make_directory(layout, stack)
    return units


def of_stack(layout: Layout, stack: discovery.Stack, how: EnabledStack) -> list[Unit]:
    """Return the units of one stack.

    Raises:
        LittlestHubError: the name of one is not that of a unit of this stack.
    """
    if not stack.manifest.units:
        return []
    units: list[Unit] = list(resolve(stack.manifest.units)(layout, how))
    own = layout.stack_unit(stack.name, "")
    for unit in units:
        if not unit.name.startswith((f"{own}.", f"{own}-", f"{own}@")) or "/" in unit.name:
            raise LittlestHubError(f"unit {unit.name!r} of {stack.name}: expected {own}…")
    return units


def installed_units(layout: Layout) -> list[str]:
    """Return the names of the units of stacks that systemd has files of, sockets first."""
    files = layout.on_disk(layout.system_units).glob(layout.stack_unit_pattern)
    names = [file.name for file in files if is_stack_unit(layout, file.name) and not file.is_dir()]
    return sorted(names, key=lambda name: (not name.endswith(".socket"), name))


def file_of(unit: str) -> str:
    """Return the name of a unit's file: that of the template, if the unit is an instance of one."""
    return re.sub(r"@.*(?=\.)", "@", unit)


def is_template(unit: str) -> bool:
    """Return whether a unit is a template, of which a socket starts instances (systemd.unit(5))."""
    return "@." in unit


def is_stack_unit(layout: Layout, name: str) -> bool:
    """Return whether a name that matches `stack_unit_pattern` is that of a stack's unit."""
    # User servers, and units of checks that are running.
    others = tuple(f"{layout.instance}.{each}" for each in ("user-", "user@", "check-"))
    return not name.startswith(others) and not name.endswith(".d")


def timer(layout: Layout, name: str, about: str, what: str, *when: Directive) -> Unit:
    """Return the timer NAME.timer, which starts NAME.service.

    Args:
        layout: the installation.
        name: of its unit, without its suffix.
        about: the comment at the top of the unit file.
        what: what it is for, in its description.
        when: when it starts the service (systemd.timer(5)).
    """
    return Unit(
        f"{name}.timer",
        about,
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: {what}")],
            "Timer": [*when],
            "Install": [Directive("WantedBy", "timers.target")],
        },
    )


def calendar_timer(
    layout: Layout, name: str, about: str, what: str, when: str, spread: str
) -> Unit:
    """Return a `timer` that makes up for a time at which the machine was off.

    Args:
        layout: the installation.
        name: of its unit, without its suffix.
        about: the comment at the top of the unit file.
        what: what it is for, in its description.
        when: times of the calendar (systemd.time(7)).
        spread: the time by which a start may be late, so that machines start at different times.
    """
    directives = (
        Directive("OnCalendar", when),
        Directive("RandomizedDelaySec", spread),
        Directive("Persistent", "yes"),
    )
    return timer(layout, name, about, what, *directives)


def web_service(layout: Layout, stack: EnabledStack, module: str, about: str) -> Iterator[Unit]:
    """Yield the socket and the service of a stack's web application, `littlest_hub.service`.

    It runs as a user of its own that exists as long as it runs, without rights. It sees none of the
    hub's files, and writes to one directory.

    Args:
        layout: the installation.
        stack: how the stack was enabled.
        module: its program, in the release or in a package of the hub set.
        about: what it is, for the comment at the top of the unit file.
    """
    socket = layout.stack_unit(stack.name, ".socket")
    service = layout.stack_unit(stack.name, ".service")
    yield Unit(
        socket,
        f"The port of {service}. systemd holds it: no other program can take it, and requests wait"
        "\nwhile the service starts.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: port of {stack.name}"),
                Directive("StartLimitIntervalSec", "0"),
            ],
            "Socket": [
                Directive("ListenStream", f"127.0.0.1:{stack.port}"),
                Directive("NoDelay", "yes"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )
    yield Unit(
        service,
        f"{about}\nIts socket starts it when somebody comes, and it ends when nobody does.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: {stack.name}"),
                Directive("Requires", socket),
                Directive("After", f"network.target {socket}"),
                Directive("RequiresMountsFor", str(layout.base)),
                base_directory_conditions(layout.base)[0],
                Directive(
                    "StartLimitIntervalSec", "0", "never give up: recover when the cause is gone"
                ),
            ],
            "Service": [
                *_service(layout, stack, module, layout.stack_unit(stack.name, "")),
                Directive("Restart", "on-failure"),
            ],
        },
    )


def program(
    layout: Layout, stack: EnabledStack, suffix: str, module: str, about: str
) -> Iterator[Unit]:
    """Yield the service of a program that runs always, as the user of the stack's web application.

    It has the token as well, sees the same files, and writes to the same directory.

    Args:
        layout: the installation.
        stack: how the stack was enabled.
        suffix: the end of its name, such as "-sampler".
        module: its program, in the release or in a package of the hub set.
        about: what it is, for the comment at the top of the unit file.
    """
    name = layout.stack_unit(stack.name, suffix)
    yield Unit(
        f"{name}.service",
        about,
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: {stack.name}{suffix}"),
                Directive("After", f"network.target {layout.hub_socket}"),
                Directive("RequiresMountsFor", str(layout.base)),
                base_directory_conditions(layout.base)[0],
                Directive(
                    "StartLimitIntervalSec", "0", "never give up: recover when the cause is gone"
                ),
            ],
            "Service": [
                *_service(layout, stack, module, name),
                Directive("Restart", "always"),
            ],
            "Install": [Directive("WantedBy", "multi-user.target")],
        },
    )


def _service(layout: Layout, stack: EnabledStack, module: str, runtime: str) -> Iterator[Directive]:
    data = layout.stack_data(stack.name)
    hub = address_of(layout, layout.hub_socket)
    yield base_directory_conditions(layout.base)[1]
    yield Directive(
        "ExecStartPre",
        f"-+/bin/chown -R --reference=/run/{runtime} {data}",
        "its user may have another uid than last time",
    )
    # -I: no PYTHON* variables and no ~/.local change what we run.
    yield Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m littlest_hub.service {module}")
    yield Directive(
        "StandardInput", f"file:{layout.stack_token(stack.name)}", "its token, which systemd opens"
    )
    yield Directive("Environment", f"{SERVICE}={stack.name}")
    if hub:
        yield Directive("Environment", f"{HUB_ADDRESS}={hub[0]}:{hub[1]}")
    yield Directive("RestartSec", "2")
    yield Directive("DynamicUser", "yes", "a user that exists as long as the service runs")
    yield Directive("User", layout.dynamic_user(f"stack {stack.name}"))
    yield Directive("RuntimeDirectory", runtime)
    yield Directive("WorkingDirectory", str(data))
    yield Directive("UMask", "0022", "the hub may be another user, and reads what it writes")
    yield Directive("MemoryMax", "256M")
    yield Directive("TasksMax", "64")
    yield Directive(
        "TemporaryFileSystem", f"{layout.state}:ro", "of state/ it sees only its own directory"
    )
    yield Directive("BindPaths", str(data))
    yield Directive("InaccessiblePaths", f"-{layout.fragments}")
    yield Directive("IPAddressDeny", "any", "it connects to the hub, and to nothing else")
    yield Directive("IPAddressAllow", "localhost")
    yield Directive("ProcSubset", "pid")
    yield Directive("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6")
    yield from WITHOUT_RIGHTS
    yield Directive("SystemCallFilter", "~@privileged @resources")
