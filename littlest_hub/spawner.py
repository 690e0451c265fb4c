"""The default spawner: each user server is a systemd unit of its own."""

# traitlets' @default carries no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from systemdspawner import SystemdSpawner
from systemdspawner.systemd import RUN_ROOT
from traitlets import default

from littlest_hub.layout import release_of_this_interpreter


class UnitSpawner(SystemdSpawner):  # type: ignore[misc]
    """SystemdSpawner with our defaults; configured as c.SystemdSpawner or c.Spawner."""

    unit_extra_properties: Any

    @default("cmd")
    def _of_this_release(self) -> list[str]:
        return server_command()

    @default("default_url")
    def _jupyterlab(self) -> str:
        return "/lab"

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        return {**server_environment(self.user.name), **env}

    async def start(self) -> tuple[str, int] | None:
        # What one user writes is no other's business, unless the administrator says otherwise.
        private = {"UMask": "0027", "StateDirectoryMode": "0700"}
        self.unit_extra_properties = {**private, **self.unit_extra_properties}
        self._remove_leftover()
        return await super().start()  # type: ignore[no-any-return]

    def _remove_leftover(self) -> None:
        """Remove the environment file of a unit that systemd did not take.

        It is read-only, and the hub has no right (CAP_DAC_OVERRIDE) to overwrite such a file.
        """
        properties = {"RuntimeDirectory": self.unit_name, **self.unit_extra_properties}
        directory = self._expand_user_vars(properties["RuntimeDirectory"]).split()[0]
        # No permission: the directory is of a unit that runs; it goes when that is stopped.
        with contextlib.suppress(PermissionError):
            (Path(RUN_ROOT) / directory / f"{self.unit_name}.env").unlink(missing_ok=True)

    def _expand_user_vars(self, string: Any) -> Any:
        # Lists are documented for unit_extra_properties, but systemdspawner 1.0.2 chokes on them.
        if isinstance(string, list):
            return [self._expand_user_vars(item) for item in string]
        # Homes of dynamic users are /var/lib/NAME there, where one named "docker" would get
        # Docker's directory; here they have a directory to themselves.
        if self.dynamic_users and string in ("{USERNAME}", "/var/lib/{USERNAME}"):
            homes = self.unit_name_template.partition(".")[0]
            string = string.replace("{USERNAME}", f"{homes}-homes/{{USERNAME}}")
        return super()._expand_user_vars(string)


def server_command() -> list[str]:
    """What starts a user server.

    From the release itself, not through the `hub` link: a running server keeps its release when
    the link moves on. -I: nothing in the home directory or in ~/.local can stop it from starting.
    """
    python = release_of_this_interpreter() / "bin" / "python3"
    return [str(python), "-I", "-m", "jupyterhub.singleuser"]


def server_environment(name: str) -> dict[str, str]:
    """The environment of a user server, to which the hub adds its own variables."""
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        # First the release, so that `pip` and `jupyter` in a terminal are the notebook's.
        "PATH": f"{release_of_this_interpreter() / 'bin'}:{system}",
        "LANG": "C.UTF-8",
        "USER": name,
        "LOGNAME": name,
    }
