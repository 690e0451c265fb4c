"""Units of root's helpers: programs that do single things for which the hub has no rights.

The hub connects to a socket that only it can open, and systemd starts a helper for the connection.
A helper runs programs that expect a root without a sandbox: modules of PAM (faillock writes its
records, google-authenticator becomes the user and writes to the home directory, others mount it or
ask the network), and programs that create accounts and directories. So what is taken from them is
only what none of these does; a drop-in may take more.
"""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units.unit import Directive, Unit, base_directory_conditions

MAX_CONNECTIONS = 64
"""The most helpers that run at once for each socket; systemd closes further connections."""
HOOK_TIMEOUT_S = 300
"""Time limit of a hook."""

_RESTRICTIONS = (
    Directive("LockPersonality", "yes"),
    Directive("RestrictRealtime", "yes"),
    Directive("SystemCallArchitectures", "native"),
    Directive("SystemCallErrorNumber", "EPERM"),
    Directive(
        "SystemCallFilter",
        "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap",
        "no more than this: PAM's modules and hooks need almost everything that root may do",
    ),
    Directive(
        "CapabilityBoundingSet",
        "~CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_TIME CAP_SYSLOG",
    ),
)


def units(layout: Layout) -> list[Unit]:
    """Return these units, in the order of `layout.helper_units`."""
    group = [layout.users_group] if layout.hub_user else []
    return [
        helper_socket(layout, layout.password_socket, str(layout.password_address), "passwords"),
        helper_service(
            layout,
            layout.password_service,
            "Asks PAM about one user, as login(1) does.",
            ["littlest_hub.helpers.pam", *group, *([str(layout.fragments)] if group else [])],
            timeout_s=60,
        ),
        helper_socket(layout, layout.hook_socket, str(layout.hook_address), "root's hooks"),
        helper_service(
            layout,
            layout.hook_service,
            f"Creates an account, or runs a program of {layout.root_hooks}, for one user.",
            ["littlest_hub.helpers.hooks", str(layout.root_hooks), *group],
            timeout_s=HOOK_TIMEOUT_S + 10,
        ),
    ]


def helper_socket(layout: Layout, name: str, address: str, what: str) -> Unit:
    """Return the socket of a helper, which only the hub can open.

    Args:
        layout: the installation.
        name: of the unit.
        address: path of the socket.
        what: what is requested there, for people.
    """
    return Unit(
        name,
        f"The hub at {layout.base} sends requests to a helper of root's here.",
        {
            "Unit": [Directive("Description", f"Littlest Hub at {layout.base}: {what}")],
            "Socket": [
                Directive("ListenStream", address),
                Directive("SocketUser", layout.hub_user or "root"),
                Directive("SocketMode", "0600", "only the hub connects"),
                Directive("Accept", "yes"),
                Directive("MaxConnections", str(MAX_CONNECTIONS)),
                Directive(
                    "TriggerLimitIntervalSec", "0", "never give up; the hub limits its requests"
                ),
                Directive("RemoveOnStop", "yes"),
            ],
            "Install": [Directive("WantedBy", "sockets.target")],
        },
    )


def helper_service(
    layout: Layout, name: str, about: str, command: list[str], timeout_s: int
) -> Unit:
    """Return the template unit of a helper: one instance for each connection.

    Args:
        layout: the installation.
        name: of the unit.
        about: what it does, for the comment at the top of the unit file.
        command: module and arguments.
        timeout_s: how long it may take.
    """
    condition, _ = base_directory_conditions(layout.base)
    python = f"{layout.hub}/bin/python3 -I -m"
    return Unit(
        name,
        about,
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: a request to root"),
                Directive("CollectMode", "inactive-or-failed"),
                condition,
            ],
            "Service": [
                Directive("ExecStart", " ".join([python, *command])),
                Directive("StandardInput", "socket"),
                Directive("StandardOutput", "socket"),
                Directive("StandardError", "journal"),
                Directive("RuntimeMaxSec", str(timeout_s)),
                Directive("TimeoutStopSec", "5"),
                Directive("MemoryMax", "512M"),
                Directive("TasksMax", "64"),
                *_RESTRICTIONS,
            ],
        },
    )
