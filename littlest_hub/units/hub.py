"""The hub: JupyterHub, as root because it starts servers as other users, and little more.

Or as a user of its own (`layout.hub_user`), which has root's help in two things: see
`services.unprivileged`.
"""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units.environment import HTTPS_PORT, PROXY_API, PUBLIC_PORT
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import SANDBOX, Setting, Unit, while_there


def socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.hub_socket,
        f"Where the hub at {layout.base} listens for the proxy and for user servers. systemd holds"
        "\nit, so requests wait instead of failing while the hub restarts or reloads."
        "\nServers on other machines: a drop-in with one more ListenStream= on the cluster's"
        "\naddress, and c.JupyterHub.hub_connect_url in a fragment.",
        {
            "Unit": [
                Setting("Description", f"Littlest Hub at {layout.base}: hub port"),
                Setting("StartLimitIntervalSec", "0", "never give up: heal when the cause goes"),
            ],
            "Socket": [
                Setting("ListenStream", ports.hub_address),
                Setting("Backlog", "4096", "how many requests may wait while nobody listens"),
                Setting("NoDelay", "yes"),
            ],
            "Install": [Setting("WantedBy", "sockets.target")],
        },
    )


def service(layout: Layout, ports: Ports) -> Unit:
    # -I: neither the caller's PYTHON* variables nor somebody's ~/.local decide what we run.
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub"
    condition, exec_condition = while_there(layout.base)
    return Unit(
        layout.hub_service,
        f"JupyterHub of {layout.base}, configured by {layout.fragments}/*.py."
        f"\n`systemctl reload {layout.hub_service}` checks and applies a change there."
        f"\nIts socket starts it again: `systemctl stop {layout.hub_socket}` stops it for good."
        "\nUser servers are units of their own and are not limited by what stands here; a spawner"
        "\nthat forks them from the hub itself needs a drop-in that takes some of it back.",
        {
            "Unit": [
                Setting("Description", f"Littlest Hub at {layout.base}: hub"),
                Setting(
                    "Wants",
                    " ".join([layout.hub_socket, layout.proxy_service, *_helpers(layout)]),
                    "not Requires: without its port it says who has it, and tries again",
                ),
                Setting(
                    "After",
                    f"network.target nss-user-lookup.target {layout.hub_socket}"
                    f" {layout.proxy_service}",
                ),
                Setting("RequiresMountsFor", str(layout.base)),
                condition,
                Setting("StartLimitIntervalSec", "0", "never give up: heal when the cause goes"),
            ],
            "Service": [
                Setting("Type", "notify", "started means: answers requests"),
                exec_condition,
                Setting("NotifyAccess", "exec", "ExecReload= too says in the status what is wrong"),
                Setting("ExecStart", f"{command} serve"),
                Setting(
                    "ExecReload",
                    f"{command} reload $MAINPID",
                    "checks all fragments; refuses, or returns when the new hub answers",
                ),
                Setting("Restart", "always"),
                Setting("RestartSec", "1"),
                Setting("TimeoutStartSec", "240"),
                Setting("TimeoutStopSec", "30"),
                Setting("KillMode", "mixed", "the supervisor ends the hub, the hub its services"),
                Setting("LimitNICE", "+0", "the next hub prepares at low priority, then rises"),
                Setting("OOMScoreAdjust", "-500", "a user's kernel has to go first"),
                Setting("OOMPolicy", "continue", "the supervisor sees to it"),
                Setting("Environment", f"{PUBLIC_PORT}={ports.listen(ports.public)}"),
                Setting("Environment", f"{PROXY_API}={ports.api_address}"),
                Setting("Environment", f"{HTTPS_PORT}={ports.https}"),
                Setting(
                    "Environment",
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                ),
                Setting("WorkingDirectory", f"-{layout.hub_state}"),
                *_identity(layout),
                Setting("RuntimeDirectory", f"{layout.instance} {layout.server_environments.name}"),
                Setting("RuntimeDirectoryMode", "0700"),
                Setting(
                    "RuntimeDirectoryPreserve",
                    "yes",
                    "why the last attempt failed, and the environments of servers that go on",
                ),
                Setting("UMask", "0077", "the database is made world-readable otherwise"),
                *_rights(layout),
                Setting("ProtectSystem", "strict"),
                Setting("PrivateMounts", "yes"),
                Setting("ProtectProc", "invisible"),
                Setting(
                    "RestrictAddressFamilies",
                    "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
                    "netlink: how the C library lists addresses",
                ),
                *SANDBOX,
                Setting("SystemCallFilter", "@system-service"),
                *_no_more_calls(layout),
            ],
            "Install": [Setting("WantedBy", "multi-user.target")],
        },
    )


def _helpers(layout: Layout) -> list[str]:
    return [] if layout.hub_user is None else [layout.password_socket]


def _identity(layout: Layout) -> list[Setting]:
    return [] if layout.hub_user is None else [Setting("User", layout.hub_user)]


def _rights(layout: Layout) -> list[Setting]:
    if layout.hub_user is None:
        return [
            Setting(
                "CapabilityBoundingSet",
                "CAP_DAC_READ_SEARCH",
                "PAM's shadow file, where root itself may not read it",
            ),
            Setting(
                "PrivateUsers",
                "yes",
                "that capability counts for root's own files, and nobody else can be become;"
                " what has to has a drop-in: see 50-slurm.conf of the catalogue",
            ),
            Setting("ReadWritePaths", str(layout.state)),
        ]
    return [
        Setting("CapabilityBoundingSet", ""),
        Setting("AmbientCapabilities", ""),
        Setting("ReadWritePaths", f"{layout.own_state} {layout.proxy_state}"),
    ]


def _no_more_calls(layout: Layout) -> list[Setting]:
    if layout.hub_user is None:
        return []
    # No PrivateUsers=: it lets one other user read a file, by that user's number.
    return [Setting("SystemCallFilter", "~@privileged"), Setting("RemoveIPC", "yes")]
