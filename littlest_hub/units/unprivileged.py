"""The unit and the rule of a hub that is not root.

The hub's user may ask systemd to start and stop the servers of one group's members, and may send
requests about them to root's helpers (`littlest_hub.units.helpers`). None of these opens a file
that the hub's user can write or replace; a server's environment is read by
`littlest_hub.unprivileged.launcher`, as the server's user.
"""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.units import server
from littlest_hub.units.names import FIRST_UID, UNIT_USER_NAME
from littlest_hub.units.unit import Directive, Unit


def user_template(layout: Layout) -> Unit:
    """Return the template unit of user servers."""
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub.unprivileged.launcher"
    properties = server.server_properties(layout, server.Account("%i", None, -1, -1))
    limits = [
        Directive(key, value)
        for key, values in properties.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return Unit(
        layout.user_template_unit,
        f"A user server of the hub at {layout.base}, which is not root: the hub starts and stops"
        "\nthis unit, but cannot change it. So limits are not in fragments but in drop-ins: for all"
        "\nusers as below, for alice with"
        f" `systemctl edit {layout.user_template_unit.replace('@', '@alice')}`.",
        {
            "Unit": [
                Directive("Description", f"Littlest Hub at {layout.base}: server of %i"),
                Directive("CollectMode", "inactive-or-failed"),
            ],
            "Service": [
                Directive("Type", "exec"),
                Directive("User", "%i"),
                Directive(
                    "ExecCondition",
                    f"/bin/sh -c 'test $$(id -u) -ge {FIRST_UID} &&"
                    f' case " $$(id -Gn) " in *" {layout.users_group} "*) ;; *) exit 1 ;; esac\'',
                    "only people, and only members of the group; runs as that user",
                ),
                Directive(
                    "ExecStart",
                    f"{command} {layout.server_environments}/%p@%i.env",
                    "reads, as this user, the command that the hub has written there",
                ),
                Directive("WorkingDirectory", "-~"),
                Directive("NoNewPrivileges", "yes"),
                *(each for each in limits if each.key != "NoNewPrivileges"),
            ],
        },
    )


def polkit_rule(layout: Layout) -> str:
    """Return the polkit rule with everything that the hub's user may do (polkit(8))."""
    user = UNIT_USER_NAME
    template = layout.user_template_unit.removesuffix("@.service").replace(".", r"\.")
    return f"""\
// Written by `littlest-hub install`: the hub at {layout.base} runs as {layout.hub_user}, and this
// is all that {layout.hub_user} may do through systemd or any other service that uses polkit.
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
