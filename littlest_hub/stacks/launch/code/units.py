"""The units of the code tier: a socket and a template of services for each build at the same time.

Each has a user of its own that systemd allocates, so two builds cannot reach each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import STACK
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.code.jobs import TIMEOUT_S
from littlest_hub.stacks.launch.code.program import MODULE
from littlest_hub.units.bound_socket import bound_socket
from littlest_hub.units.unit import WITHOUT_RIGHTS, Directive, Unit, base_directory_conditions

AT_ONCE = 2
_SIZE_BYTES, _MOST_FILES = "3G", "300k"
_TMP_BYTES, _TMP_FILES = "1G", "100k"


def names(layout: Layout) -> list[str]:
    """Return the names of the units, without suffix."""
    return [layout.stack_unit(STACK, f"-code-{number}") for number in range(AT_ONCE)]


def sockets(layout: Layout) -> list[str]:
    """Return the names of the sockets' units."""
    return [f"{each}.socket" for each in names(layout)]


def addresses_of(layout: Layout) -> list[Path]:
    """Return the sockets, which only root reaches."""
    return [Path(f"/run/{each}/socket") for each in names(layout)]


def seen_by_builder(layout: Layout) -> list[Path]:
    """Return the same in the view of the builder's unit, which has to bind them there."""
    here = layout.stacks / STACK
    return [here / f"code-{number}.socket" for number in range(AT_ONCE)]


def units(layout: Layout) -> Iterator[Unit]:
    """Yield the units of the code tier."""
    for number, name in enumerate(names(layout)):
        what = "code of repositories, which somebody has approved"
        yield bound_socket(layout, name, what, 1, why="two builds with one user could meet")
        yield Unit(
            f"{name}@.service",
            "Runs code of strangers, for one job: it writes to memory, which is gone afterwards,"
            "\nand reaches what the builder lets through.",
            {
                "Unit": [
                    Directive("Description", f"Littlest Hub at {layout.base}: {what}"),
                    Directive("CollectMode", "inactive-or-failed"),
                    Directive("Requires", _memory_unit(name, "%i")),
                    Directive("After", _memory_unit(name, "%i")),
                    base_directory_conditions(layout.base)[0],
                ],
                "Service": [*_service(layout, number)],
            },
        )
        yield _memory(layout, name)


def _memory_unit(name: str, job: str) -> str:
    return f"{name}-tmp@{job}.service"


def _memory_of(name: str) -> str:
    """Return the directory of memory for one job; only root may enter the one above."""
    return f"/run/{name}-tmp/%i"


def _memory(layout: Layout, name: str) -> Unit:
    """Return the unit that has memory for /tmp, as long as a job needs it."""
    path = _memory_of(name)
    limits = f"mode=1777,size={_TMP_BYTES},nr_inodes={_TMP_FILES},nosuid,nodev"
    return Unit(
        _memory_unit(name, ""),
        "Memory for /tmp of one job. The private /tmp of systemd, which a user without a fixed"
        "\nnumber implies, is on the disk, where nothing bounds it.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: /tmp of code"),
                Directive("CollectMode", "inactive-or-failed"),
                Directive("StopWhenUnneeded", "yes"),
                base_directory_conditions(layout.base)[0],
            ],
            # Nothing here may imply mounts of its own: nobody else would see this one.
            "Service": [
                Directive("Type", "oneshot"),
                Directive("RemainAfterExit", "yes"),
                Directive("ExecStart", f"/bin/mkdir -p -m 0700 /run/{name}-tmp"),
                Directive("ExecStart", f"/bin/mkdir {path}"),
                Directive("ExecStart", f"/bin/mount -t tmpfs -o {limits} tmpfs {path}"),
                Directive("ExecStopPost", f"-/bin/umount --lazy {path}"),
                Directive("ExecStopPost", f"-/bin/rmdir {path}"),
                Directive("CapabilityBoundingSet", "CAP_SYS_ADMIN"),
                Directive("NoNewPrivileges", "yes"),
                Directive("RestrictAddressFamilies", "AF_UNIX"),
                Directive("RestrictNamespaces", "yes"),
                Directive("RestrictRealtime", "yes"),
                Directive("LockPersonality", "yes"),
                Directive("MemoryDenyWriteExecute", "yes"),
                Directive("SystemCallArchitectures", "native"),
                Directive("SystemCallErrorNumber", "EPERM"),
                Directive("SystemCallFilter", "@system-service @mount"),
            ],
        },
    )


def _service(layout: Layout, number: int) -> Iterator[Directive]:
    place = Place.of(layout)
    command = f"{layout.hub}/bin/python3 -I -m {MODULE} {place.built}"
    yield Directive("ExecStart", command)
    yield Directive("StandardInput", "socket")
    yield Directive("StandardOutput", "null")
    yield Directive("StandardError", "journal")
    yield Directive("DynamicUser", "yes", "a user that exists as long as it runs")
    yield Directive("User", layout.dynamic_user(f"stack {STACK} code {number}"))
    yield Directive("UMask", "0022")
    yield Directive("RuntimeMaxSec", str(TIMEOUT_S + 30))
    yield Directive("KillSignal", "SIGKILL", "nothing of it is to be saved")
    yield Directive("TimeoutStopSec", "5")
    yield Directive("CPUWeight", "20", "servers of users come first")
    yield Directive("IOWeight", "20")
    yield Directive("Nice", "10")
    yield Directive("MemoryMax", "4G", "with the files that it writes")
    yield Directive("MemorySwapMax", "1G")
    yield Directive("OOMScoreAdjust", "900", "before anything of a user")
    yield Directive("TasksMax", "256")
    yield Directive("LimitNPROC", "256", "where tasks are not counted")
    yield Directive("LimitFSIZE", "2G")
    yield Directive("LimitCORE", "0")
    yield Directive("LimitNOFILE", "4096")
    yield Directive(
        "TemporaryFileSystem",
        f"{place.home}:ro,mode=0755,size=1M",
        "nothing of the cache, of environments, orders and logs",
    )
    yield Directive("BindReadOnlyPaths", str(place.pythons))
    yield Directive(
        "TemporaryFileSystem",
        f"{place.built}:mode=1777,size={_SIZE_BYTES},nr_inodes={_MOST_FILES},nosuid,nodev",
        "where it writes: at the path that an environment will have",
    )
    yield Directive("TemporaryFileSystem", "/dev/shm:mode=1777,size=64M,nosuid,nodev,noexec")
    memory = _memory_of(names(layout)[number])
    yield Directive("BindPaths", f"{memory}:/tmp {memory}:/var/tmp", "memory, not systemd's disk")
    yield Directive("TemporaryFileSystem", f"{layout.state}:ro", "it sees nothing of state/")
    yield Directive("TemporaryFileSystem", "/run:ro,mode=0755,size=1M", "no socket of anything")
    yield Directive("InaccessiblePaths", f"-{layout.fragments}")
    yield Directive("ProcSubset", "pid")
    yield Directive("PrivateNetwork", "yes", "a loopback interface of its own, and no other")
    yield Directive("RestrictAddressFamilies", "AF_UNIX AF_INET")
    yield Directive("KeyringMode", "private")
    yield from WITHOUT_RIGHTS
    # Last, because it replaces the one above.
    yield Directive("MemoryDenyWriteExecute", "no", "compilers of JavaScript and numba need it")
    yield Directive("SystemCallFilter", "~@privileged")
