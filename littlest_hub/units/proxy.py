"""The proxy: traefik as a user that systemd lends it, without a single capability."""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units.entry_points import API_ENTRY_POINT, HTTPS_ENTRY_POINT, PUBLIC_ENTRY_POINT
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import SANDBOX, Setting, Unit, while_there

GRACE = "30m"
"""How long connections outlive the traefik that was replaced.

A websocket lasts as long as a notebook is open; half an hour lets most of the cells that run now
deliver their output undisturbed. JupyterLab connects again by itself afterwards. More would be
memory: some 50 MB for each.
"""


def public_socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.proxy_socket,
        f"The public port of the hub at {layout.base}. systemd holds it, so requests wait instead"
        "\nof failing while the proxy restarts, and the proxy needs no right to low ports."
        "\nAnother address: a drop-in with an empty ListenStream= and then the new one, twice: a"
        "\nproxy that is replaced accepts at one while the next one prepares itself at the other."
        "\n(Once will do as well; a visitor may then meet a 404 at the moment of replacement.)"
        "\nOne more entry point: a socket unit of your own like this one, with Service= and, as"
        "\nFileDescriptorName=, the entry point's name; and a drop-in for the service that has it"
        "\nin Wants= and After=.",
        {
            "Unit": [Setting("Description", f"Littlest Hub at {layout.base}: public port")],
            "Socket": [
                Setting("ListenStream", ports.listen(ports.public)),
                Setting("ListenStream", ports.listen(ports.public)),
                Setting(
                    "FileDescriptorName",
                    PUBLIC_ENTRY_POINT,
                    "traefik's entry point of the same name takes this socket",
                ),
                *(_EARLY if ports.host else ()),
                *_SOCKET,
            ],
            "Install": [Setting("WantedBy", "sockets.target")],
        },
    )


def api_socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.proxy_api_socket,
        f"Where the hub at {layout.base} asks the proxy which routes it has loaded. Held by"
        "\nsystemd, so that no other program can ever listen there and collect the password.",
        {
            "Unit": [Setting("Description", f"Littlest Hub at {layout.base}: proxy API")],
            "Socket": [
                Setting("ListenStream", ports.api_address),
                Setting("ListenStream", ports.api_address),
                Setting("FileDescriptorName", API_ENTRY_POINT),
                Setting("Service", layout.proxy_service),
                *_SOCKET,
            ],
            "Install": [Setting("WantedBy", "sockets.target")],
        },
    )


def https_socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.proxy_https_socket,
        f"The port for HTTPS of the hub at {layout.base}; it listens only while a fragment asks for"
        "\nHTTPS (20-https.py). Another address: as for the public port.",
        {
            "Unit": [
                Setting("Description", f"Littlest Hub at {layout.base}: HTTPS port"),
                Setting(
                    "ConditionPathExists",
                    str(layout.https_marker),
                    "written by the hub when its configuration has HTTPS",
                ),
            ],
            "Socket": [
                Setting("ListenStream", ports.listen(ports.https)),
                Setting("ListenStream", ports.listen(ports.https)),
                Setting("FileDescriptorName", HTTPS_ENTRY_POINT),
                Setting("Service", layout.proxy_service),
                *(_EARLY if ports.host else ()),
                *_SOCKET,
            ],
            "Install": [Setting("WantedBy", "sockets.target")],
        },
    )


def service(layout: Layout) -> Unit:
    condition, exec_condition = while_there(layout.base)
    # -I: neither the caller's PYTHON* variables nor somebody's ~/.local decide what we run.
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub.proxy.supervisor"
    sockets = f"{layout.proxy_socket} {layout.proxy_api_socket} {layout.proxy_https_socket}"
    runtime_directory = layout.proxy_control.parent
    return Unit(
        layout.proxy_service,
        f"traefik in front of the hub at {layout.base} and of everybody's servers."
        f"\nReload and restart lose no request: the next traefik takes over when it is ready, and"
        f"\nthe one before it keeps its connections for {GRACE}."
        f"\nIts sockets start it again: `systemctl stop {sockets}"
        f"\n{layout.proxy_service}` stops it for good, connections included.",
        {
            "Unit": [
                Setting("Description", f"Littlest Hub at {layout.base}: proxy"),
                Setting("Wants", sockets),
                Setting("After", f"network.target {sockets}"),
                Setting("RequiresMountsFor", str(layout.base)),
                condition,
                Setting("StartLimitIntervalSec", "0", "never give up: heal when the cause goes"),
            ],
            "Service": [
                Setting("Type", "notify", "started means: serves with all routes"),
                exec_condition,
                Setting(
                    "ExecStartPre",
                    f"-+/bin/chown -R --reference={runtime_directory} {layout.acme}",
                    "its user may be another one than last time; or somebody has removed it",
                ),
                Setting(
                    "ExecStart",
                    f"{command} supervise {layout.static_config} {layout.proxy_control}",
                ),
                Setting(
                    "ExecReload",
                    f"{command} reload {layout.proxy_control}",
                    "returns when another traefik serves; or fails, and the old one goes on",
                ),
                Setting(
                    "KillMode",
                    "process",
                    "the traefik that serves outlives its supervisor, whose successor finds it",
                ),
                Setting(
                    "ExecStopPost",
                    f"-+/bin/sh -c 'systemctl list-jobs --no-legend {layout.proxy_service}"
                    f' | grep -q " stop " && systemctl kill --signal=KILL {layout.proxy_service}\'',
                    "unless it is to stop, which a restart or a crash is not",
                ),
                Setting("NonBlocking", "yes", "the sockets are in use while the supervisor starts"),
                Setting("Restart", "always"),
                Setting("RestartSec", "300ms", "visitors wait; a busy port is no busy loop"),
                Setting("TimeoutStartSec", "60"),
                Setting("TimeoutStopSec", "15"),
                Setting("OOMScoreAdjust", "-500", "a user's kernel has to go first"),
                Setting("OOMPolicy", "continue", "the supervisor sees to it"),
                Setting("DynamicUser", "yes", "a user that exists as long as the service runs"),
                Setting("User", layout.proxy_user),
                Setting("RuntimeDirectory", runtime_directory.name),
                Setting("RuntimeDirectoryMode", "0700"),
                Setting(
                    "RuntimeDirectoryPreserve", "restart", "which traefiks run stands in there"
                ),
                Setting("UMask", "0077"),
                Setting(
                    "TemporaryFileSystem",
                    f"{layout.state}:ro",
                    "of state/ (database, secrets) it sees its own configuration and nothing else",
                ),
                Setting("BindReadOnlyPaths", str(layout.proxy_state)),
                Setting("BindPaths", f"-{layout.acme}", "certificates that it obtains itself"),
                Setting(
                    "CapabilityBoundingSet", "", "its ports are inherited: it needs no privilege"
                ),
                Setting("AmbientCapabilities", ""),
                Setting("PrivateUsers", "yes"),
                Setting("ProtectSystem", "strict", "it writes no other file"),
                Setting("PrivateMounts", "yes"),
                Setting("ProtectProc", "invisible", "it sees no process but its own"),
                Setting("ProcSubset", "pid"),
                Setting("MemoryDenyWriteExecute", "yes"),
                Setting("RemoveIPC", "yes"),
                Setting("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
                *SANDBOX,
                Setting("SystemCallFilter", "@system-service"),
                Setting("SystemCallFilter", "~@privileged @resources"),
            ],
            "Install": [Setting("WantedBy", "multi-user.target")],
        },
    )


_EARLY = (Setting("FreeBind", "yes", "at boot the address may come later than the socket"),)
_SOCKET = (
    Setting("ReusePort", "yes", "see above: two sockets for each address"),
    Setting("Backlog", "4096", "how many requests may wait while nobody listens"),
    Setting("NoDelay", "yes"),
)
