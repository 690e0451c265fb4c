"""The hub: JupyterHub, as root because it starts servers as other users, and little more.

Or as a user of its own (`layout.hub_user`), which has root's help in two things: see
`services.unprivileged`.
"""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units.environment import HTTPS_PORT, PROXY_API, PUBLIC_PORT
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions


def socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.hub_socket,
        f"Where the hub at {layout.base} listens for the proxy and for user servers. systemd holds"
        "\nit, so requests wait instead of failing while the hub restarts or reloads."
        "\nServers on other machines: a drop-in with one more ListenStream= on the cluster's"
        "\naddress, and c.JupyterHub.hub_connect_url in a fragment.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: hub port"),
                Directive("StartLimitIntervalSec", "0", "never give up: heal when the cause goes"),
            ],
            "Socket": [
                Directive("ListenStream", ports.hub_address),
                Directive("Backlog", "4096", "how many requests may wait while nobody listens"),
                Directive("NoDelay", "yes"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def service(layout: Layout, ports: Ports) -> Unit:
    # -I: neither the caller's PYTHON* variables nor somebody's ~/.local decide what we run.
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub"
    condition, exec_condition = base_directory_conditions(layout.base)
    return Unit(
        layout.hub_service,
        f"JupyterHub of {layout.base}, configured by {layout.fragments}/*.py."
        f"\n`systemctl reload {layout.hub_service}` checks and applies a change there."
        f"\nIts socket starts it again: `systemctl stop {layout.hub_socket}` stops it for good."
        "\nUser servers are units of their own and are not limited by what stands here; a spawner"
        "\nthat forks them from the hub itself needs a drop-in that takes some of it back.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: hub"),
                Directive(
                    "Wants",
                    " ".join([layout.hub_socket, layout.proxy_service, *_helpers(layout)]),
                    "not Requires: without its port it says who has it, and tries again",
                ),
                Directive(
                    "After",
                    f"network.target nss-user-lookup.target {layout.hub_socket}"
                    f" {layout.proxy_service}",
                ),
                Directive("RequiresMountsFor", str(layout.base)),
                condition,
                Directive("StartLimitIntervalSec", "0", "never give up: heal when the cause goes"),
            ],
            "Service": [
                Directive("Type", "notify", "started means: answers requests"),
                exec_condition,
                Directive(
                    "NotifyAccess", "exec", "ExecReload= too says in the status what is wrong"
                ),
                Directive("ExecStart", f"{command} serve"),
                Directive(
                    "ExecReload",
                    f"{command} reload $MAINPID",
                    "checks all fragments; refuses, or returns when the new hub answers",
                ),
                Directive("Restart", "always"),
                Directive("RestartSec", "1"),
                Directive("TimeoutStartSec", "240"),
                Directive("TimeoutStopSec", "30"),
                Directive("KillMode", "mixed", "the supervisor ends the hub, the hub its services"),
                Directive("LimitNICE", "+0", "the next hub prepares at low priority, then rises"),
                Directive("OOMScoreAdjust", "-500", "a user's kernel has to go first"),
                Directive("OOMPolicy", "continue", "the supervisor sees to it"),
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
                    "why the last attempt failed, and the environments of servers that go on",
                ),
                Directive("UMask", "0077", "the database is made world-readable otherwise"),
                *_rights(layout),
                Directive("ProtectSystem", "strict"),
                Directive("PrivateMounts", "yes"),
                Directive("ProtectProc", "invisible"),
                Directive(
                    "RestrictAddressFamilies",
                    "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
                    "netlink: how the C library lists addresses",
                ),
                *SANDBOX,
                Directive("SystemCallFilter", "@system-service"),
                *_no_more_calls(layout),
            ],
            "Install": [Directive("WantedBy", "multi-user.target")],
        },
    )


def _helpers(layout: Layout) -> list[str]:
    return [] if layout.hub_user is None else [layout.password_socket]


def _identity(layout: Layout) -> list[Directive]:
    return [] if layout.hub_user is None else [Directive("User", layout.hub_user)]


def _rights(layout: Layout) -> list[Directive]:
    if layout.hub_user is None:
        return [
            Directive(
                "CapabilityBoundingSet",
                "CAP_DAC_READ_SEARCH",
                "PAM's shadow file, where root itself may not read it",
            ),
            Directive(
                "PrivateUsers",
                "yes",
                "that capability counts for root's own files, and nobody else can be become;"
                " what has to has a drop-in: see 50-slurm.conf of the catalogue",
            ),
            Directive("ReadWritePaths", str(layout.state)),
        ]
    return [
        Directive("CapabilityBoundingSet", ""),
        Directive("AmbientCapabilities", ""),
        Directive("ReadWritePaths", f"{layout.own_state} {layout.proxy_state}"),
    ]


def _no_more_calls(layout: Layout) -> list[Directive]:
    if layout.hub_user is None:
        return []
    # No PrivateUsers=: it lets one other user read a file, by that user's number.
    return [Directive("SystemCallFilter", "~@privileged"), Directive("RemoveIPC", "yes")]
