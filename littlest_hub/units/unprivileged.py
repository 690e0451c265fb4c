"""A hub that is not root: what it may have done by root, which is all that stands here.

The hub's user may ask systemd to start and stop the servers of the members of one group, and a
helper (`littlest_hub.unprivileged.pam_helper`) whether their passwords are right. Neither of them
opens a file that the hub's user can write or replace: what a server is to be told, its own user's
`littlest_hub.unprivileged.launcher` reads.
"""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units import server
from littlest_hub.units.names import FIRST_UID, UNIT_USER_NAME
from littlest_hub.units.unit import SANDBOX, Setting, Unit, while_there


def user_template(layout: Layout) -> Unit:
    """The unit of each user server; all that root does for a hub that asks for one."""
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub.unprivileged.launcher"
    properties = server.properties(layout, server.Account("%i", None, -1, -1))
    limits = [
        Setting(key, value)
        for key, values in properties.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return Unit(
        layout.user_template,
        f"The server of somebody who uses the hub at {layout.base}, which is not root: it starts"
        "\nand stops this unit, and has no say in what stands here. So limits are not in fragments"
        f"\nbut in drop-ins: for everybody as below, for alice with"
        f" `systemctl edit {layout.user_template.replace('@', '@alice')}`.",
        {
            "Unit": [
                Setting("Description", f"Littlest Hub at {layout.base}: server of %i"),
                Setting("CollectMode", "inactive-or-failed"),
            ],
            "Service": [
                Setting("Type", "exec"),
                Setting("User", "%i"),
                Setting(
                    "ExecCondition",
                    f"/bin/sh -c 'test $$(id -u) -ge {FIRST_UID} &&"
                    f' case " $$(id -Gn) " in *" {layout.users_group} "*) ;; *) exit 1 ;; esac\'',
                    "people only, and only members of the group; asked as who it is about",
                ),
                Setting(
                    "ExecStart",
                    f"{command} {layout.server_environments}/%p@%i.env",
                    "reads there, as this user, what the hub wants to be run as this user",
                ),
                Setting("WorkingDirectory", "-~"),
                Setting("NoNewPrivileges", "yes"),
                *(each for each in limits if each.key != "NoNewPrivileges"),
            ],
        },
    )


def password_socket(layout: Layout) -> Unit:
    return Unit(
        layout.password_socket,
        f"Where the hub at {layout.base}, which is not root, asks whether a password is right.",
        {
            "Unit": [Setting("Description", f"Littlest Hub at {layout.base}: passwords")],
            "Socket": [
                Setting("ListenStream", str(layout.password_address)),
                Setting("SocketUser", str(layout.hub_user)),
                Setting("SocketMode", "0600", "nobody else asks"),
                Setting("Accept", "yes"),
                Setting("MaxConnections", "16"),
                Setting("RemoveOnStop", "yes"),
            ],
            "Install": [Setting("WantedBy", "sockets.target")],
        },
    )


def password_service(layout: Layout) -> Unit:
    condition, _ = while_there(layout.base)
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub.unprivileged.pam_helper"
    return Unit(
        layout.password_service,
        "Answers one question, yes or no, with the machine's PAM service `login`; of members of"
        f"\nthe group {layout.users_group} only.",
        {
            "Unit": [
                Setting("Description", f"Littlest Hub at {layout.base}: a password"),
                Setting("CollectMode", "inactive-or-failed"),
                condition,
            ],
            "Service": [
                Setting("ExecStart", f"{command} {layout.users_group}"),
                Setting("StandardInput", "socket"),
                Setting("StandardOutput", "socket"),
                Setting("StandardError", "journal"),
                Setting("RuntimeMaxSec", "60"),
                Setting("UMask", "0077"),
                Setting(
                    "CapabilityBoundingSet",
                    "CAP_DAC_READ_SEARCH CAP_AUDIT_WRITE",
                    "PAM's shadow file, PAM's audit record",
                ),
                Setting("ProtectSystem", "strict"),
                Setting("ReadWritePaths", "-/run/faillock -/var/lib/faillock -/var/log/faillog"),
                Setting("InaccessiblePaths", f"-{layout.own_state} -{layout.run_directory}"),
                Setting("PrivateMounts", "yes"),
                Setting("ProtectProc", "invisible"),
                Setting("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
                Setting("MemoryMax", "256M"),
                Setting("TasksMax", "32"),
                *SANDBOX,
                Setting("SystemCallFilter", "@system-service"),
            ],
        },
    )


def units(layout: Layout) -> list[Unit]:
    """In the order of `layout.unprivileged_units`."""
    return [password_socket(layout), password_service(layout), user_template(layout)]


def polkit_rule(layout: Layout) -> str:
    """All that the hub's user may ask of a program that is root (polkit(8))."""
    user = UNIT_USER_NAME
    template = layout.user_template.removesuffix("@.service").replace(".", r"\.")
    return f"""\
// Written by `littlest-hub install`: the hub at {layout.base} runs as {layout.hub_user}, and this
// is all that {layout.hub_user} may ask of systemd, and of any other program that asks polkit.
polkit.addRule(function (action, subject) {{
    if (subject.user !== "{layout.hub_user}")
        return polkit.Result.NOT_HANDLED;
    if (action.id !== "org.freedesktop.systemd1.manage-units")
        return polkit.Result.NO;
    var unit = action.lookup("unit"), verb = action.lookup("verb");
    var verbs = /^{template}@{user}\\.service$/.test(unit) ? ["start", "stop", "reset-failed"]
        : unit === "{layout.proxy_service}" ? ["reload", "restart"]
        : unit === "{layout.proxy_https_socket}" ? ["stop"] : [];
    return verbs.indexOf(verb) >= 0 ? polkit.Result.YES : polkit.Result.NO;
}});
"""
