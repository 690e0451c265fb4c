"""Control groups of systemd's units, in all their versions (cgroups(7))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# Where version 2 is mounted, alone or beside version 1; and systemd's own hierarchy of version 1.
_VERSION_2 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_VERSION_1 = ("/sys/fs/cgroup/systemd",)


def ids(path: str) -> set[int]:
    """Return the ids of a unit's cgroup and of all cgroups in it.

    Args:
        path: ControlGroup= of the unit (systemctl(1)); "", for a unit that does not run, has none.
    """
    found = set()
    for directory in _directories(path, _VERSION_2):
        with contextlib.suppress(OSError):  # removed meanwhile
            found.add(directory.stat().st_ino)
    return found


def process_ids(path: str) -> set[int]:
    """Return the processes in a unit's cgroup and in all cgroups in it."""
    found: set[int] = set()
    for directory in _directories(path, _VERSION_2 + _VERSION_1):
        # Removed meanwhile; or a cgroup of threads, which has no list of processes.
        with contextlib.suppress(OSError):
            found.update(map(int, (directory / "cgroup.procs").read_text().split()))
    # Processes outside of our PID namespace are 0.
    return found - {0}


def own() -> Path | None:
    """Return the directory of this process's cgroup; None: there is no version 2."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                places = (Path(f"{root}{line[3:]}") for root in _VERSION_2)
                return next((each for each in places if (each / "cgroup.procs").exists()), None)
    return None


def number(directory: Path, name: str) -> int | None:
    """Return a value of a cgroup, such as memory.max; None: there is none, or no limit."""
    try:
        return int((directory / name).read_text())
    except (OSError, ValueError):  # "max"
        return None


def value(directory: Path, name: str, key: str) -> int | None:
    """Return a value of a file of a cgroup with lines "KEY VALUE", such as memory.stat."""
    with contextlib.suppress(OSError, ValueError):
        lines = (line.split() for line in (directory / name).read_text().splitlines())
        return next((int(line[1]) for line in lines if line[0] == key), None)
    return None


def needed_memory(directory: Path) -> int | None:
    """Return the memory that a cgroup needs: without files that the kernel can drop at any moment.

    None: memory is not counted here.
    """
    used = number(directory, "memory.current")
    if used is None:
        return None
    return max(0, used - (value(directory, "memory.stat", "inactive_file") or 0))


def processor_ms(directory: Path) -> int | None:
    """Return the time of processors that a cgroup has used; None: it is not counted here."""
    used_us = value(directory, "cpu.stat", "usage_usec")
    return None if used_us is None else used_us // 1000


def in_slice(unit: str) -> dict[str, Path]:
    """Return the directories of the units that run in a slice of the system, by name.

    Args:
        unit: the slice, such as a-b.slice, which is in a.slice (systemd.slice(5)).
    """
    found: dict[str, Path] = {}
    for root in _VERSION_2:
        found |= {each.name: each for each in _inside(Path(root, _path_of_slice(unit)))}
    return found


def needed_memory_outside(unit: str) -> int | None:
    """Return the memory that all units of the machine need, except those in a slice.

    Args:
        unit: the slice, as for `in_slice`.

    Returns:
        Bytes; None: memory is not counted here.
    """
    for root in _VERSION_2:
        found = [needed_memory(each) for each in _inside(Path(root))]
        known = [each for each in found if each is not None]
        if known:
            return max(0, sum(known) - (needed_memory(Path(root, _path_of_slice(unit))) or 0))
    return None


def unit_of(wanted: set[int]) -> str:
    """Return the name of a unit that has one of these cgroup ids; "": none has."""
    with contextlib.suppress(OSError):
        for directory in map(Path, (found[0] for found in os.walk(_VERSION_2[0]))):
            is_unit = directory.suffix in (".service", ".scope")
            if is_unit and directory.stat().st_ino in wanted:
                return directory.name
    return ""


def _path_of_slice(unit: str) -> str:
    parts = unit.removesuffix(".slice").split("-")
    return "/".join(f"{'-'.join(parts[:end])}.slice" for end in range(1, len(parts) + 1))


def _inside(directory: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [each for each in directory.iterdir() if each.is_dir()]
    return []


def _directories(path: str, roots: tuple[str, ...]) -> Iterator[Path]:
    # A path that leads out of the mounted cgroups is none.
    is_cgroup = path.strip("/") and ".." not in path.split("/")
    places = [f"{root}{path}" for root in roots if is_cgroup]
    return (Path(found[0]) for place in places for found in os.walk(place))
