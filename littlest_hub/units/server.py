"""The unit of a user server, as data: what keeps people apart, and how much each may take.

Every property can be undone by a line in a fragment: docs/reference/isolation.md has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.units.unit import Directive, Unit

Properties = Mapping[str, str | list[str]]
"""Of a unit: a list is for those that are given more than once."""

RUNTIME = Path("/run/jupyter")
"""Where Jupyter keeps connection files and sockets of kernels: each server has one of its own.

Not in the home directory: the address of a socket has 107 bytes at most (unix(7)), some network
file systems have no sockets, and who has filled a home must be able to start a kernel and tidy up.
"""

METADATA = (
    "169.254.169.254",  # AWS, Azure, DigitalOcean, Google, Hetzner, OpenStack, Oracle and others
    "169.254.170.2",  # AWS ECS: credentials of tasks
    "169.254.170.23",  # AWS EKS: credentials of pods
    "169.254.42.42",  # Scaleway
    "100.100.100.200",  # Alibaba
    "fd00:ec2::254",  # AWS
    "fd00:ec2::23",  # AWS EKS
    "fd20:ce::254",  # Google
    "fd00:42::42",  # Scaleway
    "fd00:c1::a9fe:a9fe",  # Oracle
)
"""Where clouds hand out the credentials of the machine, as their manuals have it (2026-11)."""

# Below these are homes and nothing else; ProtectHome= of systemd.exec(5) means the same ones.
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
# What else is in these is not for us to hide: there, other homes are as private as their modes.
_SHARED = frozenset(
    map(Path, ("/", "/etc", "/opt", "/run", "/usr", "/usr/local", "/var", "/var/lib"))
)
_EMPTY = "ro,mode=0755,size=1M"

_NEWER = {"PrivateIPC": 248}
"""Properties that came after systemd 247, the oldest we serve, and with which version (its NEWS).

systemd-run refuses a whole unit for one property that it does not know.
"""


@dataclass(frozen=True)
class Account:
    """The system user that a server runs as."""

    name: str
    home: Path | None
    """None: not known, so that homes cannot be hidden from their owners either."""
    uid: int
    gid: int


def properties(
    layout: Layout,
    account: Account | None,
    *,
    may_become_root: bool = False,
    systemd: int | None = None,
) -> dict[str, str | list[str]]:
    """What a user server's unit is given unless a fragment says otherwise.

    Args:
        layout: whose user server.
        account: who it runs as; None: a user that systemd lends (DynamicUser=).
        may_become_root: leave out all that keeps sudo from working.
        systemd: its version; None: any that knows all of this.

    Raises:
        LittlestHubError: a home directory that cannot stand in a unit.
    """
    found = {
        "Slice": layout.users_slice,
        **_views(layout, account),
        **_LIMITS,
        **({} if may_become_root else _RIGHTS),
        # What one user writes is no other's business.
        "UMask": "0027",
        "StateDirectoryMode": "0700",
    }
    return {key: value for key, value in found.items() if _NEWER.get(key, 0) <= (systemd or 9999)}


def environment(properties: Properties) -> dict[str, str]:
    """What a server with these properties is told about them."""
    mounted = _words(properties.get("TemporaryFileSystem", ()))
    there = any(mount.partition(":")[0] == str(RUNTIME) for mount in mounted)
    if not there:
        return {}
    return {
        "JUPYTER_RUNTIME_DIR": str(RUNTIME),
        # Python takes the first that can be written to, and without one a kernel runs no cell: who
        # has filled the disk must be able to tidy up.
        "TMPDIR": "/tmp",
        "TEMP": str(RUNTIME),
    }


def users_slice(layout: Layout) -> Unit:
    """All user servers together."""
    return Unit(
        layout.users_slice,
        f"All user servers of {layout.base} together. Whatever they do, the rest of the machine has"
        "\nroom left: hub and proxy above all. CPU time is shared fairly anyway, with half of it"
        "\nfor the system's own services when they want it.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: user servers")],
            "Slice": [
                Directive("MemoryMax", "85%", "of the machine's"),
                Directive("MemorySwapMax", "50%", "nobody drives all the others out into swap"),
                Directive(
                    "TasksMax", "60%", "of the processes and threads that the machine can have"
                ),
            ],
        },
    )


_LIMITS: Properties = {
    # One person alone cannot take all that people may take together.
    "MemoryMax": "50%",
    "TasksMax": "15%",
    # Linux ends what takes most, a kernel; the server stays and says so.
    "OOMPolicy": "continue",
    # What a kernel prints past Jupyter goes to the journal.
    "LogRateLimitIntervalSec": "30s",
    "LogRateLimitBurst": "1000",
}

# With User=, nearly each of these implies the first one.
_RIGHTS: Properties = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    # Those of the kernel's interfaces that are there for programs of people.
    "PrivateDevices": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "SystemCallArchitectures": "native",
    # Refused, not allowed: programs of people may be newer than the lists of systemd.
    "SystemCallFilter": "~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap bpf"
    " userfaultfd",
    "SystemCallErrorNumber": "EPERM",
}
# Not among them, for they would break what is ordinary: RestrictSUIDSGID= (`git init --shared`
# in a directory of a group), LockPersonality= (lldb), MemoryDenyWriteExecute= (numba),
# ProtectClock= (PrivateDevices=no would not be enough to let somebody use a GPU).


def _views(layout: Layout, account: Account | None) -> dict[str, str | list[str]]:
    """What there is to be seen of the machine and of others."""
    homes, own, ours = _homes(layout, account)
    found: dict[str, str | list[str]] = {
        "ProtectProc": "invisible",
        "ProtectSystem": "full",
        "PrivateTmp": "yes",
        "PrivateIPC": "yes",
        "TemporaryFileSystem": [
            *(f"{_quoted(home)}:{_EMPTY}" for home in homes),
            "/dev/shm:mode=1777,nosuid,nodev,size=50%",
            f"{RUNTIME}:mode=1777,nosuid,nodev,size=16M",
        ],
        "InaccessiblePaths": [
            f"-{path}"
            for path in (
                layout.state,
                layout.fragments,
                # Who is here, and how they are set up; the units of others.
                "/run/dbus/system_bus_socket",
                "/run/systemd/transient",
            )
        ],
        "IPAddressDeny": " ".join(METADATA),
    }
    if own:
        # A home that is missing is reported when it is entered, in words that say so.
        found["BindPaths"] = [f"-{_quoted(home)}" for home in own]
    if ours:
        found["BindReadOnlyPaths"] = [str(path) for path in ours]
    return found


def _homes(
    layout: Layout, account: Account | None
) -> tuple[Sequence[Path], Sequence[Path], Sequence[Path]]:
    """Directories of homes to hide; the one to show; and what of ours was hidden with them."""
    hidden = list(_HOMES)
    if account is None:
        return hidden, (), ()
    home = account.home
    if home is None:
        return hidden[1:], (), ()
    if home.parent not in _SHARED and not _is_below(home, _HOMES):
        hidden.append(home.parent)
    own = (home,) if _is_below(home, hidden) else ()
    return hidden, own, (layout.base,) if _is_below(layout.base, hidden) else ()


def _is_below(path: Path, directories: Iterable[Path]) -> bool:
    return any(directory in path.parents for directory in directories)


def _quoted(path: Path) -> str:
    """A path as systemd-run(1) and unit files take it.

    Raises:
        LittlestHubError: it cannot be written there.
    """
    text = str(path)
    if (
        not path.is_absolute()
        or ".." in path.parts
        or not text.isprintable()
        or set(text) & set("\"'\\")
    ):
        raise LittlestHubError(
            f"home directory {text!r}: cannot stand in a unit of systemd",
            "Give the account a home with an absolute path and without quotes and backslashes",
        )
    return f'"{text}"' if set(text) & set(" :") else text


def _words(value: str | Iterable[str]) -> list[str]:
    return value.split() if isinstance(value, str) else list(value)
