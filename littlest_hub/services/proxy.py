"""The proxy: traefik as a user of its own, without a single capability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import toml

from littlest_hub.layout import Layout
from littlest_hub.services.ports import Ports
from littlest_hub.services.unit import SANDBOX, Setting, Unit, while_there

# Names of traefik's entry points. traefik takes an inherited socket for the entry point that has
# the socket's FileDescriptorName=; jupyterhub-traefik-proxy expects "http" and "auth_api".
PUBLIC_ENTRY_POINT = "http"
API_ENTRY_POINT = "auth_api"


def static_config(*, public: str, api: str, dynamic_config: Path) -> dict[str, Any]:
    """traefik's static configuration.

    Args:
        public: address ("host:port", ":port") of the public entry point.
        api: the same of the entry point that the hub asks.
        dynamic_config: directory of the dynamic configuration.

    Option names: https://doc.traefik.io/traefik/reference/install-configuration/
    """
    http = {
        # X_Forwarded_For and the like, which some backends read as X-Forwarded-For, are dropped.
        "aliasHeadersStrategy": "delete",
        # File names have all of these in them; only NUL is in nobody's.
        "encodedCharacters": {
            "allowEncodedSlash": True,
            "allowEncodedBackSlash": True,
            "allowEncodedNullCharacter": False,
            "allowEncodedSemicolon": True,
            "allowEncodedPercent": True,
            "allowEncodedQuestionMark": True,
            "allowEncodedHash": True,
        },
    }
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN", "noColor": True},
        # Failures only, and no header: cookies and tokens are in them.
        "accessLog": {
            "filters": {"statusCodes": ["500-599"]},
            "fields": {"headers": {"defaultMode": "drop"}},
        },
        "api": {"dashboard": False},
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"directory": str(dynamic_config), "watch": True},
        },
        "entryPoints": {
            PUBLIC_ENTRY_POINT: {
                "address": public,
                "http": http,
                "transport": {
                    # An upload may take longer than the minute that is the default.
                    "respondingTimeouts": {"readTimeout": "10m", "idleTimeout": "10m"},
                    # The socket is systemd's: what waits is served by the next proxy, so the
                    # sooner this one is gone the better.
                    "lifeCycle": {"graceTimeOut": "0s"},
                },
            },
            API_ENTRY_POINT: {
                "address": api,
                "http": http,
                "transport": {"lifeCycle": {"graceTimeOut": "0s"}},
            },
        },
    }


class _Encoder(toml.TomlEncoder):  # type: ignore[type-arg]
    """toml's own string quoting loses backslashes; JSON's is TOML's but for DEL."""

    def __init__(self) -> None:
        super().__init__()
        self.dump_funcs[str] = lambda text: json.dumps(text, ensure_ascii=False).replace(
            "\x7f", "\\u007f"
        )


def to_toml(data: dict[str, Any]) -> str:
    """TOML text that reads back as the same data, whatever the strings in it."""
    return str(toml.dumps(data, encoder=_Encoder()))


def public_socket(layout: Layout, ports: Ports) -> Unit:
    return Unit(
        layout.proxy_socket,
        f"The public port of the hub at {layout.base}. systemd holds it, so requests wait instead"
        "\nof failing while the proxy restarts, and the proxy needs no right to low ports."
        "\nAnother address: a drop-in with an empty ListenStream= and then the new one.",
        {
            "Unit": [Setting("Description", f"Littlest Hub at {layout.base}: public port")],
            "Socket": [
                Setting("ListenStream", str(ports.public)),
                Setting(
                    "FileDescriptorName",
                    PUBLIC_ENTRY_POINT,
                    "traefik's entry point of the same name takes this socket",
                ),
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
                Setting("FileDescriptorName", API_ENTRY_POINT),
                Setting("Service", layout.proxy_service),
                *_SOCKET,
            ],
            "Install": [Setting("WantedBy", "sockets.target")],
        },
    )


def service(layout: Layout) -> Unit:
    condition, exec_condition = while_there(layout.base)
    return Unit(
        layout.proxy_service,
        f"traefik in front of the hub at {layout.base} and of everybody's servers."
        f"\nIts sockets start it again: `systemctl stop {layout.proxy_socket}"
        f" {layout.proxy_api_socket}`"
        "\nstops it for good.",
        {
            "Unit": [
                Setting("Description", f"Littlest Hub at {layout.base}: proxy"),
                Setting("Requires", f"{layout.proxy_socket} {layout.proxy_api_socket}"),
                Setting("After", f"network.target {layout.proxy_socket} {layout.proxy_api_socket}"),
                Setting("RequiresMountsFor", str(layout.base)),
                condition,
                Setting("StartLimitIntervalSec", "0", "never give up: heal when the cause goes"),
            ],
            "Service": [
                Setting("Type", "notify"),
                exec_condition,
                Setting(
                    "ExecStart",
                    f"{layout.hub}/bin/traefik --configFile={layout.static_config}",
                ),
                Setting("Restart", "always"),
                Setting("RestartSec", "1"),
                Setting("TimeoutStopSec", "15"),
                Setting("OOMScoreAdjust", "-500", "a user's kernel has to go first"),
                Setting("DynamicUser", "yes", "a user that exists while it runs"),
                Setting("User", layout.proxy_user),
                Setting("UMask", "0077"),
                Setting(
                    "TemporaryFileSystem",
                    f"{layout.state}:ro",
                    "of state/ (database, secrets) it sees its own configuration and nothing else",
                ),
                Setting("BindReadOnlyPaths", str(layout.proxy_state)),
                Setting(
                    "CapabilityBoundingSet", "", "its ports are inherited: it needs no privilege"
                ),
                Setting("AmbientCapabilities", ""),
                Setting("PrivateUsers", "yes"),
                Setting("ProtectSystem", "strict", "it writes no file"),
                Setting("PrivateMounts", "yes"),
                Setting("ProtectProc", "invisible", "it sees no other process"),
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


_SOCKET = (
    Setting("Backlog", "4096", "how many requests may wait while nobody listens"),
    Setting("NoDelay", "yes"),
)
