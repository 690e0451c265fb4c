"""What a hub that is not root does instead: it asks, see services/unprivileged.py."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import re
import socket
from pathlib import Path
from typing import Any

from jupyterhub.auth import PAMAuthenticator
from jupyterhub.utils import random_port
from tornado.concurrent import run_on_executor
from traitlets import Unicode

from littlest_hub.launch import leave
from littlest_hub.services.unprivileged import USER_NAME
from littlest_hub.spawner import UnitSpawner

ANSWER_TIMEOUT_S = 60
"""As RuntimeMaxSec= of the helper's unit."""

# What decides about a unit, which is root's here, with the directive that does it instead.
NOT_FOR_FRAGMENTS = {
    "mem_limit": "MemoryMax=",
    "cpu_limit": "CPUQuota=",
    "isolate_tmp": "PrivateTmp=",
    "isolate_devices": "PrivateDevices=",
    "disable_user_sudo": "NoNewPrivileges=",
    "readonly_paths": "ReadOnlyPaths=",
    "readwrite_paths": "ReadWritePaths=",
    "slice": "Slice=",
    "unit_extra_properties": "the same directives",
    "unit_name_template": "",
    "username_template": "",
    "dynamic_users": "",
}


class RefusedError(Exception):
    """A server that cannot be started, in words for whoever waits for it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.jupyterhub_message = message


class AskingAuthenticator(PAMAuthenticator):  # type: ignore[misc]
    """PAMAuthenticator that has a helper ask PAM, which wants root's rights."""

    address = Unicode(help="Socket of the helper.").tag(config=True)

    @run_on_executor
    def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        name = data["username"]
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

    launches = Unicode(help="Directory in which the servers' users find what to run.").tag(
        config=True
    )
    group = Unicode(help="Whose members may have a server.").tag(config=True)

    async def start(self) -> tuple[str, int]:
        account = self._account()
        self.port = random_port()
        leave(
            Path(self.launches) / account.pw_name,
            account.pw_uid,
            [self._expand_user_vars(word) for word in (*self.cmd, *self.get_args())],
            self._environment(),
            self._expand_user_vars(self.user_workingdir or ""),
        )
        # Of before: not known to us, or failed.
        await _systemctl("stop", self.unit_name)
        await _systemctl("reset-failed", self.unit_name)
        code, said = await _systemctl("start", self.unit_name)
        if code or await self.poll() is not None:
            self.log.error("%s does not start: %s", self.unit_name, said)
            raise RefusedError(f"systemd does not start {self.unit_name}: {said or 'not allowed'}")
        return self.ip or "127.0.0.1", self.port

    async def stop(self, now: bool = False) -> None:
        await _systemctl("stop", self.unit_name)
        (Path(self.launches) / self.user.name).unlink(missing_ok=True)

    def _account(self) -> pwd.struct_passwd:
        """Whose server it is.

        Raises:
            RefusedError: nobody whose servers root would start for us.
        """
        name = self.user.name
        try:
            account, members = pwd.getpwnam(name), grp.getgrnam(self.group).gr_gid
        except KeyError as error:
            raise RefusedError(f"{name} has no account on this machine") from error
        if not re.fullmatch(USER_NAME, name):
            raise RefusedError(f"{name}: servers are only started for names like {USER_NAME}")
        if members not in os.getgrouplist(name, account.pw_gid):
            raise RefusedError(
                f"{name} is not a member of the group {self.group} (gpasswd -a {name} {self.group})"
            )
        if self.name:
            raise RefusedError("This hub is not root, and has one server for each person")
        return account

    def _environment(self) -> dict[str, str]:
        environ = {**self.get_env(), "SHELL": self.default_shell}
        paths = [self._expand_user_vars(path) for path in self.extra_paths]
        return {**environ, "PATH": ":".join([*paths, environ["PATH"]])}


async def _systemctl(verb: str, unit: str) -> tuple[int, str]:
    """Exit code, and what it has printed."""
    command = ("systemctl", "--no-ask-password", verb, f"{unit}.service")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode(errors="replace").strip()
