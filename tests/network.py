"""A network of two: this process, and the namespace of a machine."""

import contextlib
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from unittest import mock

from tests.eventually import eventually
from tests.server import PATH, MachineError

# The launcher runs this in its namespace; it reads its address from standard input.
CONFIGURE = """
read -r address
ip link set lo up
ip address add "$address" dev host0
ip link set host0 up
"""


def free_port() -> int:
    """Return a free port that no other process gets by chance.

    It is below those that the kernel assigns (ip(7), ip_local_port_range). A port from bind(2) with
    port 0 could be assigned to another test's server or connection a moment later.
    """
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def network(launcher: subprocess.Popen[str]) -> Iterator[str]:
    """Connect the launcher's namespace by a veth, and yield the machine's address.

    The interface's name contains the number of the subnet, so the kernel prevents two machines of
    any test processes from using the same one.

    Args:
        launcher: a process that creates its own network namespace and runs CONFIGURE there.

    Raises:
        MachineError, NotInTimeError: the network cannot be created.
    """
    eventually(lambda: _has_own_network(launcher.pid), 10, "the network namespace")
    interface, subnet = _add_veth(launcher.pid)
    try:
        _ip("address", "add", f"{subnet}.1/30", "dev", interface)
        _ip("link", "set", interface, "up")
        stdin: IO[str] | None = launcher.stdin
        assert stdin is not None
        stdin.write(f"{subnet}.2/30\n")
        stdin.close()
        yield f"{subnet}.2"
    finally:
        _ip("link", "delete", interface, check=False)


@contextlib.contextmanager
def resolving(name: str, address: str) -> Iterator[None]:
    """Let this process reach a machine by a name that no name server knows."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: object, *arguments: Any, **named: Any) -> Any:
        return resolve(address if host == name else host, *arguments, **named)  # type: ignore[arg-type]

    with mock.patch.object(socket, "getaddrinfo", getaddrinfo):
        yield


def _has_own_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def _add_veth(pid: int) -> tuple[str, str]:
    error = ""
    for number in range(1, 255):
        interface = f"lhub{number}"
        peer = ["peer", "name", "host0", "netns", str(pid)]
        done = _ip("link", "add", interface, "type", "veth", *peer, check=False)
        if done.returncode == 0:
            return interface, f"10.231.{number}"
        error = done.stderr.strip()
        if "exists" not in error:
            break
    raise MachineError(f"no network for the machine: {error}")


def _ip(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [shutil.which("ip", path=PATH) or "ip", *args], capture_output=True, text=True
    )
    if check and done.returncode != 0:
        raise MachineError(f"ip {' '.join(args)}: {done.stderr.strip()}")
    return done
