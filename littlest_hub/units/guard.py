"""Units of the guard: root's helper that holds ports and keeps shared resources available."""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions

CONTROL = "control"
"""FileDescriptorName= of the socket at which the hub connects."""

ONLY_OWN = "--only-own"
"""Argument of the guard: hold only ports of this hub and its user servers."""

RESTORE = "restore"
"""Argument of `littlest_hub.helpers.closed_connections`: restore the limit of before."""

_MOST_STORED = "8192"
"""systemd passes the names of all in one variable, which has at most 128 KiB (execve(2))."""

_RIGHTS = (
    Directive("UMask", "0077"),
    Directive(
        "CapabilityBoundingSet",
        "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_KILL",
        "to duplicate sockets of user servers, and to end users' processes",
    ),
    Directive("ProtectSystem", "strict"),
    Directive("PrivateMounts", "yes"),
    Directive("MemoryDenyWriteExecute", "yes"),
    Directive(
        "RestrictAddressFamilies",
        "AF_UNIX AF_INET AF_NETLINK",
        "to reserve addresses, without connections; netlink: who listens at a port",
    ),
    *SANDBOX,
    Directive("SystemCallFilter", "@system-service pidfd_getfd"),
    Directive("SystemCallFilter", "~@privileged @resources"),
)


def socket(layout: Layout) -> Unit:
    """Return the control socket of the guard."""
    owner = [Directive("SocketUser", layout.hub_user)] if layout.hub_user else []
    return Unit(
        layout.guard_socket,
        f"The hub at {layout.base} asks the guard here to hold ports of user servers.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: guard's socket")],
            "Socket": [
                Directive("ListenStream", str(layout.guard_control)),
                Directive("FileDescriptorName", CONTROL),
                *owner,
                Directive("SocketMode", "0600", "only the hub connects"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def service(layout: Layout, ports: Ports) -> Unit:
    """Return the service of the guard."""
    condition, exec_condition = base_directory_conditions(layout.base)
    directory = layout.guard_control.parent.name
    closed_connections = f"-+{layout.hub}/bin/python3 -I -m littlest_hub.helpers.closed_connections"
    # The guard does not see state/, whose owner is the hub's user.
    restriction = f" {ONLY_OWN}" if layout.hub_user else ""
    return Unit(
        layout.guard_service,
        "Holds the ports of user servers, so that no other program can take the port of a server"
        "\nthat has ended; and ends programs that use up what all users share, such as ports.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: guard"),
                Directive("Requires", layout.guard_socket),
                Directive("After", layout.guard_socket),
                Directive("RequiresMountsFor", str(layout.base)),
                condition,
                Directive("StartLimitIntervalSec", "0"),
            ],
            "Service": [
                Directive("Type", "notify"),
                exec_condition,
                Directive(
                    "ExecStartPre",
                    closed_connections,
                    "limits net.ipv4.tcp_max_tw_buckets, which the guard itself may not change",
                ),
                Directive("ExecStopPost", f"{closed_connections} {RESTORE}"),
                Directive(
                    "ExecStart",
                    f"{layout.hub}/bin/python3 -I -m littlest_hub.helpers.guard{restriction}"
                    f" {ports.hub_address} {ports.api_address}",
                    "reserves these addresses for the sockets of hub and proxy",
                ),
                Directive("Restart", "always"),
                Directive("RestartSec", "1s", "a guard that cannot start fills no journal"),
                Directive("FileDescriptorStoreMax", _MOST_STORED, "the ports, while it restarts"),
                Directive("LimitNOFILE", "65536"),
                Directive("OOMScoreAdjust", "-500", "the kernel ends users' processes first"),
                Directive("RuntimeDirectory", directory),
                Directive("RuntimeDirectoryMode", "0711"),
                Directive("RuntimeDirectoryPreserve", "yes", "what it holds, for the next one"),
                Directive("InaccessiblePaths", f"-{layout.state} -{layout.fragments}"),
                *_RIGHTS,
            ],
            "Install": [Directive("WantedBy", "multi-user.target")],
        },
    )
