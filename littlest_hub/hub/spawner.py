"""The default spawner: each user server is a systemd unit of its own.

systemdspawner 1.0.2 has one unit for all servers of a user, does not accept lists as properties,
does not report systemd's reason when it refuses, and considers a server dead when systemd does not
answer.
"""

# traitlets' @default has no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jupyterhub.utils import maybe_future, random_port
from systemdspawner import SystemdSpawner, systemd
from tornado.web import Finish
from traitlets import Any as AnyTrait
from traitlets import Bool, Int, Unicode, default

from littlest_hub import installation
from littlest_hub.helpers.held_ports import Place
from littlest_hub.hub import spawn_options, spawn_queue
from littlest_hub.hub.accounts import LentAccount, databases, system_account, unit_user
from littlest_hub.hub.guard import GUARD, address_of
from littlest_hub.hub.homes import DynamicHome
from littlest_hub.hub.launch import (
    EXIT_REASONS,
    Launch,
    assignment,
    ended,
    environment_file,
    find_program,
    package_environment,
    port_and_token,
    refused,
    server_command,
    server_environment,
)
from littlest_hub.hub.placeholders import Placeholders
from littlest_hub.hub.root_hooks import RootHook
from littlest_hub.hub.server_port import PortTakenError, ServerPort
from littlest_hub.hub.spawn_queue import SpawnerWithQueue
from littlest_hub.hub.systemd_units import (
    SystemdSilentError,
    UnitState,
    WatchedUnit,
    cgroup_path,
    run,
    unit_state,
)
from littlest_hub.layout import Layout, server_unit
from littlest_hub.system.files import write
from littlest_hub.units import server
from littlest_hub.units.server import Account

TRANSIENT_UNITS = Path("/run/systemd/transient")
"""Directory of systemd with the text of each transient unit that is loaded."""
PORTS_TRIED = 5
"""The most ports that a start tries, since another program may take one before the server does."""


class UnitSpawner(SpawnerWithQueue, Placeholders, SystemdSpawner):  # type: ignore[misc]
    """SystemdSpawner with our defaults; configured as c.SystemdSpawner or c.Spawner."""

    server: Any
    layout = AnyTrait(help="the installation")

    # None: the default of units/server.py.
    isolate_tmp = Bool(None, allow_none=True, help=SystemdSpawner.isolate_tmp.help).tag(config=True)
    isolate_devices = Bool(None, allow_none=True, help=SystemdSpawner.isolate_devices.help).tag(
        config=True
    )
    disable_user_sudo = Bool(None, allow_none=True, help=SystemdSpawner.disable_user_sudo.help).tag(
        config=True
    )

    default_shell = Unicode(
        None,
        allow_none=True,
        config=True,
        help="The shell of terminals, in SHELL. Default: the login shell of the account; bash if"
        " that refuses logins, and for users without an account.",
    )

    concurrent_starts = Int(
        min=0,
        config=True,
        help="How many servers may start at the same time. The others wait in a queue, and the"
        " pending page shows how many are ahead. 0: no limit. Default: one more than there are"
        " processors.",
    )
    _is_saved = False
    """Whether the next hub would find the server if this one is killed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unit_name = self._default_unit_name()
        self._watched = WatchedUnit()

    @default("layout")
    def _default_layout(self) -> Layout:
        return installation.of_this_release()

    @default("unit_name_template")
    def _default_unit_name_template(self) -> str:
        return self.layout.user_unit_format  # type: ignore[no-any-return]

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return server_command()

    @default("concurrent_starts")
    def _default_concurrent_starts(self) -> int:
        return spawn_queue.default_concurrent_starts()

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    @property
    def account_name(self) -> str:
        """The name of the account of this machine that the server runs as."""
        return str(self._expand_user_vars(self.username_template))

    def clear_state(self) -> None:
        # The saved name may be one that an earlier release chose.
        super().clear_state()
        self.unit_name = self._default_unit_name()
        # The entry of an earlier start.
        self._entry = None

    def _default_unit_name(self) -> str:
        return server_unit(self.unit_name_template, self.user.name, self.name, self.user.id)

    @property
    def _unit(self) -> str:
        return f"{self.unit_name}.service"

    @property
    def _environment_file(self) -> Path:
        directory: Path = self.layout.server_environments
        return directory / f"{self.unit_name}.env"

    @property
    def _home(self) -> DynamicHome:
        return DynamicHome(self.layout, self.user.name)

    # --- JupyterHub's interface

    async def start(self) -> Place:
        """Start the server, or adopt one that runs without the hub's knowledge.

        Raises:
            NotStartedError: systemd refuses, or the server ends before it listens.
        """
        account = self._account()
        if isinstance(account, LentAccount):
            await self._claim_home()
        state = await self._existing_state()
        if self._adopt(state):
            place = await _chosen_place(self)
            await ServerPort(self._unit, *place, state.cgroup, _is_held(self)).hold()
            return place
        await self._stop_unit(state)
        await _start_at_free_port(self, account)
        return await _place(self)

    async def poll(self) -> int | None:
        """Return None while the server runs or may run, otherwise its exit code."""
        try:
            state = await self._watched.state(self._unit)
        except SystemdSilentError as error:
            self.log.warning("%s is taken to be running: %s", self._unit, error)
            return None
        if state.is_alive:
            # JupyterHub would stop a server of which it cannot tell whether it runs.
            with contextlib.suppress(OSError):  # no name server answers now
                GUARD.expect(await _place(self), state.cgroup if _is_held(self) else None)
            return None
        _remove_files(self._environment_file)
        return state.status

    async def stop(self, now: bool = False) -> None:
        """Stop the server; return when no process of it runs.

        Raises:
            SystemdSilentError: whether one does is unknown.
            RuntimeError: one still does.
        """
        if now:
            await run("systemctl", "kill", "--signal=KILL", self._unit)
        await self._stop_unit()

    async def delete_forever(self) -> None:
        """Clean up after a named server or, with its user, the default one and a dynamic home."""
        await self._stop_unit()
        others = (each for each in self.user.spawners.values() if each is not self)
        # While one of them is active, JupyterHub keeps the user.
        if not self.name and not any(each.active for each in others):
            await self._home.set_aside(self.log)

    # --- the queue of servers that wait to start

    async def run_pre_spawn_hook(self) -> None:
        """Wait in the queue, then run the hook; start_timeout counts from then on."""
        entry = self._join_queue(self.concurrent_starts)
        self._is_saved = False
        if entry.is_waiting:
            self._save_state(self._waiting_state(entry))
            try:
                await entry.turn.wait()
            except asyncio.CancelledError:
                # With a server on record and nothing pending, JupyterHub would call it ready.
                self.server = None
                self._save_state({})
                raise
        # The database has it as waiting until `_save`: the hub may be killed before.
        await maybe_future(super().run_pre_spawn_hook())

    def leave_to_next_hub(self) -> None:
        """Make the next hub start the server, unless this one has begun to."""
        if self._entry and self.pending == "spawn" and not self._is_saved:
            self._save_state(self._waiting_state(self._entry))

    def _waiting_state(self, entry: spawn_queue.QueueEntry) -> dict[str, Any]:
        options = spawn_options.storable(self.user_options)
        return spawn_queue.waiting_state(self.get_state(), entry, options)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        # The page may request it before the server has joined the queue.
        while (entry := self._entry) is None:
            await asyncio.sleep(0.1)
        async for ahead in entry.positions():
            yield {"progress": 0, "message": spawn_queue.waiting_message(ahead)}
        if entry.is_waiting:
            # The queue is closed: the page reconnects, to the next hub.
            raise Finish
        if isinstance(self.pre_spawn_hook, RootHook):
            yield {"progress": 0, "message": f"Root's hook {self.pre_spawn_hook.name} runs"}
        async for event in super().progress():
            yield event

    # --- start

    def _account(self) -> Account | LentAccount:
        if self.dynamic_users:
            files = self._environment_file.with_suffix("")
            return LentAccount(self.layout, self.user.name, self._home.path, files)
        return system_account(self.account_name)

    async def _claim_home(self) -> None:
        """Make the dynamic home this user's; set one of a deleted user of that name aside."""
        cookie_id = self.user.orm_user.cookie_id
        if not self._home.belongs_to(cookie_id):
            # Their servers must not be adopted either.
            default_server = server_unit(
                self.unit_name_template, self.user.name, user_id=self.user.id
            )
            units = (f"{default_server}.service", f"{default_server}:*.service")
            await run("systemctl", "stop", *units, is_long=True)
            await self._stop_unit()
            await self._home.set_aside(self.log)
        self._home.claim(cookie_id)

    async def _existing_state(self) -> UnitState:
        """Return what systemd knows of the unit before it is started: usually nothing."""
        # A query would be another tenth of the hub's work for a server.
        if not (TRANSIENT_UNITS / self._unit).exists():
            return UnitState()
        return await unit_state(self._unit)

    def _adopt(self, state: UnitState) -> bool:
        """Adopt a server that runs unknown to the hub, if possible: after a restore, for example.

        Its user may have work in it.
        """
        if state.active != "active":
            return False
        found = port_and_token(self._environment_file, self.get_env())
        if found is None:
            return False
        self.log.warning("%s runs already: taking it over", self._unit)
        self.port, self.api_token = found
        return True

    def _prepare(self, account: Account | LentAccount) -> Launch:
        properties = _properties(self, account)
        environment = {
            **server.environment(properties),
            **server_environment(account.name, account.home, self.default_shell or account.shell),
            **package_environment(self.layout),
            **self.get_env(),
        }
        if self.extra_paths:
            paths = [self._expand_user_vars(path) for path in self.extra_paths]
            environment["PATH"] = ":".join([*paths, environment["PATH"]])
        command = [self._expand_user_vars(word) for word in [*self.cmd, *self.get_args()]]
        return Launch(
            unit=self._unit,
            account=account if isinstance(account, Account) else None,
            command=[find_program(command[0], environment["PATH"]), *command[1:]],
            environment=environment,
            properties=properties,
        )

    def _save(self, place: Place) -> None:
        """Let the next hub find the server if this one is killed while the server starts."""
        self.server.ip, self.server.port = place
        self._save_state(self.get_state())
        self._is_saved = True

    def _save_state(self, state: dict[str, Any]) -> None:
        self.orm_spawner.state = state
        self.user.db.commit()

    async def _launch(self, launch: Launch) -> None:
        """Make systemd start the server.

        Raises:
            NotStartedError: systemd refuses, or the program cannot be executed.
        """
        text = environment_file(launch.environment)
        write(self._environment_file, text, 0o600, is_durable=False)
        started = await run(*launch.systemd_run(self._environment_file), is_long=True)
        if started.code:
            state = await unit_state(launch.unit)
            reason = EXIT_REASONS.get(state.status)
            if state.active == "failed" and not reason:
                raise ended(launch.unit, state)
            reason = reason or started.error or f"exit code {started.code}"
            raise refused(launch.unit, reason)

    # --- stop

    async def _stop_unit(self, state: UnitState | None = None) -> None:
        """Stop the unit, make systemd unload it, and remove its environment file.

        Args:
            state: what systemd knows of the unit; None: query it.
        """
        state = state or await unit_state(self._unit)
        if state.is_alive:
            stopped = await run("systemctl", "stop", self._unit, is_long=True)
            state = await unit_state(self._unit)
            if state.is_alive:
                raise RuntimeError(f"{self._unit} cannot be stopped: {stopped.error}")
        if state.active == "failed":
            await run("systemctl", "reset-failed", self._unit)
        _remove_files(self._environment_file)
        with contextlib.suppress(OSError):  # no name server answers now; the server is stopped
            await GUARD.release(await _place(self))


def _remove_files(environment: Path) -> None:
    """Remove the environment file of a server, and its passwd and group files."""
    for file in (environment, *databases(environment.with_suffix(""))):
        file.unlink(missing_ok=True)


async def _chosen_place(spawner: UnitSpawner) -> Place:
    """Return address and port at which the server is going to listen."""
    return await address_of(spawner.ip or "127.0.0.1", socket.AF_INET), spawner.port


async def _place(spawner: UnitSpawner) -> Place:
    """Return address and port of a server, which an earlier hub may have started."""
    server = spawner.server
    if not (server and server.port):
        return await _chosen_place(spawner)
    return await address_of(server.ip or "127.0.0.1", socket.AF_INET), server.port


def _is_held(spawner: UnitSpawner) -> bool:
    """Return whether the guard holds the port: a server that systemd restarts binds it again."""
    return str(spawner.unit_extra_properties.get("Restart", "no")) == "no"


async def _start_at_free_port(spawner: UnitSpawner, account: Account | LentAccount) -> None:
    """Start a server; if another program takes its port first, start it again at another one."""
    for tries_left in reversed(range(PORTS_TRIED)):
        spawner.port = random_port()
        launch = spawner._prepare(account)
        place = await _chosen_place(spawner)
        spawner._save(place)
        await spawner._launch(launch)
        cgroup = cgroup_path(launch.unit, str(launch.properties["Slice"]))
        try:
            return await ServerPort(launch.unit, *place, cgroup, _is_held(spawner)).hold()
        except PortTakenError as error:
            if not tries_left:
                raise
            spawner.log.warning("%s: %s", launch.unit, error.jupyterhub_message)
            await spawner._stop_unit()


# --- properties of the unit, from SystemdSpawner's settings


def _properties(spawner: UnitSpawner, account: Account | LentAccount) -> dict[str, str | list[str]]:
    return {
        # Started means that the program runs, so that an obstacle is found at once.
        "Type": "exec",
        **server.server_properties(
            spawner.layout,
            account if isinstance(account, Account) else None,
            may_become_root=spawner.disable_user_sudo is False,
            systemd=systemd.get_systemd_version(),
            views=account.views() if isinstance(account, LentAccount) else (),
        ),
        **_user_properties(spawner, account),
        **fragment_properties(spawner),
    }


def fragment_properties(spawner: UnitSpawner) -> dict[str, str | list[str]]:
    """Return the properties that settings of the spawner give its unit."""
    properties = _configured_properties(spawner)
    for name, value in spawner.unit_extra_properties.items():
        expanded = _expand(spawner, value)
        properties[name] = _assignments(expanded) if name == "Environment" else expanded
    return properties


def _user_properties(
    spawner: UnitSpawner, account: Account | LentAccount
) -> dict[str, str | list[str]]:
    """Return the user that the server runs as, and its working directory."""
    if isinstance(account, LentAccount):
        return account.properties()
    return {
        "User": unit_user(account),
        "Group": str(account.gid),
        "WorkingDirectory": str(account.home),
    }


def _configured_properties(spawner: UnitSpawner) -> dict[str, str | list[str]]:
    """Return the properties that have settings of their own."""
    properties: dict[str, str | list[str]] = {}
    for is_wanted, name in (
        (spawner.isolate_tmp, "PrivateTmp"),
        (spawner.isolate_devices, "PrivateDevices"),
        (spawner.disable_user_sudo, "NoNewPrivileges"),
    ):
        if is_wanted is not None:
            properties[name] = "yes" if is_wanted else "no"
    for paths, name in (
        (spawner.readonly_paths, "ReadOnlyPaths"),
        (spawner.readwrite_paths, "ReadWritePaths"),
    ):
        if paths is not None:
            properties[name] = _expand(spawner, paths)
    if spawner.mem_limit is not None:
        properties["MemoryMax"] = str(spawner.mem_limit)
    if spawner.cpu_limit is not None:
        properties["CPUQuota"] = f"{spawner.cpu_limit:.0%}"
    if spawner.slice:
        properties["Slice"] = spawner.slice
    if spawner.user_workingdir and not spawner.dynamic_users:
        properties["WorkingDirectory"] = _expand(spawner, spawner.user_workingdir)
    return properties


def _assignments(value: str | list[str]) -> str | list[str]:
    return [assignment(each) for each in value] if isinstance(value, list) else assignment(value)


def _expand(spawner: UnitSpawner, value: Any) -> str | list[str]:
    """Expand {USERNAME} and the like in the value of a property."""
    if isinstance(value, (list, tuple)):
        return [spawner._expand_user_vars(str(each)) for each in value]
    return str(spawner._expand_user_vars(str(value)))
