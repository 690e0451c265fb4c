"""The units of courses: formgraders with sockets, isolated kernels, root's helper, rosters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.courses import place, records, sharing
from littlest_hub.stacks.courses.course import MAKING, READY, Course
from littlest_hub.stacks.courses.grading.isolation import TIMEOUT_S
from littlest_hub.stacks.courses.page.changes import LONGEST_S
from littlest_hub.units.helpers import helper_service, helper_socket
from littlest_hub.units.ports import address_of
from littlest_hub.units.server import RUNTIME
from littlest_hub.units.stack import HUB_ADDRESS
from littlest_hub.units.unit import (
    SANDBOX,
    WITHOUT_RIGHTS,
    Directive,
    Unit,
    base_directory_conditions,
)

FORMGRADER = "littlest_hub.stacks.courses.formgrader"
KERNELS = "littlest_hub.stacks.courses.grading.helper"
PAGE = "littlest_hub.stacks.courses.page.helper"
INTERRUPTION = "littlest_hub.stacks.courses.page.interruption"
ROSTERS = "littlest_hub.stacks.courses.roster.reconciliation"
PLATFORM_S = 3600
"""Time limit of one command's work with a learning platform."""
# Kernels of instructors need what those of students need, such as code that is made at run time.
_RESTRICTIONS = [each for each in SANDBOX if each.key != "ProtectHome"]


def units(layout: Layout, stack: EnabledStack) -> Iterator[Unit]:
    """Yield the units of the stack, and those of each course.

    Raises:
        LittlestHubError: the list of courses is damaged; or the hub does not run as root.
    """
    if layout.hub_user:
        raise LittlestHubError("courses need a hub that runs as root")
    yield from reconciliation(layout)
    yield from _page(layout)
    for course in records.read(layout).values():
        if course.stage in (MAKING, READY):
            yield from of_course(layout, course)


def of_course(layout: Layout, course: Course) -> Iterator[Unit]:
    """Yield the units of one course."""
    yield from _formgrader(layout, course)
    yield from _kernels(layout, course)


def grader(layout: Layout, course: Course) -> Iterator[Directive]:
    """Yield the rights of all programs that a course's grader runs."""
    home, exchange = place.home_of(layout, course.name), place.exchange(layout)
    yield Directive("User", course.account)
    yield Directive("WorkingDirectory", str(home))
    yield Directive("Environment", f"HOME={home}")
    yield Directive("Environment", f"JUPYTER_RUNTIME_DIR={RUNTIME}/kernels")
    if hub := address_of(layout, layout.hub_socket):
        yield Directive("Environment", f"{HUB_ADDRESS}={hub[0]}:{hub[1]}")
    yield Directive("RuntimeDirectory", place.runtime_of(layout, course.name))
    yield Directive("RuntimeDirectoryMode", "0700")
    yield Directive("RuntimeDirectoryPreserve", "yes", "several units of the course have it")
    yield Directive("UMask", "0077")
    yield Directive("Slice", layout.users_slice, "it must not take memory from the hub")
    yield Directive("MemoryMax", "50%")
    yield Directive("TasksMax", "15%")
    yield Directive("OOMPolicy", "continue")
    yield Directive("ProtectSystem", "strict")
    yield Directive("ProtectHome", "yes")
    yield Directive("ProtectProc", "invisible")
    yield Directive("CapabilityBoundingSet", "")
    # nbgrader insists on an exchange that everybody may write to; this one is the unit's own.
    yield Directive("TemporaryFileSystem", f"{exchange}:rw,mode=0777,size=1M")
    yield Directive(
        "TemporaryFileSystem", f"{place.courses_directory(layout)}:ro,mode=0755,size=1M"
    )
    yield Directive("BindPaths", f"{home} {exchange / course.name}")
    yield Directive("TemporaryFileSystem", f"{RUNTIME}:ro,mode=0755,size=1M")
    yield Directive("TemporaryFileSystem", f"{RUNTIME}/kernels:rw,mode=1777,size=16M")
    yield Directive("BindReadOnlyPaths", f"-{place.published(layout)}:{place.SEEN}")
    yield Directive("InaccessiblePaths", f"-{layout.fragments}")
    yield from _RESTRICTIONS


def platform_program(layout: Layout, timeout_s: int = PLATFORM_S) -> Iterator[Directive]:
    """Yield the rights of the program that asks learning platforms: the network, and nothing."""
    yield Directive("DynamicUser", "yes", "a user that exists as long as it runs")
    yield Directive("RuntimeMaxSec", str(timeout_s))
    yield Directive("MemoryMax", "512M")
    yield Directive("TasksMax", "16")
    yield Directive("Slice", layout.users_slice, "it must not take memory from the hub")
    yield Directive("UMask", "0077")
    hidden = layout.state, layout.fragments, place.courses_directory(layout), place.exchange(layout)
    yield Directive("InaccessiblePaths", " ".join(f"-{each}" for each in hidden))
    yield Directive("KeyringMode", "private")
    yield Directive("ProcSubset", "pid")
    yield Directive(
        "RestrictAddressFamilies",
        "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "the C library asks the kernel for this machine's addresses",
    )
    yield from WITHOUT_RIGHTS
    yield Directive("SystemCallFilter", "~@privileged @resources")


def _formgrader(layout: Layout, course: Course) -> Iterator[Unit]:
    socket = place.formgrader_unit(layout, course.name, ".socket")
    service = place.formgrader_unit(layout, course.name, ".service")
    what = f"Littlest Hub at {layout.base}: formgrader of {course.name}"
    yield Unit(
        socket,
        f"The port of {service}. systemd holds it: no other program can take it, and requests wait"
        "\nwhile the service starts.",
        {
            "Unit": [Directive("Description", what), Directive("StartLimitIntervalSec", "0")],
            "Socket": [
                Directive("ListenStream", f"127.0.0.1:{course.port}"),
                Directive("NoDelay", "yes"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )
    condition, own_condition = base_directory_conditions(layout.base)
    yield Unit(
        service,
        f"The page at which instructors of {course.name} grade, as {course.account}.\nIts socket"
        " starts it when somebody comes, and it ends when nobody does.",
        {
            "Unit": [
                Directive("Description", what),
                Directive("Requires", socket),
                Directive("After", f"network.target {socket}"),
                Directive("RequiresMountsFor", f"{layout.base} {place.courses_directory(layout)}"),
                condition,
                Directive("StartLimitIntervalSec", "0", "never give up: recover with the cause"),
            ],
            "Service": [
                own_condition,
                Directive(
                    "ExecStart", f"{layout.hub}/bin/python3 -I -m {FORMGRADER} {course.name}"
                ),
                Directive(
                    "StandardInput",
                    f"file:{place.token_of(layout, course.name)}",
                    "its token, which systemd opens",
                ),
                Directive("Restart", "on-failure"),
                Directive("RestartSec", "2"),
                Directive("TimeoutStopSec", "20"),
                *grader(layout, course),
            ],
        },
    )


def _kernels(layout: Layout, course: Course) -> Iterator[Unit]:
    socket = place.kernels_unit(layout, course.name, ".socket")
    address = str(place.kernels_address(layout, course.name))
    found = helper_socket(layout, socket, address, f"kernels for submissions of {course.name}")
    directives = [
        Directive("SocketUser", course.account, "only the grader connects")
        if each.key == "SocketUser"
        else each
        for each in found.sections["Socket"]
        if each.key != "SocketMode"
    ]
    directives.append(Directive("SocketMode", "0600"))
    yield Unit(
        socket,
        f"{course.account} asks root here for kernels that run submissions.",
        {**found.sections, "Socket": directives},
    )
    yield helper_service(
        layout,
        place.kernels_unit(layout, course.name, "@.service"),
        "Runs the kernel of one submission in a unit without rights, until the connection ends.",
        [KERNELS, course.name],
        timeout_s=TIMEOUT_S + 60,
    )


def _page(layout: Layout) -> Iterator[Unit]:
    address = str(place.page_address(layout))
    yield helper_socket(layout, place.page_unit(layout, ".socket"), address, "courses")
    found = helper_service(
        layout,
        place.page_unit(layout, "@.service"),
        "Makes, changes or deletes a course for a visitor of the page of courses.",
        [PAGE],
        timeout_s=LONGEST_S,
    )
    service = [each for each in found.sections["Service"] if each.key != "TimeoutStopSec"]
    service += [
        Directive(
            "ExecStopPost",
            f"{layout.hub}/bin/python3 -I -m {INTERRUPTION}",
            "if it was killed: undoes or completes what it has begun",
        ),
        Directive("TimeoutStopSec", "5min", "of that, with a reload of the hub"),
        Directive("RuntimeDirectory", place.page_directory(layout).name),
        Directive("RuntimeDirectoryMode", "0700"),
        Directive("RuntimeDirectoryPreserve", "yes", "the page shows how changes have ended"),
    ]
    yield replace(found, sections={**found.sections, "Service": service})


def reconciliation(layout: Layout) -> Iterator[Unit]:
    """Yield the units that bring rosters, gradebooks, and accounts together each minute."""
    name = layout.stack_unit(place.STACK, "-rosters")
    condition, own_condition = base_directory_conditions(layout.base)
    yield Unit(
        f"{name}.service",
        "Gives students who were added in a formgrader access to their course.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: rosters of courses"),
                condition,
            ],
            "Service": [
                Directive("Type", "oneshot"),
                own_condition,
                Directive("ExecStart", f"{layout.hub}/bin/python3 -I -m {ROSTERS}"),
                Directive("TimeoutStartSec", "10min"),
                Directive("Nice", "10"),
                Directive("MemoryMax", "512M"),
                Directive("TasksMax", "64"),
                *SANDBOX,
                Directive("ProtectSystem", "strict"),
                Directive("ProtectProc", "invisible"),
                Directive("MemoryDenyWriteExecute", "yes"),
                Directive("PrivateNetwork", "yes"),
                Directive("RestrictAddressFamilies", "AF_UNIX", "systemd, which starts graders"),
                Directive("SystemCallFilter", "@system-service"),
                Directive("CapabilityBoundingSet", ""),
                Directive(
                    "CapabilityBoundingSet", "CAP_DAC_READ_SEARCH", "when gradebooks have changed"
                ),
                *_rights_to_admit(layout),
                Directive("AmbientCapabilities", ""),
                Directive("UMask", "0077"),
                Directive("ReadWritePaths", f"{layout.stacks / place.STACK} {layout.change_lock}"),
            ],
        },
    )
    yield Unit(
        f"{name}.timer",
        f"When {name}.service runs.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: each minute")],
            "Timer": [
                Directive("OnActiveSec", "1min"),
                Directive("OnUnitInactiveSec", "1min"),
            ],
            "Install": [Directive("WantedBy", "timers.target")],
        },
    )


def _rights_to_admit(layout: Layout) -> Iterator[Directive]:
    if sharing.is_shared(layout):
        yield Directive("CapabilityBoundingSet", "CAP_FOWNER", "who may enter a grader's directory")
        yield Directive("ReadWritePaths", f"-{place.exchange(layout)}")
