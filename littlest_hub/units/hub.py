"""Units of the hub: its socket, and JupyterHub as root, because it starts servers as other users.

It may also run as a user of its own (`layout.hub_user`): see `littlest_hub.units.unprivileged`.
Helpers that run as root (`littlest_hub.units.helpers`) do what the hub's sandbox forbids.
"""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units.environment import HTTPS_PORT, PROXY_API, PUBLIC_PORT
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions


def socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.hub_socket,
        f"The socket of the hub at {layout.base}, for the proxy and for user servers. systemd holds"
        "\nit, so requests wait instead of failing while the hub restarts or reloads."
        "\nServers on other machines need one more ListenStream= in a drop-in, with an address that"
        "\nthey can reach, and c.JupyterHub.hub_connect_url in a fragment.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: hub port"),
                Directive(
                    "StartLimitIntervalSec", "0", "never give up: recover when the cause is gone"
                ),
            ],
            "Socket": [
                Directive("ListenStream", ports.hub_address),
                Directive("ReusePort", "yes", "beside the guard's reservation of the address"),
                Directive("Backlog", "4096", "connections that wait until the hub accepts them"),
                Directive("NoDelay", "yes"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def service(layout: Layout, ports: Ports) -> Unit:
    # -I: PYTHON* variables and ~/.local have no influence.
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub"
    condition, exec_condition = base_directory_conditions(layout.base)
    return Unit(
        layout.hub_service,
        f"JupyterHub of {layout.base}, configured by {layout.fragments}/*.py."
        f"\n`systemctl reload {layout.hub_service}` checks and applies a change there."
        f"\nIts socket starts it again: `systemctl stop {layout.hub_socket}` stops it for good."
        "\nUser servers are units of their own, to which these restrictions do not apply; a spawner"
        "\nthat forks them from the hub itself needs a drop-in that lifts some of them.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: hub"),
                Directive(
                    "Wants",
                    " ".join(
                        [
                            *(layout.hub_socket, layout.proxy_service),
                            *(layout.guard_socket, layout.guard_service),
                            *layout.helper_sockets,
                        ]
                    ),
                    "not Requires=: without its socket the hub still starts, reports who has the"
                    " port, and tries again",
                ),
                Directive(
                    "After",
                    f"network.target nss-user-lookup.target {layout.hub_socket}"
                    f" {layout.proxy_service} {layout.guard_socket}"
                    f" {' '.join(layout.helper_sockets)}",
                ),
                Directive("RequiresMountsFor", str(layout.base)),
                condition,
                Directive(
                    "StartLimitIntervalSec", "0", "never give up: recover when the cause is gone"
                ),
            ],
            "Service": [
                Directive("Type", "notify", "started means that it answers requests"),
                exec_condition,
                Directive("NotifyAccess", "exec", "ExecReload= reports in the status as well"),
                Directive("ExecStart", f"{command} serve"),
                Directive(
                    "ExecReload",
                    f"{command} reload $MAINPID",
                    "checks all fragments; fails, or returns when the new hub answers",
                ),
                Directive("Restart", "always"),
                Directive("RestartSec", "1"),
                Directive(
                    "TimeoutStartSec", "600", "of a reload too: a check, and at worst two hubs"
                ),
                Directive("TimeoutStopSec", "30"),
                Directive(
                    "KillMode", "mixed", "the supervisor stops the hub, which stops its services"
                ),
                Directive(
                    "LimitNOFILE",
                    "65536",
                    "it accepts connections until half of them are in use, at most 8192",
                ),
                Directive(
                    "MemoryMax",
                    "60%",
                    "a hub that needs more is replaced, which loses nothing; servers that a spawner"
                    " forks from the hub itself count as well and need a drop-in with more",
                ),
                Directive("LimitNICE", "+0", "the next hub prepares at low priority, then rises"),
                Directive("OOMScoreAdjust", "-500", "the kernel ends users' processes first"),
                Directive("OOMPolicy", "continue", "the supervisor handles it"),
                Directive("Environment", f"{PUBLIC_PORT}={ports.listen(ports.public)}"),
                Directive("Environment", f"{PROXY_API}={ports.api_address}"),
                Directive("Environment", f"{HTTPS_PORT}={ports.https}"),
                Directive(
                    "Environment",
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                ),
                Directive("WorkingDirectory", f"-{layout.hub_state}"),
                *_identity(layout),
                Directive(
                    "RuntimeDirectory", f"{layout.instance} {layout.server_environments.name}"
                ),
                Directive("RuntimeDirectoryMode", "0700"),
                Directive(
                    "RuntimeDirectoryPreserve",
                    "yes",
                    "the reason of the last failure, and the environments of running servers",
                ),
                Directive("UMask", "0077", "JupyterHub would create the database world-readable"),
                *_rights(layout),
                Directive("ProtectSystem", "strict"),
                Directive("PrivateMounts", "yes"),
                Directive("ProtectProc", "invisible"),
                Directive(
                    "RestrictAddressFamilies",
                    "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
                    "netlink: the C library lists addresses with it",
                ),
                *SANDBOX,
                Directive("SystemCallFilter", "@system-service"),
                *_no_more_calls(layout),
            ],
            "Install": [Directive("WantedBy", "multi-user.target")],
        },
    )


def _identity(layout: Layout) -> list[Directive]:
    return [] if layout.hub_user is None else [Directive("User", layout.hub_user)]


def _rights(layout: Layout) -> list[Directive]:
    if layout.hub_user is None:
        return [
            Directive(
                "CapabilityBoundingSet", "CAP_DAC_READ_SEARCH", "root's own files, of any mode"
            ),
            Directive(
                "PrivateUsers",
                "yes",
                "prevents changing the user; a spawner that does needs a drop-in"
                " (docs/how-to/slurm.md, other schedulers)",
            ),
            Directive("ReadWritePaths", str(layout.state)),
        ]
    # No PrivateUsers=: the hub makes a file readable for one other user, by user id.
    return [
        Directive("CapabilityBoundingSet", ""),
        Directive("AmbientCapabilities", ""),
        Directive("ReadWritePaths", f"{layout.hub_user_state} {layout.proxy_state}"),
    ]


def _no_more_calls(layout: Layout) -> list[Directive]:
    if layout.hub_user is None:
        return []
    return [Directive("SystemCallFilter", "~@privileged"), Directive("RemoveIPC", "yes")]
