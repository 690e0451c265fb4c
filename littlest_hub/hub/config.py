"""The hub's configuration: our defaults, then the administrator's fragments."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader
from traitlets.utils.importstring import import_item

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.authenticator import SystemAuthenticator
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.spawn_queue import SpawnerWithQueue
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.installation import fragment_files, release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.units.environment import UnitEnvironment
from littlest_hub.units.names import LOGIN_NAME, UNIT_USER_NAME

CULLER = "idle-culler"
IDLE_S = 3600
"""Time without activity after which a user server is stopped."""
SPAWN_LIMIT = 64
"""The most servers that start at once with a spawner that has no queue."""


class FragmentError(LittlestHubError):
    """An exception in a fragment, with its file, line and reason."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.file, self.line, self.reason = file, line, reason


def defaults(layout: Layout, unit: UnitEnvironment) -> Config:
    """Return the configuration of a hub for system users on one machine, before the fragments.

    Do not set c.UnitSpawner here: it would take precedence over a fragment's c.Spawner, so its
    settings are the class's defaults. Values that only the layout knows are set for HubProxy.
    """
    python = str(release_of_this_interpreter() / "bin" / "python3")
    c = Config()

    c.JupyterHub.bind_url = f"http://{unit.public_host}:{unit.public_port}"
    c.JupyterHub.hub_ip, c.JupyterHub.hub_port = unit.hub_address
    c.JupyterHub.db_url = f"sqlite:///{layout.database}"
    c.JupyterHub.cookie_secret_file = str(layout.cookie_secret)
    # A restart of the hub must not stop user servers.
    c.JupyterHub.cleanup_servers = False
    # How many seconds requests wait while a starting hub checks user servers; it checks the
    # remaining ones while it serves.
    c.JupyterHub.init_spawners_timeout = 1

    c.JupyterHub.proxy_class = HubProxy
    c.HubProxy.should_start = False
    c.HubProxy.traefik_api_url = f"http://{unit.proxy_api}"
    c.HubProxy.dynamic_config_file = str(layout.routes)

    c.JupyterHub.spawner_class = UnitSpawner
    # RequestPolicy.user_options has judged them, and spawners read them; otherwise JupyterHub warns
    # of each one.
    c.Spawner.apply_user_options = _take_options

    c.JupyterHub.authenticator_class = SystemAuthenticator
    c.SystemAuthenticator.address = str(layout.password_address)
    # The fragments say who may log in, not the database (littlest_hub.hub.access).
    c.Authenticator.allow_existing_users = False
    # Names become part of units, paths and routes. \Z: "$" would accept a newline at the end.
    c.Authenticator.username_pattern = rf"^{LOGIN_NAME}\Z"

    if layout.hub_user:
        _without_root(layout, c)

    c.JupyterHub.services = [
        {
            "name": CULLER,
            "command": [python, "-I", "-m", "littlest_hub.hub.idle_culler", f"--timeout={IDLE_S}"],
        }
    ]
    c.JupyterHub.load_roles = [_culler_role()]

    # The journal has the time and the unit already.
    c.JupyterHub.log_format = "%(name)s %(module)s:%(lineno)d] %(message)s"
    return c


def _take_options(spawner: Any, options: Any) -> None:
    """Take the options of a server as they are."""


def _without_root(layout: Layout, c: Config) -> None:
    from littlest_hub.hub.unprivileged import TemplateSpawner

    c.JupyterHub.spawner_class = TemplateSpawner
    c.Authenticator.username_pattern = rf"^{UNIT_USER_NAME}\Z"


def load(
    layout: Layout,
    unit: UnitEnvironment,
    changes: Config | None = None,
    fragments: Path | None = None,
) -> Config:
    """Return the complete configuration: defaults, changes to them, and fragments.

    Args:
        layout: the installation.
        unit: addresses that the units decide.
        changes: changes to the defaults.
        fragments: a copy of the layout's fragments to use instead.

    Raises:
        LittlestHubError: a fragment fails; with `file:line` and the reason.
    """
    c = defaults(layout, unit)
    c.merge(changes or Config())
    for fragment in sorted(fragments.glob("[!.]*.py")) if fragments else fragment_files(layout):
        execute(fragment, c)
    complete(c)
    return c


def execute(fragment: Path, c: Config) -> None:
    """Execute one fragment on the configuration so far.

    Raises:
        FragmentError: it fails.
    """
    try:
        _FragmentLoader(fragment, c).load_config()
    except (Exception, SystemExit) as error:
        line = failing_line(error, fragment)
        reason = f"{type(error).__name__}: {_reason(error)}"
        raise FragmentError(str(fragment), line, reason) from error


def complete(c: Config) -> None:
    """Add the settings that follow from the fragments."""
    _complete_base_url(c)
    _complete_culler(c)
    _complete_limit(c)


def _complete_base_url(c: Config) -> None:
    """Keep the proxy's address if a fragment sets base_url.

    JupyterHub would compose a new bind_url from base_url and its own defaults of ip and port
    (`JupyterHub._url_part_changed`): port 8000.
    """
    base_url, bind_url = c.JupyterHub.get("base_url"), c.JupyterHub.bind_url
    if not isinstance(base_url, str) or not isinstance(bind_url, str):
        return  # not set, or refused by `check` and by JupyterHub
    parts = urlsplit(bind_url)
    with contextlib.suppress(ValueError):
        if "port" not in c.JupyterHub and parts.port:
            c.JupyterHub.port = parts.port
        if "ip" not in c.JupyterHub and parts.hostname:
            c.JupyterHub.ip = parts.hostname
        path = f"/{base_url.strip('/')}/".replace("//", "/")
        c.JupyterHub.bind_url = parts._replace(path=path).geturl()


def _complete_culler(c: Config) -> None:
    """Keep the culler and its role together.

    A fragment may have replaced `load_roles` and left the culler in `services`, or replaced
    `services` and left the role, with which JupyterHub does not start.
    """
    services, roles = c.JupyterHub.services, c.JupyterHub.load_roles
    if not all(isinstance(item, list) for item in (services, roles)):
        return  # refused by `check`, and by JupyterHub
    has_culler = any(isinstance(s, dict) and s.get("name") == CULLER for s in services)
    if has_culler and not any(CULLER in role.get("services", ()) for role in roles):
        c.JupyterHub.load_roles = [*roles, _culler_role()]
    elif not has_culler and _culler_role() in roles:
        c.JupyterHub.load_roles = [role for role in roles if role != _culler_role()]


def _complete_limit(c: Config) -> None:
    """Disable JupyterHub's limit, which rejects users, for a spawner that has a queue."""
    if "concurrent_spawn_limit" not in c.JupyterHub:
        spawner = c.JupyterHub.spawner_class
        if isinstance(spawner, str) and "." in spawner:
            with contextlib.suppress(Exception):  # refused by `check`, and by JupyterHub
                spawner = import_item(spawner)
        # Of ours, and of a stack: servers that wait there are not about to start.
        has_queue = isinstance(spawner, type) and issubclass(spawner, SpawnerWithQueue)
        c.JupyterHub.concurrent_spawn_limit = 0 if has_queue else SPAWN_LIMIT


def failing_line(error: BaseException, file: Path) -> int:
    """Return the line of a file at which an exception was raised; 1 if it was not raised there."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 1 for f in reversed(frames) if f.filename == str(file)), 1)


def _reason(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return text or "no reason given"


def _culler_role() -> dict[str, Any]:
    """Return a role with the scopes that the culler needs to find and stop idle servers."""
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    return {"name": CULLER, "scopes": scopes, "services": [CULLER]}


class _FragmentLoader(PyFileConfigLoader):  # type: ignore[misc]
    """Loader that executes a fragment on the configuration shared by all fragments.

    traitlets' load_subconfig starts each file with an empty one, so that a file cannot append to
    what an earlier file has set.
    """

    def __init__(self, file: Path, c: Config) -> None:
        self._c = c
        super().__init__(str(file))

    def clear(self) -> None:
        self.config = self._c

    def load_subconfig(self, fname: str, path: str | None = None) -> None:
        directory = Path(path) if path else Path(self.full_filename).parent
        _FragmentLoader(directory / fname, self._c).load_config()
