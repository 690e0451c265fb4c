"""The unit of a user server, as data: isolation of users from each other, and limits.

A fragment can override every property; docs/reference/isolation.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.units.unit import Directive, Unit

Properties = Mapping[str, str | list[str]]
"""Properties of a unit; a list stands for one that is given several times."""

RUNTIME = Path("/run/jupyter")
"""Jupyter's directory for connection files and sockets of kernels; each server has its own.

Not in the home directory: the address of a socket has at most 107 bytes (unix(7)), some network
file systems have no sockets, and a user whose home is full must be able to start a kernel to delete
files.
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
"""Addresses at which clouds serve credentials of the machine, from their manuals (2026-11)."""

# Directories that contain only homes: those of ProtectHome=, systemd.exec(5).
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
# Directories that contain more than homes, so that they stay visible; homes in them are protected
# by their modes only.
_SHARED = frozenset(
    map(Path, ("/", "/etc", "/opt", "/run", "/usr", "/usr/local", "/var", "/var/lib"))
)
_EMPTY = "ro,mode=0755,size=1M"

# The sockets of systemd and its services reach everybody: a user who fills their queues delays or
# prevents the start of others' servers. These two have to be there: names of hosts, and names of
# dynamic and systemd-homed users.
_SYSTEMD = Path("/run/systemd")
_NEEDED_OF_SYSTEMD = ("resolve", "userdb")
# LogNamespace= mounts its sockets there. One inaccessible path replaces that mount (the most
# restrictive one of a path counts); each mount takes time. The server's output needs none of the
# sockets: it is an open descriptor.
_JOURNAL = _SYSTEMD / "journal"

_NEWER = {"PrivateIPC": 248}
"""Properties newer than systemd 247, the oldest version supported, and their version (its NEWS).

systemd-run rejects a unit that has a property it does not know.
"""


@dataclass(frozen=True)
class Account:
    """The system user that a server runs as."""

    name: str
    home: Path | None
    """None: unknown, so /home stays visible."""
    uid: int
    gid: int
    shell: str = ""


def server_properties(
    layout: Layout,
    account: Account | None,
    *,
    may_become_root: bool = False,
    systemd: int | None = None,
    views: Sequence[str] = (),
) -> dict[str, str | list[str]]:
    """Return the properties of a user server's unit, before a fragment overrides them.

    Args:
        layout: the installation.
        account: the system user that it runs as; None: a dynamic user (DynamicUser=).
        may_become_root: omit every property that prevents sudo.
        systemd: version of systemd; None: one that knows all properties.
        views: passwd and group files of the server's own, as in BindReadOnlyPaths=.

    Raises:
        LittlestHubError: the path of the home directory cannot be written in a unit.
    """
    found = {
        "Slice": layout.users_slice,
        # Rates of messages say little, since one may have megabytes: what users write must not
        # replace what the machine's services have logged.
        "LogNamespace": layout.log_namespace,
        **_visibility(layout, account, views, shows_systemd=may_become_root),
        **_LIMITS,
        **({} if may_become_root else _RESTRICTIONS),
        # Other users must not read new files.
        "UMask": "0027",
        "StateDirectoryMode": "0700",
    }
    return {key: value for key, value in found.items() if _NEWER.get(key, 0) <= (systemd or 9999)}


def with_values(
    properties: Properties, more: Mapping[str, list[str]]
) -> dict[str, str | list[str]]:
    """Return properties with more values for those that may have several."""
    found: dict[str, str | list[str]] = {**properties}
    for name, values in more.items():
        present = properties.get(name, [])
        found[name] = [*([present] if isinstance(present, str) else present), *values]
    return found


def environment(properties: Properties) -> dict[str, str]:
    """Return the environment variables that follow from the properties of a server."""
    mounts = _words(properties.get("TemporaryFileSystem", ()))
    if not any(mount.partition(":")[0] == str(RUNTIME) for mount in mounts):
        return {}
    return {
        "JUPYTER_RUNTIME_DIR": str(RUNTIME),
        # Python uses the first of these that is writable, and without one a kernel executes no
        # cell: a user who has filled the disk must be able to delete files.
        "TMPDIR": "/tmp",
        "TEMP": str(RUNTIME),
    }


def users_slice(layout: Layout) -> Unit:
    """Return the slice of all user servers."""
    return Unit(
        layout.users_slice,
        f"All user servers of {layout.base} together. These limits leave room for the rest of the"
        "\nmachine, above all for hub and proxy. CPU time needs no limit: the kernel shares it"
        "\nfairly, with half of it for the system's services when they need it.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: user servers")],
            "Slice": [
                Directive("MemoryMax", "85%", "of the machine's memory"),
                Directive("MemorySwapMax", "50%", "one server must not push all others into swap"),
                Directive("TasksMax", "60%", "of the machine's maximum of processes and threads"),
            ],
        },
    )


_LIMITS: Properties = {
    # Parts of the machine's memory and processes, for each server: one user must not use up the
    # slice's limits. c.Spawner.mem_limit overrides MemoryMax= (hub/spawner.py).
    "MemoryMax": "50%",
    "TasksMax": "15%",
    # The OOM killer ends the largest process, a Jupyter kernel; the server goes on and reports it.
    "OOMPolicy": "continue",
    # Output of kernels that bypasses Jupyter goes to the journal.
    "LogRateLimitIntervalSec": "30s",
    "LogRateLimitBurst": "1000",
}

# Nearly each of these sets NoNewPrivileges= for a unit with User=, which prevents sudo; so
# `may_become_root` omits them all.
_RESTRICTIONS: Properties = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    # Interfaces of the kernel that users' programs need remain.
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
    # A deny list: users' programs may need calls that are newer than systemd's allow lists.
    # io_setup: the kernel counts its events per machine (fs.aio-max-nr). io_uring_setup: it makes
    # system calls that no filter sees, such as sockets of any family.
    "SystemCallFilter": "~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap bpf"
    " io_setup io_uring_setup userfaultfd",
    "SystemCallErrorNumber": "EPERM",
}
# Omitted, since they break ordinary programs: RestrictSUIDSGID= (`git init --shared` in a directory
# of a group), LockPersonality= (lldb), MemoryDenyWriteExecute= (numba), ProtectClock= (a GPU would
# need more than PrivateDevices=no).


def _visibility(
    layout: Layout, account: Account | None, views: Sequence[str], *, shows_systemd: bool
) -> dict[str, str | list[str]]:
    """Return the properties that hide parts of the machine and other users.

    Args:
        layout: the installation.
        account: as in `server_properties`.
        views: as in `server_properties`.
        shows_systemd: show the sockets of systemd and of the journal, for what root does with sudo.
    """
    homes = _homes(layout, account)
    found: dict[str, str | list[str]] = {
        "ProtectProc": "invisible",
        "ProtectSystem": "full",
        "PrivateTmp": "yes",
        "PrivateIPC": "yes",
        "TemporaryFileSystem": [
            *(f"{_quoted(home)}:{_EMPTY}" for home in homes.hidden),
            *([] if shows_systemd else [f"{_SYSTEMD}:{_EMPTY}"]),
            # Everybody may write to the machine's.
            "/run/lock:mode=1777,nosuid,nodev,size=1M",
            "/dev/shm:mode=1777,nosuid,nodev,size=50%",
            f"{RUNTIME}:mode=1777,nosuid,nodev,size=16M",
        ],
        "InaccessiblePaths": [
            f"-{path}"
            for path in (
                layout.state,
                layout.fragments,
                # They reveal other users, and other users' units.
                "/run/dbus/system_bus_socket",
                "/run/utmp",
                *([_SYSTEMD / "transient"] if shows_systemd else [_JOURNAL]),
                # nscd(8) would answer from the machine's files instead of these views.
                *(["/run/nscd"] if views else []),
            )
        ],
        "IPAddressDeny": " ".join(METADATA),
    }
    shown = [] if shows_systemd else [f"-{_SYSTEMD / name}" for name in _NEEDED_OF_SYSTEMD]
    if shown := [*shown, *map(str, homes.ours), *views]:
        found["BindReadOnlyPaths"] = shown  # systemd-run(1) takes no empty list of them
    if homes.own:
        # Optional: a missing home is reported when systemd enters it, with a clear message.
        found["BindPaths"] = [f"-{_quoted(home)}" for home in homes.own]
    return found


class _Homes(NamedTuple):
    """The directories of homes that a server does not see, and the exceptions below them."""

    hidden: Sequence[Path]
    """The hidden directories, and those between them and the exceptions, outermost first."""
    own: Sequence[Path] = ()
    """The user's own home, if it is below a hidden directory."""
    ours: Sequence[Path] = ()
    """The base directory, if it is below a hidden directory."""


def _homes(layout: Layout, account: Account | None) -> _Homes:
    hidden = list(_HOMES)
    if account is None:
        return _Homes(hidden)
    home = account.home
    if home is None:
        return _Homes(hidden[1:])
    if home.parent not in _SHARED and not _is_below(home, _HOMES):
        hidden.append(home.parent)
    own = (home,) if _is_below(home, hidden) else ()
    ours = (layout.base,) if _is_below(layout.base, hidden) else ()
    between = [each for path in (*own, *ours) for each in _between(hidden, path)]
    return _Homes([*hidden, *dict.fromkeys(between)], own, ours)


def _between(hidden: Sequence[Path], path: Path) -> list[Path]:
    """Return the directories between a hidden one and a path below it, outermost first.

    systemd 247 creates them for the mount of the path with UMask=, which closes them for the user;
    a mount of their own has its own mode.
    """
    return [each for each in reversed(path.parents) if _is_below(each, hidden)]


def _is_below(path: Path, directories: Iterable[Path]) -> bool:
    return any(directory in path.parents for directory in directories)


def _quoted(path: Path) -> str:
    """Return a path as it is written for systemd-run(1) and in unit files.

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
            f"home directory {text!r}: cannot be written in a systemd unit",
            "Give the account a home with an absolute path and without quotes and backslashes",
        )
    return f'"{text}"' if set(text) & set(" :") else text


def _words(value: str | Iterable[str]) -> list[str]:
    return value.split() if isinstance(value, str) else list(value)
