"""The proxy's units: traefik as a dynamic user without a single capability, and its sockets."""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units.entry_points import API_ENTRY_POINT, HTTPS_ENTRY_POINT, PUBLIC_ENTRY_POINT
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import SANDBOX, Directive, Unit, base_directory_conditions

GRACE = "30m"
"""Time for which a traefik that was replaced keeps its connections.

A websocket lasts as long as a notebook is open. Half an hour lets most running cells deliver their
output undisturbed; afterwards JupyterLab reconnects by itself. A longer time would cost memory: 50
MB for each traefik.
"""


def public_socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.proxy_socket,
        f"The public port of the hub at {layout.base}. systemd holds it, so requests wait instead"
        "\nof failing while the proxy restarts, and the proxy needs no right to low ports."
        "\nTo change the address, write a drop-in with an empty ListenStream= and then the new"
        "\none, twice: the proxy accepts at one while the next one gets ready at the other."
        "\n(Once works too, but visitors may get a 404 at the moment of replacement.)"
        "\nTo add an entry point, write a socket unit like this one, with Service= and with the"
        "\nentry point's name as FileDescriptorName=, and a drop-in for the service that names it"
        "\nin Wants= and After=.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: public port")],
            "Socket": [
                Directive("ListenStream", ports.listen(ports.public)),
                Directive("ListenStream", ports.listen(ports.public)),
                Directive(
                    "FileDescriptorName",
                    PUBLIC_ENTRY_POINT,
                    "traefik's entry point of the same name takes this socket",
                ),
                *(_FREE_BIND if ports.host else _BOTH_VERSIONS),
                *_SOCKET,
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def api_socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.proxy_api_socket,
        f"Where the hub at {layout.base} reads which routes the proxy has loaded. systemd holds"
        "\nit, so that no other program can listen there and collect the password.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: proxy API")],
            "Socket": [
                Directive("ListenStream", ports.api_address),
                Directive("ListenStream", ports.api_address),
                Directive("FileDescriptorName", API_ENTRY_POINT),
                Directive("Service", layout.proxy_service),
                *_SOCKET,
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def https_socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.proxy_https_socket,
        f"The HTTPS port of the hub at {layout.base}; it listens only while a fragment configures"
        "\nHTTPS (20-https.py). Change its address in the same way as that of the public port.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: HTTPS port"),
                Directive(
                    "ConditionPathExists",
                    str(layout.https_marker),
                    "written by the hub when its configuration has HTTPS",
                ),
            ],
            "Socket": [
                Directive("ListenStream", ports.listen(ports.https)),
                Directive("ListenStream", ports.listen(ports.https)),
                Directive("FileDescriptorName", HTTPS_ENTRY_POINT),
                Directive("Service", layout.proxy_service),
                *(_FREE_BIND if ports.host else _BOTH_VERSIONS),
                *_SOCKET,
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def service(layout: Layout) -> Unit:
    condition, exec_condition = base_directory_conditions(layout.base)
    # -I: no PYTHON* variables and no ~/.local change what we run.
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub.proxy.supervisor"
    sockets = f"{layout.proxy_socket} {layout.proxy_api_socket} {layout.proxy_https_socket}"
    runtime_directory = layout.proxy_control.parent
    return Unit(
        layout.proxy_service,
        f"traefik in front of the hub at {layout.base} and of all user servers."
        f"\nReload and restart lose no request: the next traefik takes over when it is ready, and"
        f"\nthe one before it keeps its connections for {GRACE}."
        f"\nIts sockets start it again. To stop it for good, connections included:"
        f"\n`systemctl stop {sockets}"
        f"\n{layout.proxy_service}`.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: proxy"),
                Directive("Wants", sockets),
                Directive("After", f"network.target {sockets}"),
                Directive("RequiresMountsFor", str(layout.base)),
                condition,
                Directive(
                    "StartLimitIntervalSec", "0", "never give up: recover when the cause is gone"
                ),
            ],
            "Service": [
                Directive("Type", "notify", "active means that it serves with all routes"),
                exec_condition,
                Directive(
                    "ExecStartPre",
                    f"-+/bin/chown -R --reference={runtime_directory} {layout.acme}",
                    "its user may have another uid than last time; it may have been removed",
                ),
                Directive(
                    "ExecStart",
                    f"{command} supervise {layout.static_config} {layout.proxy_control}",
                ),
                Directive(
                    "ExecReload",
                    f"{command} reload {layout.proxy_control}",
                    "returns when another traefik serves, or fails and the old one goes on",
                ),
                Directive(
                    "KillMode",
                    "process",
                    "the traefik that serves outlives its supervisor; the next one finds it",
                ),
                Directive(
                    "ExecStopPost",
                    f"-+/bin/sh -c 'systemctl list-jobs --no-legend {layout.proxy_service}"
                    f' | grep -q " stop " && systemctl kill --signal=KILL {layout.proxy_service}\'',
                    "end all processes on `stop`, but not on a restart or after a crash",
                ),
                Directive(
                    "NonBlocking", "yes", "the sockets are in use while the supervisor starts"
                ),
                Directive("Restart", "always"),
                Directive(
                    "RestartSec", "300ms", "visitors wait; a taken port must not cause a busy loop"
                ),
                Directive("TimeoutStartSec", "60"),
                Directive("TimeoutStopSec", "15"),
                Directive("LimitNOFILE", "524288", "systemd's default on most machines"),
                Directive(
                    "MemoryMax",
                    "40%",
                    "strangers can make traefik keep many answers; one that needs more is replaced",
                ),
                Directive("OOMScoreAdjust", "-500", "users' kernels are killed first"),
                Directive("OOMPolicy", "continue", "the supervisor starts another traefik"),
                Directive("DynamicUser", "yes", "a user that exists as long as the service runs"),
                Directive("User", layout.proxy_user),
                Directive("RuntimeDirectory", runtime_directory.name),
                Directive("RuntimeDirectoryMode", "0700"),
                Directive("RuntimeDirectoryPreserve", "restart", "it records which traefiks run"),
                Directive("UMask", "0077"),
                Directive(
                    "TemporaryFileSystem",
                    f"{layout.state}:ro",
                    "of state/ (database, secrets) it sees only its own configuration",
                ),
                Directive("BindReadOnlyPaths", str(layout.proxy_state)),
                Directive("BindPaths", f"-{layout.acme}", "certificates that it obtains by ACME"),
                Directive(
                    "CapabilityBoundingSet", "", "its ports are inherited: it needs no privilege"
                ),
                Directive("AmbientCapabilities", ""),
                Directive("PrivateUsers", "yes"),
                Directive("ProtectSystem", "strict", "it writes no other file"),
                Directive("PrivateMounts", "yes"),
                Directive("ProtectProc", "invisible", "it sees only its own processes"),
                Directive("ProcSubset", "pid"),
                Directive("MemoryDenyWriteExecute", "yes"),
                Directive("RemoveIPC", "yes"),
                Directive("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
                *SANDBOX,
                Directive("SystemCallFilter", "@system-service"),
                Directive("SystemCallFilter", "~@privileged @resources"),
            ],
            "Install": [Directive("WantedBy", "multi-user.target")],
        },
    )


_FREE_BIND = (Directive("FreeBind", "yes", "at boot the address may come later than the socket"),)
_BOTH_VERSIONS = (
    Directive("BindIPv6Only", "both", "IPv4 as well, even if net.ipv6.bindv6only is 1"),
)
_SOCKET = (
    Directive("ReusePort", "yes", "see above: two sockets for each address"),
    Directive("Backlog", "4096", "how many requests may wait while the proxy restarts"),
    Directive("NoDelay", "yes"),
)
