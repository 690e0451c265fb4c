"""What a hub that is not root does instead: it asks, see services/unprivileged.py."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
from pathlib import Path
from typing import Any

from jupyterhub.auth import PAMAuthenticator
from tornado.concurrent import run_on_executor
from traitlets import Unicode

from littlest_hub.hub.spawner import (
    Launch,
    NotStartedError,
    UnitSpawner,
    UnitState,
    _run,
    environment_file,
    unit_state,
)
from littlest_hub.layout import escaped
from littlest_hub.units.names import UNIT_USER_NAME
from littlest_hub.units.server import Account
from littlest_hub.unprivileged.launcher import launch_variables, write_for_user

ANSWER_TIMEOUT_S = 60
"""As RuntimeMaxSec= of the helper's unit."""


class AskingAuthenticator(PAMAuthenticator):  # type: ignore[misc]
    """PAMAuthenticator that has a helper ask PAM, which wants root's rights."""

    address = Unicode(help="Socket of the helper.").tag(config=True)

    @run_on_executor
    def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        # As it is let in: where there is "Alice" too, she is somebody else.
        name = data["username"].lower()
        words = [data[key] for key in ("password", "otp") if key in data]
        answer = ask(self.address, name, words)
        if answer == "yes":
            return name
        where = handler.request.remote_ip if handler else "?"
        self.log.warning("PAM Authentication failed (%.32r@%s): %s", name, where, answer)
        return None


def ask(address: str, name: str, words: list[str]) -> str:
    """What the helper says about a name and a password: "yes", or why not."""
    if any("\0" in word for word in (name, *words)):
        return "no such user"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(address)
            connection.sendall("\0".join([name, *words]).encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as said:
                return said.read() or "no answer; see the journal"
    except OSError as error:
        return f"{address}: {error}"


class TemplateSpawner(UnitSpawner):
    """Has systemd start a unit of root's, of which only the user's name is ours to choose."""

    def _account(self) -> Account:
        """Whose server it is.

        Raises:
            NotStartedError: somebody whose servers root would not start for us.
        """
        name, group = self.user.name, self.layout.users_group
        if self.name:
            raise NotStartedError("This hub is not root: it has one server for each person")
        if not re.fullmatch(UNIT_USER_NAME, name) or escaped(name) != name:
            raise NotStartedError(
                f"This hub is not root: names are like {UNIT_USER_NAME}, not {name!r}"
            )
        try:
            found = pwd.getpwnam(name)
            members = grp.getgrnam(group).gr_gid
        except KeyError:
            raise NotStartedError(f"No user named {name} found in the system") from None
        if members not in os.getgrouplist(name, found.pw_gid):
            raise NotStartedError(f"{name} is not in the group: gpasswd --add {name} {group}")
        return Account(name, Path(found.pw_dir), found.pw_uid, found.pw_gid)

    async def _found(self) -> UnitState:
        return await unit_state(self._unit)

    async def _launch(self, launch: Launch) -> None:
        assert launch.account is not None
        directory = self._expand_user_vars(self.user_workingdir or "")
        environment = {**launch.environment, **launch_variables(launch.command, directory)}
        write_for_user(self._environment, environment_file(environment), launch.account.uid)
        started = await _run("systemctl", "--no-ask-password", "start", self._unit, is_long=True)
        if started.code:
            why = started.complaint or f"exit code {started.code}"
            raise NotStartedError(f"systemd does not start {self._unit}: {why}")
