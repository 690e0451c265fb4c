"""The units of the stack: the page, root's helper for it, the nightly backup, the restore test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.backups.repository.place import target_of
from littlest_hub.stacks.backups.settings import STACK
from littlest_hub.units.bound_socket import bound_socket, directory_of
from littlest_hub.units.stack import calendar_timer, web_service
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions

HELPER = "LITTLEST_HUB_BACKUPS_HELPER"
"""Variable of the page's service: the socket of root's helper."""
HUB = "hub"
"""Argument of the preparation: back up the hub."""
_PACKAGE = f"littlest_hub.stacks.{STACK}"
_MOST_HELPERS = 8
_NETWORK = "AF_UNIX AF_INET AF_INET6 AF_NETLINK"


def run_unit(layout: Layout) -> str:
    """Return the name of the unit that makes a backup."""
    return layout.stack_unit(STACK, "-run.service")


def trial_unit(layout: Layout) -> str:
    """Return the name of the unit of the restore test."""
    return layout.stack_unit(STACK, "-test.service")


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the units."""
    yield from _page(layout, stack)
    yield from _helper(layout)
    about = "Backs up homes, shared folders, and the hub."
    prepare = f"+{layout.hub}/bin/python3 -I -m {_PACKAGE}.backup.hub_copy"
    why = "with all rights: `littlest-hub backup` needs most of them"
    first = Directive("ExecStartPre", f"{prepare} {HUB}", why)
    yield _service(layout, run_unit(layout), about, "backup.run", first)
    yield _timer(layout, run_unit(layout), "every night", "*-*-* 02:30", "1h")
    about = "Restores a sample of the last backup, and compares it."
    yield _service(
        layout, trial_unit(layout), about, "restore.trial", Directive("ExecStartPre", prepare)
    )
    yield _timer(layout, trial_unit(layout), "every month", "*-*-05 04:30", "1d")


def _page(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    about = "The page on which people restore their files."
    socket = f"{layout.stack_unit(STACK, '-restore')}.socket"
    # In its own view of state/, where directories are made for it.
    seen = layout.stacks / STACK / "restore.socket"
    for unit in web_service(layout, stack, f"{_PACKAGE}.page.handlers", about):
        if not unit.name.endswith(".service"):
            yield unit
            continue
        needs = [
            Directive("Requires", socket, "a new socket has to be bound again"),
            Directive("After", socket),
        ]
        sees = [
            Directive("BindPaths", f"{address_of(layout)}:{seen}"),
            Directive("Environment", f"{HELPER}={seen}"),
        ]
        sections = {
            **unit.sections,
            "Unit": [*unit.sections["Unit"], *needs],
            "Service": [*unit.sections["Service"], *sees],
        }
        yield replace(unit, sections=sections)


def address_of(layout: Layout) -> Path:
    """Return the socket of root's helper, which the page's unit has bound into its view."""
    return directory_of(layout.stack_unit(STACK, "-restore")) / "socket"


def _helper(layout: Layout) -> Iterator[Unit]:
    name = layout.stack_unit(STACK, "-restore")
    yield bound_socket(layout, name, "requests for files in backups", _MOST_HELPERS)
    yield Unit(
        f"{name}@.service",
        "Tells people what of theirs is in a backup, and restores it as them, for one request."
        "\nThe hub says who they are. It is root to open the repository.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: files of a backup"),
                Directive("CollectMode", "inactive-or-failed"),
                Directive("RequiresMountsFor", str(layout.base)),
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [
                base_directory_conditions(layout.base)[1],
                Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {_PACKAGE}.page.helper"),
                Directive("StandardInput", "socket"),
                Directive("StandardOutput", "socket"),
                Directive("StandardError", "journal"),
                Directive("RuntimeMaxSec", "6h"),
                Directive("TimeoutStopSec", "10"),
                Directive("MemoryMax", "2G"),
                Directive("TasksMax", "128"),
                Directive("CPUWeight", "50"),
                Directive("IOWeight", "50"),
                Directive("UMask", "0077"),
                Directive(
                    "CapabilityBoundingSet",
                    "CAP_SETUID CAP_SETGID",
                    "it becomes the person before it touches their home",
                ),
                Directive("ProtectSystem", "full"),
                Directive("ProtectProc", "invisible"),
                Directive("RestrictAddressFamilies", _NETWORK),
                *(each for each in SANDBOX if each.key not in ("ProtectHome", "PrivateTmp")),
                Directive("SystemCallFilter", "@system-service"),
            ],
        },
    )


def _service(layout: Layout, name: str, about: str, module: str, first: Directive) -> Unit:
    """Return a unit that may read every file, and write to the repository."""
    own = layout.stacks / STACK
    return Unit(
        name,
        about,
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: {about.rstrip('.')}"),
                Directive("After", f"network-online.target {layout.hub_service}"),
                Directive("Wants", "network-online.target"),
                Directive("RequiresMountsFor", str(layout.base)),
                base_directory_conditions(layout.base)[0],
            ],
            "Service": [
                Directive("Type", "oneshot"),
                base_directory_conditions(layout.base)[1],
                first,
                Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {_PACKAGE}.{module}"),
                Directive("NotifyAccess", "main", "what it is doing, in `systemctl status`"),
                Directive("TimeoutStartSec", "23h"),
                Directive("UMask", "0077"),
                Directive("Nice", "19", "people's servers come first"),
                Directive("IOSchedulingClass", "idle"),
                Directive("CPUWeight", "20"),
                Directive("IOWeight", "10"),
                Directive("OOMScoreAdjust", "500"),
                Directive(
                    "CapabilityBoundingSet", "CAP_DAC_READ_SEARCH", "it reads files of everybody"
                ),
                Directive("ProtectSystem", "strict"),
                Directive("ProtectHome", "read-only"),
                Directive("ReadWritePaths", str(own)),
                Directive("ReadWritePaths", f"-{target_of(layout)}", "a link to the repository"),
                Directive("RestrictAddressFamilies", _NETWORK, "the repository may be elsewhere"),
                *(each for each in SANDBOX if each.key not in ("ProtectHome", "PrivateTmp")),
                Directive("SystemCallFilter", "@system-service"),
            ],
        },
    )


def _timer(layout: Layout, service: str, when: str, calendar: str, delay: str) -> Unit:
    about = f"When {service} runs. A machine that was off then makes up for it."
    return calendar_timer(layout, service.removesuffix(".service"), about, when, calendar, delay)
