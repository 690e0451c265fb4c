"""A program of the stack with fewer rights than the person who runs the hub.

    python -I -m …confined GIGABYTES PORT READABLE… -- WRITABLE… -- MODULE ARGUMENT…

It sees the system, the release, and what is named here. It connects to one port of TCP; 0: to any.
Where the kernel has no Landlock, it sees everything: the page says so before anybody launches
something.
"""

from __future__ import annotations

import itertools
import os
import resource
import runpy
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from littlest_hub.system import landlock
from littlest_hub.system.children import end_with_parent

MODULE = "littlest_hub.stacks.launch.own_computer.confined"
_END = "--"
_NICE = 10
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/gnu"),
    # Certificates and addresses of name servers: links of /etc lead there.
    *("/var/lib/ca-certificates", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"),
    *("/proc", "/sys/devices/system/cpu", "/dev/zero", "/dev/random", "/dev/urandom"),
)
_DEVICES = ("/dev/null",)


def command(
    python: Path,
    gigabytes: int,
    readable: Sequence[Path],
    writable: Sequence[Path],
    program: Sequence[str],
    port: int = 0,
) -> list[str]:
    """Return the command of a program.

    Args:
        python: that of the release.
        gigabytes: the most memory that one of its processes may have, and the longest file.
        readable: what it reads besides the system and the release.
        writable: what it changes.
        program: its module, and arguments.
        port: the only port that it connects to; 0: any.
    """
    own = [str(python), "-I", "-m", MODULE, str(gigabytes), str(port)]
    return [*own, *map(str, readable), _END, *map(str, writable), _END, *program]


def main() -> None:
    """Give up rights, and run the program."""
    end_with_parent()
    gigabytes, port, *rest = sys.argv[1:]
    readable, rest = _until_end(rest)
    writable, words = _until_end(rest)
    os.nice(_NICE)
    _limit(int(gigabytes) << 30)
    landlock.restrict(
        [*map(Path, (*_SYSTEM, *readable)), *_programs()],
        map(Path, (*_DEVICES, *writable)),
        int(port),
    )
    # As if it had been started itself.
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _limit(size_bytes: int) -> None:
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
        hard = resource.getrlimit(kind)[1]
        most = size_bytes if hard == resource.RLIM_INFINITY else min(size_bytes, hard)
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _programs() -> Iterator[Path]:
    """Yield where Python with its modules, and git, are, which may be outside the release."""
    yield from map(Path, (sys.prefix, sys.base_prefix, *sys.path))
    yield Path(sysconfig.get_config_var("LIBDIR"))
    git = shutil.which("git")
    place = Path(git).resolve().parent.parent if git else Path("/")
    if place != Path("/"):
        yield place


def _until_end(words: list[str]) -> tuple[list[str], list[str]]:
    first = [*itertools.takewhile(lambda word: word != _END, words)]
    return first, words[len(first) + 1 :]


if __name__ == "__main__":
    main()
