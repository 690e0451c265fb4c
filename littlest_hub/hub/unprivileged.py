"""Authenticator and spawner of a hub that is not root, with root's helpers for both.

The helpers are the units of `littlest_hub.units.unprivileged`.
"""

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

from littlest_hub.hub.launch import Launch, NotStartedError, environment_file, no_account, refused
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.systemd_units import UnitState, run, unit_state
from littlest_hub.layout import escaped
from littlest_hub.units.names import UNIT_USER_NAME
from littlest_hub.units.server import Account
from littlest_hub.unprivileged.launcher import launch_variables, write_for_user

ANSWER_TIMEOUT_S = 60
"""The same as RuntimeMaxSec= of the helper's unit."""


class HelperAuthenticator(PAMAuthenticator):  # type: ignore[misc]
    """PAMAuthenticator that lets a helper query PAM, which requires root."""

    address = Unicode(help="Socket of the helper.").tag(config=True)

    @run_on_executor
    def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        # PAM must check the name that is let in: "Alice" may be another account than "alice".
        name = data["username"].lower()
        secrets = [data[key] for key in ("password", "otp") if key in data]
        answer = check_password(self.address, name, secrets)
        if answer == "yes":
            return name
        address = handler.request.remote_ip if handler else "?"
        self.log.warning("PAM Authentication failed (%.32r@%s): %s", name, address, answer)
        return None


def check_password(address: str, name: str, secrets: list[str]) -> str:
    """Return the helper's answer about a name and a password: "yes", or the reason if not."""
    if any("\0" in text for text in (name, *secrets)):
        return "no such user"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(address)
            connection.sendall("\0".join([name, *secrets]).encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as answer:
                return answer.read() or "no answer; see the journal"
    except OSError as error:
        return f"{address}: {error}"


class TemplateSpawner(UnitSpawner):
    """Spawner that starts instances of root's template unit; the hub chooses only the instance."""

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
        try:
            found = pwd.getpwnam(name)
            members = grp.getgrnam(group).gr_gid
        except KeyError:
            raise no_account(name) from None
        if members not in os.getgrouplist(name, found.pw_gid):
            raise NotStartedError(f"{name} is not in the group: gpasswd --add {name} {group}")
        return Account(name, Path(found.pw_dir), found.pw_uid, found.pw_gid)

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
