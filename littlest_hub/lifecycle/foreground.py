"""`littlest-hub run`: hub and proxy in the foreground, only for the user who starts them."""

# traitlets' @default carries no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import secrets
import subprocess
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Unicode, default
from traitlets.config import Config

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import config
from littlest_hub.hub.accounts import SHELL, terminal_shell
from littlest_hub.hub.app import LittlestHub
from littlest_hub.hub.launch import package_environment, server_command, server_environment
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.locks import hold_run_lock
from littlest_hub.lifecycle.unit_files import UnitFiles
from littlest_hub.manifest.discovery import enabled_stacks
from littlest_hub.proxy.configuration import static_config
from littlest_hub.system.children import end_with_parent
from littlest_hub.system.files import write
from littlest_hub.system.progress import Progress
from littlest_hub.system.toml import to_toml
from littlest_hub.units.environment import UnitEnvironment
from littlest_hub.units.ports import FIRST_INTERNAL, FIRST_OTHER_PUBLIC, first_free, is_free
from littlest_hub.units.stack import HUB_ADDRESS, SERVICE

LOOPBACK = "127.0.0.1"


def run(layout: Layout, port: int | None, *, is_new_password: bool, progress: Progress) -> None:
    """Run hub and proxy on loopback until Ctrl-C, which ends everything that they have started.

    Args:
        layout: the installation; its fragments, which have been checked, apply here too.
        port: the port to listen on; None: the first free one from 8000.
        is_new_password: whether to choose another password than last time.
        progress: shows when the hub answers, and when everything has ended.

    Raises:
        LittlestHubError: another process serves this base directory, or the port is in use.
        OSError: the base directory is not writable.
    """
    if UnitFiles(layout).are_installed:
        raise LittlestHubError(
            f"{layout.base} is served by {layout.hub_service} already; two hubs cannot share it",
            f"See: systemctl status {layout.instance}",
        )
    if port is not None and not is_free(port, LOOPBACK):
        why = "only root may" if _is_reserved(port) else "another program does already"
        raise LittlestHubError(
            f"cannot listen on port {port}: {why}", "Leave out --port to take a free one"
        )
    _make_state(layout)
    # The lock is held as long as the file is open.
    lock = hold_run_lock(layout)
    port = port or first_free(FIRST_OTHER_PUBLIC)
    hub_port = first_free(max(FIRST_INTERNAL, port + 1))
    api_port = first_free(hub_port + 1)
    user = getpass.getuser()
    password, origin = _password(layout, is_new=is_new_password)

    unit = UnitEnvironment(port, f"{LOOPBACK}:{api_port}", (LOOPBACK, hub_port), https_port=None)
    c = config.load(layout, unit, _foreground(layout, port, user, password))
    # Fragments may enable HTTPS, which this proxy does not have.
    c.JupyterHub.ssl_cert = c.JupyterHub.ssl_key = ""
    _start_stacks(c, layout, f"{LOOPBACK}:{hub_port}", api_port + 1)
    url = f"http://{LOOPBACK}:{port}"
    LittlestHub.instance(
        loaded_config=c,
        layout=layout,
        on_ready=lambda: progress(
            f"Littlest Hub answers at {url}\n"
            f"  user:     {user}\n"
            f"  password: {password}  ({origin})\n"
            "Only this machine can reach it. Ctrl-C ends it and every server it has started."
        ),
    )
    LittlestHub.launch_instance([])
    progress("Stopped.")
    if lock:
        lock.close()


def _is_reserved(port: int) -> bool:
    """Return whether only root may use a port (ip_unprivileged_port_start, ip(7))."""
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    return port < start and os.geteuid() != 0


def _foreground(layout: Layout, port: int, user: str, password: str) -> Config:
    c = Config()
    c.JupyterHub.bind_url = f"http://{LOOPBACK}:{port}"
    c.JupyterHub.cleanup_servers = True
    # No culler: there is one user, and it would outlive a hub that is killed.
    # Two lists: fragments append to each.
    c.JupyterHub.services, c.JupyterHub.load_roles = [], []
    c.JupyterHub.log_level = "WARN"
    c.JupyterHub.log_format = "[%(levelname)1.1s %(asctime)s %(name)s] %(message)s"
    c.JupyterHub.proxy_class = ChildProxy
    c.HubProxy.should_start = True
    c.HubProxy.static_config_file = str(layout.static_config)
    c.JupyterHub.spawner_class = ChildSpawner
    c.JupyterHub.authenticator_class = OwnerAuthenticator
    # There is no helper.
    c.SystemAuthenticator.address = ""
    c.OwnerAuthenticator.owner = user
    c.OwnerAuthenticator.password = password
    return c


def _start_stacks(c: Config, layout: Layout, hub: str, first_port: int) -> None:
    """Let the hub start the programs of enabled stacks that do what their units do elsewhere."""
    python = release_of_this_interpreter() / "bin" / "python3"
    stacks = enabled_stacks(layout, release_of_this_interpreter())
    for service in c.JupyterHub.services:
        stack = stacks.get(service["name"])
        if stack is None or not stack.manifest.foreground:
            continue
        # Not that of the record: no unit has kept it, so another program may have it by now.
        port = first_free(first_port)
        first_port = port + 1
        module = stack.manifest.foreground
        service |= {
            "url": f"http://{LOOPBACK}:{port}",
            "command": [str(python), "-I", "-m", "littlest_hub.service", module],
            "environment": {**os.environ, SERVICE: stack.name, HUB_ADDRESS: hub},
            "cwd": str(layout.stack_data(stack.name)),
        }


def _password(layout: Layout, *, is_new: bool) -> tuple[str, str]:
    """Return the password of the last time, or else a new one, and which of both it is."""
    file = layout.run_password
    if not is_new and file.exists() and (known := file.read_text().strip()):
        return known, "as last time; another: --new-password"
    password = secrets.token_urlsafe(12)
    write(file, f"{password}\n", 0o600)
    return password, "it stays the same next time"


def _make_state(layout: Layout) -> None:
    for directory in (layout.state, layout.proxy_state, layout.dynamic_config):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.run_lock.touch(mode=0o600)
    os.chdir(layout.state)


class OwnerAuthenticator(Authenticator):  # type: ignore[misc]
    """Authenticator of the user who started the hub, with the password that was printed."""

    owner = Unicode(config=True, help="The only user")
    password = Unicode(config=True, help="The only password")

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        is_owner = compare_digest(data["username"].encode(), self.owner.encode())
        is_right = compare_digest(data["password"].encode(), self.password.encode())
        return {"name": self.owner, "admin": True} if is_owner and is_right else None

    def normalize_username(self, username: str) -> str:
        return username

    def validate_username(self, username: str) -> bool:
        return bool(username == self.owner)

    def check_allowed(self, username: str, authentication: Any = None) -> bool:
        return bool(username == self.owner)

    def check_allow_config(self) -> None:
        """Skip the check: the owner is allowed regardless of the fragments."""


class ChildSpawner(SimpleLocalProcessSpawner):  # type: ignore[misc]
    """Spawner of servers as the user who runs the hub, in their home directory."""

    @default("cmd")
    def _of_this_release(self) -> list[str]:
        return server_command()

    @default("default_url")
    def _jupyterlab(self) -> str:
        return "/lab"

    @default("args")
    def _quiet(self) -> list[str]:
        return ["--log-level=WARN", *(["--allow-root"] if os.geteuid() == 0 else [])]

    @default("home_dir")
    def _own_home(self) -> str:
        return str(Path.home())

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        packages = package_environment(installation.of_this_release())
        own = server_environment(self.user.name, Path.home(), _shell())
        # JupyterHub passes on the PATH that `run` was started with, in which our Python is not.
        return {**own, **packages, **env, "PATH": own["PATH"]}

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        return {**super().user_env(env), "SHELL": _shell()}

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        enter_home: Callable[[], None] = super().make_preexec_fn(name)

        def prepare() -> None:
            end_with_parent()
            enter_home()

        return prepare


def _shell() -> str:
    with contextlib.suppress(KeyError):  # the user may have no account, as in some containers
        return terminal_shell(pwd.getpwuid(os.getuid()).pw_shell)
    return SHELL


class ChildProxy(HubProxy):
    """Proxy whose traefik is a child of the hub."""

    async def _setup_traefik_static_config(self) -> None:
        self.static_config = static_config(
            public=self.public_url.partition("//")[2].strip("/"),
            api=self.traefik_api_url.partition("//")[2].strip("/"),
            dynamic_config=Path(self.dynamic_config_file).parent,
            supervised=False,
        )
        write(Path(self.static_config_file), to_toml(self.static_config), is_durable=False)

    def _start_traefik(self) -> None:
        traefik = release_of_this_interpreter() / "bin" / "traefik"
        self.traefik_process = subprocess.Popen(
            [str(traefik), f"--configFile={self.static_config_file}"],
            preexec_fn=end_with_parent,
            # Ctrl-C is for the hub, which then stops the proxy.
            start_new_session=True,
        )
