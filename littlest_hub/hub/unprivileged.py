"""Spawner of a hub that is not root, which starts units of `littlest_hub.units.unprivileged`."""

from __future__ import annotations

import grp
import os
import re

from littlest_hub.hub.accounts import system_account
from littlest_hub.hub.launch import Launch, NotStartedError, environment_file, no_account, refused
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.systemd_units import UnitState, run, unit_state
from littlest_hub.layout import escaped
from littlest_hub.units.names import UNIT_USER_NAME
from littlest_hub.units.server import Account
from littlest_hub.unprivileged.launcher import launch_variables, write_for_user


class TemplateSpawner(UnitSpawner):
    """Spawner that starts instances of root's template unit; the hub chooses only the instance."""

    @property
    def account_name(self) -> str:
        return str(self.user.name)

    def _account(self) -> Account:
        """Return the account that the server runs as.

        Raises:
            NotStartedError: root starts no servers for that user.
        """
        name, group = self.user.name, self.layout.users_group
        if self.name:
            raise NotStartedError("This hub is not root: it has one server for each person")
        if not re.fullmatch(UNIT_USER_NAME, name) or escaped(name) != name:
            raise NotStartedError(
                f"This hub is not root: names are like {UNIT_USER_NAME}, not {name!r}"
            )
        found = system_account(name)
        try:
            members = grp.getgrnam(group).gr_gid
        except KeyError:
            raise no_account(name) from None
        if members not in os.getgrouplist(name, found.gid):
            raise NotStartedError(f"{name} is not in the group: gpasswd --add {name} {group}")
        return found

    async def _existing_state(self) -> UnitState:
        return await unit_state(self._unit)

    async def _launch(self, launch: Launch) -> None:
        assert launch.account is not None
        directory = self._expand_user_vars(self.user_workingdir or "")
        environment = {**launch.environment, **launch_variables(launch.command, directory)}
        write_for_user(self._environment_file, environment_file(environment), launch.account.uid)
        started = await run("systemctl", "--no-ask-password", "start", self._unit, is_long=True)
        if started.code:
            reason = started.error or f"exit code {started.code}"
            raise refused(self._unit, reason)
