"""The hub's part of the stack, as its fragment configures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traitlets.config import Config

from littlest_hub.manifest.enabled import give_everybody, stack_service
from littlest_hub.manifest.plain_values import record_of
from littlest_hub.stacks.launch import STACK
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.group_volumes import api as group_volumes
from littlest_hub.stacks.launch.guests import pages as guests
from littlest_hub.stacks.launch.guests import sweeping
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.pages import binder
from littlest_hub.stacks.launch.records import checked_id
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.server.spawner import with_launch
from littlest_hub.stacks.launch.settings import OPTION, SCOPES, Settings
from littlest_hub.stacks.launch.shares import pages as shared
from littlest_hub.stacks.launch.webdav import api as webdav

_NOTHING = Policy(banned=("*",))
_ACCESS = f"access:services!service={STACK}"
LINK = {"text": "Launch", "path": f"services/{STACK}/", "scope": _ACCESS}
"""The link in the bar of the hub's pages, for those who may launch."""


def configure(c: Config, variables: Mapping[str, Any]) -> None:
    """Let people launch repositories, as the fragment says.

    Args:
        c: the configuration of the hub.
        variables: those of the fragment.
    """
    values = record_of(variables, Values)
    # `check` reports problems with their lines. A hub that starts with them launches nothing.
    settings = Settings(policy=_NOTHING) if values.problems() else values.settings()
    spawner = with_launch(c.JupyterHub.spawner_class, settings)
    c.JupyterHub.services.append(
        stack_service(
            STACK,
            oauth_no_confirm=True,
            oauth_client_allowed_scopes=[*SCOPES],
            info=spawner.launch_settings.to_json(),
            # The bar has a link already.
            display=False,
        )
    )
    c.JupyterHub.load_roles.append(
        {
            "name": "launch-service",
            "description": "Read the settings of the launch stack",
            # The names of people: with whom a server may be shared.
            "scopes": [f"read:services!service={STACK}", "read:users:name"],
            "services": [STACK],
        }
    )
    _let_launch(c, str(values.group))
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.spawner_class = spawner
    c.RequestPolicy.user_options.update({OPTION: checked_id})
    c.Pages.handlers.update({binder.PATH: f"{binder.__name__}:BinderLink"})
    c.Pages.handlers.update(shared.HANDLERS)
    c.Pages.handlers.update(group_volumes.HANDLERS)
    c.Pages.handlers.update(webdav.HANDLERS)
    c.JupyterHub.template_vars.update(shared.template_vars())
    c.JupyterHub.template_paths.append(shared.TEMPLATES)
    c.Pages.home_parts.append("launch-shared.html")
    c.Pages.handlers.update(guests.HANDLERS)
    c.JupyterHub.template_paths.append(guests.TEMPLATES)
    c.LittlestHub.on_serving.append(sweeping.watch)
    if spawner.launch_settings.guests:
        c.LittlestHub.admits.append(is_guest)
    c.Pages.links.append(LINK)


def _let_launch(c: Config, group: str) -> None:
    """Give access to the pages to the members of a group; "": to everybody."""
    if group:
        role = {"name": STACK, "description": "Launch repositories", "scopes": [_ACCESS]}
        c.JupyterHub.load_roles.append({**role, "groups": [group]})
        return
    give_everybody(c, _ACCESS)
