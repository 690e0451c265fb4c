"""Processes of this machine in /proc (proc(5)): program, name, unit.

A process may end at any moment, and those of other users may be hidden; the result is empty then.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_UNIT = re.compile(r"([^/\s]+\.(?:service|scope))")
# Version 2, or systemd's own hierarchy of version 1.
_SYSTEMD_CGROUP = re.compile(r"^(?:0:|\d+:(name=systemd)):(.*)$", re.MULTILINE)
_USERS = re.compile(r"^Uid:\s*([\d\t]+)", re.MULTILINE)
_ESCAPE = re.compile(r"\\([0-7]{3})")
_SLOTS = re.compile(r"^FDSize:\s*(\d+)", re.MULTILINE)
_PROC = Path("/proc")


def process_ids() -> Iterator[int]:
    """Yield the id of every process."""
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())


def name(pid: int) -> str:
    """Return the short name of a process (comm); "" if it cannot be read."""
    return _text(pid, "comm").strip()


def words(pid: int) -> list[str]:
    """Return the command line of a process; empty if it cannot be read."""
    return [word for word in _text(pid, "cmdline").split("\0") if word]


def program(pid: int) -> Path | None:
    """Return the path of a process's program; None if it cannot be read.

    The path of a program that was removed ends in " (deleted)".
    """
    try:
        return (_PROC / str(pid) / "exe").readlink()
    except OSError:
        return None


def runs_below(pid: int, directory: Path) -> str | None:
    """Return the entry of `directory` that a process's program lies in; None: in none of them."""
    found = program(pid)
    if found is None or not found.is_relative_to(directory):
        return None
    return found.relative_to(directory).parts[0]


def unit(pid: int) -> str:
    """Return the innermost systemd service or scope that a process belongs to; "" if in none."""
    units = _UNIT.findall(cgroup(pid))
    return units[-1] if units else ""


def parent(pid: int) -> int:
    """Return the id of a process's parent; 0 if it cannot be read."""
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def cgroup(pid: int) -> str:
    """Return the cgroups of a process, as in /proc/PID/cgroup; "" if they cannot be read."""
    return _text(pid, "cgroup")


def cgroup_path(pid: int) -> str:
    """Return the cgroup that systemd has put a process into, as ControlGroup= (systemctl(1))."""
    found: dict[str, str] = dict(_SYSTEMD_CGROUP.findall(cgroup(pid)))
    version_1, version_2 = found.get("name=systemd", ""), found.get("", "")
    # Version 2 may be mounted without use by systemd, and a container may mount version 1.
    return version_1 if _UNIT.search(version_1) else version_2 or version_1


def descriptor_slots(pid: int) -> int:
    """Return how many open files a process has at most: FDSize in /proc/PID/status."""
    found = _SLOTS.search(_text(pid, "status"))
    return int(found[1]) if found else 0


def descriptors(pid: int) -> Iterator[tuple[Path, str]]:
    """Yield each open file of a process: its place in /proc, and what it is ("socket:[123]")."""
    with contextlib.suppress(OSError):
        # `iterdir` would make a list, of half a million entries if a user wishes.
        for entry in map(Path, os.scandir(_PROC / str(pid) / "fd")):
            with contextlib.suppress(OSError):  # closed meanwhile
                yield entry, str(entry.readlink())


def variables(pid: int) -> set[str]:
    """Return the names of a process's environment variables; empty if they cannot be read."""
    return {entry.partition("=")[0] for entry in _text(pid, "environ").split("\0")}


def mapped(pid: int) -> str:
    """Return the paths of a process's program and of the files it has mapped, one a line."""
    found = program(pid)
    return f"{found or ''}\n{_text(pid, 'maps')}"


def uid(pid: int) -> int:
    """Return the user of a process.

    Raises:
        OSError: it has ended.
    """
    return (_PROC / str(pid)).stat().st_uid


def user_ids(pid: int) -> set[int]:
    """Return all users that a process may act as: Uid in /proc/PID/status; empty if unreadable."""
    found = _USERS.search(_text(pid, "status"))
    return {*map(int, found[1].split())} if found else set()


def mounts(pid: int) -> set[Path]:
    """Return where file systems are mounted, as a process sees it; empty if it cannot be read."""
    lines = (line.split(" ") for line in _text(pid, "mountinfo").splitlines())
    # Spaces and the like are octal: proc(5).
    return {Path(_ESCAPE.sub(lambda found: chr(int(found[1], 8)), line[4])) for line in lines}


def descriptor_info(pid: int, number: str) -> str:
    """Return what the kernel tells of an open file of a process (/proc/PID/fdinfo, proc(5)).

    Raises:
        OSError: it was closed.
    """
    return (_PROC / str(pid) / "fdinfo" / number).read_text()


def _text(pid: int, file: str) -> str:
    try:
        return (_PROC / str(pid) / file).read_text(errors="replace")
    except OSError:
        return ""
