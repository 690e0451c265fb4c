"""Servers of a class: spawners with accounts, limits, shared folders, settings of JupyterLab."""

# traitlets has no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from traitlets import Dict
from traitlets.config import Config

from littlest_hub import installation
from littlest_hub.hub.accounts import LentAccount
from littlest_hub.hub.launch import Launch
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.unprivileged import TemplateSpawner
from littlest_hub.manifest.plain_values import record_of
from littlest_hub.stacks.classroom import lab_settings, limits
from littlest_hub.stacks.classroom.accounts import client, hub
from littlest_hub.stacks.classroom.accounts.client import NoAccountError
from littlest_hub.stacks.classroom.accounts.hub import WithAccount
from littlest_hub.stacks.classroom.limits import Limits
from littlest_hub.stacks.classroom.shared import view
from littlest_hub.stacks.classroom.shared.settings import Shared
from littlest_hub.units.server import Account, Properties, with_values

ENVIRONMENT_NAME = "class environment"


def configure(c: Config, variables: Mapping[str, Any]) -> None:
    """Configure servers, which run as accounts of the machine, as the fragment says.

    Args:
        c: the configuration of the hub.
        variables: those of the fragment.
    """
    layout = installation.of_this_release()
    if c.JupyterHub.spawner_class in (UnitSpawner, TemplateSpawner):
        c.JupyterHub.spawner_class = TemplateAccountSpawner if layout.hub_user else AccountSpawner
        c.LittlestHub.on_serving.append(hub.watch)
        limited = record_of(variables, Limits)
        shared = record_of(variables, Shared)
        # `check` reports problems with their lines.
        if not layout.hub_user and not limited.problems() and not shared.problems():
            c.AccountSpawner.limits, c.AccountSpawner.shared = limited.limits, shared.shared
            c.LittlestHub.on_serving.append(make_folders)
        if not layout.hub_user:
            c.LittlestHub.on_serving.append(keep_lab_settings)
    hub.configure(c)


class AccountSpawner(WithAccount, UnitSpawner):
    """The default spawner, with accounts that root's helper makes at a first start."""

    environment_name = ENVIRONMENT_NAME
    limits = Dict(help="as `littlest_hub.stacks.classroom.limits`").tag(config=True)
    shared = Dict(help="as `littlest_hub.stacks.classroom.shared.settings`").tag(config=True)

    def _prepare(self, account: Account | LentAccount) -> Launch:
        launch = super()._prepare(account)
        groups = {*view.groups_of(account.name), *(group.name for group in self.user.groups)}
        found = Limits(self.limits).of(self.user.name, groups)
        properties: Properties = launch.properties
        for more in (
            view.properties(self.layout, Shared(self.shared), account.name),
            lab_settings.properties(self.layout),
        ):
            properties = with_values(properties, more)
        config = launch.environment.get("JUPYTER_CONFIG_PATH", "")
        return replace(
            launch,
            environment={
                **launch.environment,
                **limits.variables(found),
                **lab_settings.variables(self.layout, config),
            },
            properties={**properties, **limits.properties(found)},
        )


class TemplateAccountSpawner(WithAccount, TemplateSpawner):
    """The spawner of a hub that is not root: accounts have the names of users."""

    environment_name = ENVIRONMENT_NAME


def keep_lab_settings(app: Any) -> None:
    """Copy the settings of JupyterLab for servers that start from now on."""
    try:
        lab_settings.keep(app.layout)
    except (OSError, ValueError) as error:
        app.log.error("Settings of JupyterLab are those of before: %s", error)


def make_folders(app: Any) -> None:
    """Let root's helper make the shared folders; the hub serves meanwhile."""
    # The attribute keeps the task from garbage collection.
    app.folders = asyncio.ensure_future(_make_folders(app))


async def _make_folders(app: Any) -> None:
    try:
        await client.make_folders(app.layout)
    except NoAccountError as error:
        app.log.error("Shared folders: %s", error.jupyterhub_message)
