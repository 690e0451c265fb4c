"""The unit in which the kernel of one submission runs, as data; no input or output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place

MEMORY, DATA = "2G", "3G"
TASKS = 256
DISK = "512M"
TIMEOUT_S = 3600
"""Time limit of one kernel, for all of its cells together."""
MAX_REQUEST_BYTES = 1 << 16
FILES = "files"
"""Directory beside the sockets: what is handed to the kernel."""
_WORK = "/tmp/submission"
# A copy in memory, since the submission may write to it; then the kernel's own command.
_SCRIPT = f'cp -R "$0/{FILES}" {_WORK} && cd {_WORK} && exec "$@"'
_EMPTY = ("/srv", "/home", "/root", "/run/user")
"""Directories that look empty: /srv, and those of ProtectHome=, systemd.exec(5)."""
_DIRECTORY = re.compile(r"kernel-[a-zA-Z0-9_]{1,32}")


def checked_directory(layout: Layout, course: str, text: str) -> Path:
    """Return the directory of a kernel's sockets, which is in the grader's directory in /run.

    Raises:
        LittlestHubError: it is another one.
    """
    path = Path(text)
    expected = Path("/run") / place.runtime_of(layout, course)
    if path.parent != expected or not _DIRECTORY.fullmatch(path.name):
        raise LittlestHubError(f"{text[:200]!r}: expected {expected}/kernel-…")
    return path


def checked_command(words: object) -> list[str]:
    """Return the command of a kernel.

    Raises:
        LittlestHubError: it is no list of words.
    """
    if not (isinstance(words, list) and words and all(isinstance(e, str) for e in words)):
        raise LittlestHubError("expected a command")
    if not Path(words[0]).is_absolute() or any("\0" in word for word in words):
        raise LittlestHubError("expected the absolute path of a program")
    return words


def systemd_run(
    layout: Layout, course: str, unit: str, directory: Path, command: Sequence[str]
) -> list[str]:
    """Return the systemd-run(1) command of a kernel."""
    argv = ["systemd-run", f"--unit={unit}", "--quiet", "--collect", "--wait"]
    argv += [f"--property={each}" for each in _properties(layout, course, directory)]
    # systemd expands variables in arguments: systemd.service(5), "Command lines".
    words = [word.replace("$", "$$") for word in (_SCRIPT, str(directory), *command)]
    return [*argv, "--", "/bin/sh", "-c", *words]


def _properties(layout: Layout, course: str, directory: Path) -> Iterator[str]:
    yield "DynamicUser=yes"
    yield f"Slice={layout.users_slice}"
    yield "PrivateNetwork=yes"
    yield f"MemoryMax={MEMORY}"
    # The limit of each process, for machines that count no memory of units (cgroup v1).
    yield f"LimitDATA={DATA}"
    yield "MemorySwapMax=0"
    yield f"TasksMax={TASKS}"
    yield "CPUWeight=50"
    # A memory bomb ends all of its own processes at once.
    yield "OOMPolicy=kill"
    yield f"RuntimeMaxSec={TIMEOUT_S}"
    yield "TimeoutStopSec=5"
    yield "LimitCORE=0"
    yield "UMask=0000"  # the grader connects to its sockets, which are in a closed directory
    yield f"TemporaryFileSystem=/tmp:rw,mode=1777,size={DISK}"
    yield "TemporaryFileSystem=/var/tmp:ro"
    yield "TemporaryFileSystem=/run:ro"
    yield f"BindPaths={directory}"
    yield f"BindReadOnlyPaths={directory}/{FILES}"
    yield "TemporaryFileSystem=/srv:ro"
    yield "ProtectHome=tmpfs"
    if any(layout.base.is_relative_to(each) for each in _EMPTY):
        yield f"BindReadOnlyPaths={layout.base}"
    for hidden in (layout.state, layout.fragments):
        yield f"InaccessiblePaths=-{hidden}"
    yield "ProtectProc=invisible"
    yield "PrivateUsers=yes"
    yield "PrivateDevices=yes"
    yield "PrivateIPC=yes"
    yield "CapabilityBoundingSet="
    yield "LockPersonality=yes"
    yield "ProtectClock=yes"
    yield "ProtectControlGroups=yes"
    yield "ProtectHostname=yes"
    yield "ProtectKernelLogs=yes"
    yield "ProtectKernelModules=yes"
    yield "ProtectKernelTunables=yes"
    # ZeroMQ asks for all of these when it starts; PrivateNetwork= leaves them nothing to reach.
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    yield "RestrictNamespaces=yes"
    yield "RestrictRealtime=yes"
    yield "SystemCallArchitectures=native"
    yield "SystemCallFilter=~@clock @cpu-emulation @debug @module @mount @obsolete @raw-io @reboot"
    yield "SystemCallFilter=~@swap bpf io_setup io_uring_setup userfaultfd"
    for variable in (
        "HOME=/tmp",
        "LANG=C.UTF-8",
        "IPYTHONDIR=/tmp/.ipython",
        "MPLBACKEND=agg",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "NBGRADER_EXECUTION=autograde",
    ):
        yield f"Environment={variable}"
