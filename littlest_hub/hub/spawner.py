"""The default spawner: each user server is a systemd unit of its own.

systemdspawner 1.0.2 has one unit for all servers of a user, does not take lists as properties, does
not tell what systemd says when it refuses, and takes a systemd that does not answer for a server
that is dead.
"""

# traitlets' @default carries no types.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pwd
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jupyterhub.utils import maybe_future, random_port
from systemdspawner import SystemdSpawner, systemd
from tornado.web import Finish, HTTPError
from traitlets import Any as AnyTrait
from traitlets import Bool, Int, default

from littlest_hub import installation
from littlest_hub.hub import spawn_queue
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout, escaped, server_unit
from littlest_hub.system.files import write
from littlest_hub.system.tcp import Held, cgroups_of, held_at
from littlest_hub.units import server
from littlest_hub.units.server import Account

SYSTEMD_TIMEOUT_S = 30
"""How long systemd may take to say something; it lets D-Bus wait while it reloads its units."""
_PATIENCE_S = (0.2, 1, 3)
"""How long to wait before it is asked again: a daemon-reexec interrupts what it was to say."""

_LOOKS_PER_S = 40
"""How often it is looked whether a server listens: of 0.6 s each look late is a loss."""

_TRANSIENT = Path("/run/systemd/transient")
"""Where systemd has the text of each unit that it was told to make, until it forgets it."""

# What is asked of a unit.
_SHOWN = "ActiveState,Result,ExecMainStatus,UID,ControlGroup"

_NOBODY = 65534
"""/proc/sys/kernel/overflowuid"""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What has to be as it was for a server to be the one that the hub would start now.
_SAME = (
    "JUPYTERHUB_USER",
    "JUPYTERHUB_SERVER_NAME",
    "JUPYTERHUB_SERVICE_PREFIX",
    "JUPYTERHUB_CLIENT_ID",
    "JUPYTERHUB_API_URL",
)
# systemd.exec(5), "Process Exit Codes"
_STEPS = {
    200: "its working directory, usually the home directory, cannot be entered",
    203: "its command cannot be executed",
    216: "its group does not exist",
    217: "its user does not exist",
    226: "a directory that one of its properties names does not exist",
}


class NotStartedError(HTTPError):  # type: ignore[misc]
    """A server that does not start, with the reason; JupyterHub logs it and shows it."""

    def __init__(self, reason: str) -> None:
        super().__init__(500, reason)
        self.jupyterhub_message = reason


class SystemdSilentError(Exception):
    """systemd did not answer, so nobody knows whether a server runs."""

    jupyterhub_message = "systemd does not answer; try again in a moment"


@dataclass(frozen=True)
class Launch:
    """A user server as it is to be started."""

    unit: str
    """With its suffix."""
    account: Account | None
    """Who it runs as; None: a user that systemd lends."""
    command: Sequence[str]
    """Its program as an absolute path, and arguments."""
    environment: Mapping[str, str] = field(repr=False)
    """There are secrets in it."""
    properties: server.Properties
    """Everything else about the unit: user and working directory too."""


class UnitState(NamedTuple):
    """What systemd knows of a unit."""

    active: str
    """ActiveState=, systemctl(1)."""
    result: str
    status: int
    """Of its main process: exit code, or number of the signal."""
    uid: int | None
    """Who it runs as; None: systemd does not know, or nobody else than root."""

    cgroup: str = ""
    """Its path below /sys/fs/cgroup; "": nothing of it runs."""

    @property
    def is_alive(self) -> bool:
        """Whether something of it may run; one that is being stopped still does."""
        return self.active not in ("inactive", "failed")


_NOTHING = UnitState("inactive", "success", 0, None)
"""What systemd says of a unit that there is not."""


class UnitSpawner(SystemdSpawner):  # type: ignore[misc]
    """SystemdSpawner with our defaults; configured as c.SystemdSpawner or c.Spawner."""

    server: Any
    layout = AnyTrait(help="whose user servers")

    # None: as services/server.py has it.
    isolate_tmp = Bool(None, allow_none=True, help=SystemdSpawner.isolate_tmp.help).tag(config=True)
    isolate_devices = Bool(None, allow_none=True, help=SystemdSpawner.isolate_devices.help).tag(
        config=True
    )
    disable_user_sudo = Bool(None, allow_none=True, help=SystemdSpawner.disable_user_sudo.help).tag(
        config=True
    )

    concurrent_starts = Int(
        min=0,
        config=True,
        help="How many servers may start at the same time; the others wait for their turn, and"
        " whoever waits sees how many are before them. 0: as many as want to. By default"
        " one more than there are processors.",
    )
    _place: spawn_queue.Place | None = None
    _is_remembered = False
    _cgroup = ""
    """Where the unit's is, as far as anybody can know without asking systemd."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unit_name = self._own_name()

    @default("layout")
    def _of_this_hub(self) -> Layout:
        return installation.of_this_release()

    @default("unit_name_template")
    def _of_this_instance(self) -> str:
        return self.layout.user_unit_template  # type: ignore[no-any-return]

    @default("cmd")
    def _of_this_release(self) -> list[str]:
        return server_command()

    @default("concurrent_starts")
    def _bearable(self) -> int:
        return spawn_queue.bearable()

    @default("default_url")
    def _jupyterlab(self) -> str:
        return "/lab"

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        return {**server_environment(self.user.name), **env}

    def clear_state(self) -> None:
        # What was saved may be a name that an earlier release chose.
        super().clear_state()
        self.unit_name = self._own_name()
        # That of an earlier start.
        self._place = None

    def _own_name(self) -> str:
        return server_unit(self.unit_name_template, self.user.name, self.name, self.user.id)

    @property
    def _unit(self) -> str:
        return f"{self.unit_name}.service"

    # --- what JupyterHub asks for

    async def start(self) -> tuple[str, int]:
        """Start the server, or take over the one that runs without the hub's knowledge.

        Raises:
            NotStartedError: systemd refuses, or the server ends before it listens.
        """
        account = self._account()
        if account is None:
            await self._claim_home()
        found = await self._found()
        self._cgroup = found.cgroup
        if not self._take_over(found):
            await self._clear_away(found)
            self.port = random_port()
            launch = self._prepared(account)
            self._cgroup = cgroup_of(launch.unit, str(launch.properties["Slice"]))
            self._remember()
            await self._launch(launch)
        await self._until_it_listens()
        return self._address

    async def poll(self) -> int | None:
        """None: it runs, as far as anybody knows; otherwise how it ended."""
        try:
            state = await unit_state(self._unit)
        except SystemdSilentError as error:
            self.log.warning("%s is taken to be running: %s", self._unit, error)
            return None
        if state.is_alive:
            return None
        self._environment.unlink(missing_ok=True)
        return state.status

    async def stop(self, now: bool = False) -> None:
        """Stop the server; returns when nothing of it runs.

        Raises:
            SystemdSilentError: nobody knows whether it does.
            RuntimeError: something of it does.
        """
        if now:
            await _run("systemctl", "kill", "--signal=KILL", self._unit)
        await self._clear_away()

    async def delete_forever(self) -> None:
        """Forget a named server, or with its user the default one, and a home that was lent."""
        await self._clear_away()
        others = (each for each in self.user.spawners.values() if each is not self)
        # With one of them active JupyterHub keeps the user.
        if not self.name and not any(each.active for each in others):
            await self._set_home_aside()

    # --- waiting for one's turn

    @property
    def is_waiting(self) -> bool:
        """Whether it is others' turn to start."""
        return self._place is not None and self._place.is_waiting

    async def run_pre_spawn_hook(self) -> None:
        """Wait for our turn, then run the hook: start_timeout counts from there."""
        place = spawn_queue.QUEUE.join(self.user.name, self.name, self.concurrent_starts)
        self._place = place
        # Started, failed or cancelled: the proxy knows it, or nobody wants it any more.
        if self._spawn_future:
            self._spawn_future.add_done_callback(lambda _: place.leave())
        self._is_remembered = False
        if place.is_waiting:
            self._save_state(spawn_queue.waiting_state(self.get_state(), place))
            try:
                await place.turn.wait()
            except asyncio.CancelledError:
                # With a server on record and nothing pending JupyterHub would call it ready.
                self.server = None
                self._save_state({})
                raise
        # It counts as one that waits until `_remember`: the hub may be killed before.
        await maybe_future(super().run_pre_spawn_hook())

    def leave_to_next_hub(self) -> None:
        """Have the next hub start it, if this one has not come to that."""
        if self._place and self.pending == "spawn" and not self._is_remembered:
            self._save_state(spawn_queue.waiting_state(self.get_state(), self._place))

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        # Asked before it has a place?
        while (place := self._place) is None:
            await asyncio.sleep(0.1)
        async for ahead in place.ahead():
            yield {"progress": 0, "message": spawn_queue.told(ahead)}
        if place.is_waiting:
            # It is for the next hub: the page asks again, and hears it from that one.
            raise Finish
        async for event in super().progress():
            yield event

    # --- how it is done

    async def _found(self) -> UnitState:
        """What systemd knows of the unit before the server starts: nothing, as a rule."""
        # To ask systemd would be another tenth of what the hub does for a server.
        if not (_TRANSIENT / self._unit).exists():
            return _NOTHING
        return await unit_state(self._unit)

    @property
    def _address(self) -> tuple[str, int]:
        return self.ip or "127.0.0.1", self.port

    def _remember(self) -> None:
        """Have the next hub find the server if this one is killed while it waits for it."""
        self.server.ip, self.server.port = self._address
        self._save_state(self.get_state())
        self._is_remembered = True

    def _save_state(self, state: dict[str, Any]) -> None:
        self.orm_spawner.state = state
        self.user.db.commit()

    async def _launch(self, launch: Launch) -> None:
        """Have systemd start a server.

        Raises:
            NotStartedError: it refuses, or the program cannot be executed.
        """
        write(self._environment, environment_file(launch.environment), 0o600, is_lasting=False)
        started = await _run(*systemd_run(launch, self._environment), is_long=True)
        if started.code:
            state = await unit_state(launch.unit)
            why = _STEPS.get(state.status)
            if state.active == "failed" and not why:
                raise self._ended(state)
            why = why or started.complaint or f"exit code {started.code}"
            raise NotStartedError(f"systemd does not start {launch.unit}: {why}")

    def _ended(self, state: UnitState) -> NotStartedError:
        return NotStartedError(
            f"{self._unit} ended before it listened ({state.result}, {state.status});"
            f" its last words: journalctl -u '{self._unit}'"
        )

    @property
    def _environment(self) -> Path:
        directory: Path = self.layout.server_environments
        return directory / f"{self.unit_name}.env"

    def _account(self) -> Account | None:
        if self.dynamic_users:
            return None
        name = self._expand_user_vars(self.username_template)
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            raise NotStartedError(f"No user named {name} found in the system") from None
        return Account(found.pw_name, Path(found.pw_dir), found.pw_uid, found.pw_gid)

    def _prepared(self, account: Account | None) -> Launch:
        properties: dict[str, str | list[str]] = {
            # Started means that the program runs: what stands in its way is found at once.
            "Type": "exec",
            **server.properties(
                self.layout,
                account,
                may_become_root=self.disable_user_sudo is False,
                systemd=systemd.get_systemd_version(),
            ),
            **self._chosen(account),
            **{name: self._value(value) for name, value in self.unit_extra_properties.items()},
        }
        environment = {**server.environment(properties), **self.get_env()}
        if self.extra_paths:
            paths = [self._expand_user_vars(path) for path in self.extra_paths]
            environment["PATH"] = ":".join([*paths, environment["PATH"]])
        environment["SHELL"] = self.default_shell
        if account is None:
            environment["HOME"] = str(self._home)
        command = [self._expand_user_vars(word) for word in [*self.cmd, *self.get_args()]]
        return Launch(
            unit=self._unit,
            account=account,
            command=[_program(command[0], environment["PATH"]), *command[1:]],
            environment=environment,
            properties=properties,
        )

    def _chosen(self, account: Account | None) -> dict[str, str | list[str]]:
        """Properties that follow from settings of their own."""
        chosen: dict[str, str | list[str]] = {}
        if account is None:
            chosen["DynamicUser"] = "yes"
            chosen["User"] = self.layout.dynamic_user(self.user.name)
            chosen["StateDirectory"] = str(self._home.relative_to("/var/lib"))
            chosen["WorkingDirectory"] = str(self._home)
            # systemd 247 makes the directories above the home with this mask, so that nobody gets
            # there; the home itself is closed by its own mode.
            chosen["UMask"] = "0022"
        else:
            chosen["User"], chosen["Group"] = str(account.uid), str(account.gid)
            chosen["WorkingDirectory"] = self._expand_user_vars(
                self.user_workingdir or str(account.home)
            )
        for is_wanted, name in (
            (self.isolate_tmp, "PrivateTmp"),
            (self.isolate_devices, "PrivateDevices"),
            (self.disable_user_sudo, "NoNewPrivileges"),
        ):
            if is_wanted is not None:
                chosen[name] = "yes" if is_wanted else "no"
        for paths, name in (
            (self.readonly_paths, "ReadOnlyPaths"),
            (self.readwrite_paths, "ReadWritePaths"),
        ):
            if paths is not None:
                chosen[name] = self._value(paths)
        if self.mem_limit is not None:
            chosen["MemoryMax"] = str(self.mem_limit)
        if self.cpu_limit is not None:
            chosen["CPUQuota"] = f"{self.cpu_limit:.0%}"
        if self.slice:
            chosen["Slice"] = self.slice
        return chosen

    def _value(self, value: Any) -> str | list[str]:
        if isinstance(value, (list, tuple)):
            return [self._expand_user_vars(str(each)) for each in value]
        return str(self._expand_user_vars(str(value)))

    def _take_over(self, found: UnitState) -> bool:
        """Go on with a server that runs without the hub's knowledge, if it can be.

        From before a backup was restored, say: there may be work in it.
        """
        if found.active != "active":
            return False
        try:
            its = parse_environment(self._environment.read_text())
        except (OSError, ValueError):
            return False
        wanted = self.get_env()
        port = urlsplit(its.get("JUPYTERHUB_SERVICE_URL", "")).port
        token = its.get("JUPYTERHUB_API_TOKEN")
        if not (port and token and all(its.get(name) == wanted.get(name) for name in _SAME)):
            return False
        self.log.warning("%s runs already: taking it over", self._unit)
        self.port, self.api_token = port, token
        return True

    async def _clear_away(self, state: UnitState | None = None) -> None:
        """Have systemd know nothing of the unit, and its environment forgotten.

        Args:
            state: what systemd knows of it; None: to be asked.
        """
        state = state or await unit_state(self._unit)
        if state.is_alive:
            stopped = await _run("systemctl", "stop", self._unit, is_long=True)
            state = await unit_state(self._unit)
            if state.is_alive:
                raise RuntimeError(f"{self._unit} cannot be stopped: {stopped.complaint}")
        if state.active == "failed":
            await _run("systemctl", "reset-failed", self._unit)
        self._environment.unlink(missing_ok=True)

    async def _until_it_listens(self) -> None:
        """Return when the server listens; JupyterHub ends what takes longer than start_timeout.

        Raises:
            NotStartedError: it has ended, or somebody else listens where it was to.
        """
        while True:
            for _ in range(_LOOKS_PER_S):
                found = held_at(self.port)
                if found:
                    await self._see_that_it_is(found)
                    return
                await asyncio.sleep(1 / _LOOKS_PER_S)
            # Something of it runs while that is there.
            if cgroups_of(self._cgroup):
                continue
            state = await unit_state(self._unit)
            if not state.is_alive:
                raise self._ended(state)

    async def _see_that_it_is(self, found: set[Held]) -> None:
        """Return if it is the server that listens at its port.

        Nobody is to pose as somebody else's server by being first there.

        Args:
            found: who listens there.

        Raises:
            NotStartedError: somebody else does.
        """
        cgroups, uids = {held.cgroup for held in found}, {held.uid for held in found}
        # Only systemd makes a cgroup of that name there: no need to ask it, which would be a tenth
        # of what the hub does for a server.
        if cgroups <= cgroups_of(self._cgroup):
            return
        state = await unit_state(self._unit)
        # With nothing of it left, whoever listens is somebody else.
        if not state.is_alive:
            raise self._ended(state)
        own = state.uid or 0
        # Root: a container's port, say.
        if uids <= {own, 0}:
            return
        # In a sandbox with users of its own (PrivateUsers=) others have no number. Not by its name:
        # in their own systemd everybody may have a unit of that name.
        is_unknown = cgroups == {None} and uids <= {own, 0, _NOBODY}
        if not (is_unknown or cgroups <= cgroups_of(state.cgroup)):
            raise NotStartedError(f"another user's program has taken port {self.port}: try again")

    # --- homes of users that systemd lends

    @property
    def _home(self) -> Path:
        """As somebody who is lent a user sees it: a link."""
        directory: Path = self.layout.dynamic_homes[0]
        # "@" is harmless here, unlike in a unit's name.
        return directory / escaped(self.user.name).replace("_x40", "@")

    @property
    def _owner(self) -> Path:
        """Holds which user of this name has the home."""
        directory: Path = self.layout.home_owners
        return directory / self._home.name

    async def _claim_home(self) -> None:
        """Have a home that is no former user's, however that one was deleted."""
        # Of each row of the database its own, at random; a secret.
        identity = hashlib.sha256(self.user.orm_user.cookie_id.encode()).hexdigest()
        if self._owner.exists() and self._owner.read_text() != identity:
            # Servers of that one are not for this one to take over.
            default_server = server_unit(
                self.unit_name_template, self.user.name, user_id=self.user.id
            )
            units = (f"{default_server}.service", f"{default_server}:*.service")
            await _run("systemctl", "stop", *units, is_long=True)
            await self._clear_away()
            await self._set_home_aside()
        write(self._owner, identity, 0o600)

    async def _set_home_aside(self) -> None:
        """Put a home where only root gets, under a name that tells when.

        Raises:
            RuntimeError: it is still there.
        """
        former: Path = self.layout.former_homes
        home: Path = self.layout.dynamic_homes[1] / self._home.name
        # Not for us to see, then not for us to move.
        with contextlib.suppress(PermissionError):
            if home.exists():
                aside = former / f"{home.name}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
                # All of these names are harmless; the hub's sandbox ends where they begin.
                script = (
                    f"mkdir -p -m 0700 {former} && mv -T {home} {aside} &&"
                    f" chown root:root {aside} && chmod 0700 {aside} && rm -f {self._home}"
                )
                run = ("systemd-run", "--quiet", "--wait", "--collect", "--", "/bin/sh", "-c")
                moved = await _run(*run, script, is_long=True)
                if moved.code:
                    raise RuntimeError(f"{home} cannot be put aside: {moved.complaint}")
                self.log.info("The home of the former user %s: %s", self.user.name, aside)
        self._owner.unlink(missing_ok=True)


def systemd_run(launch: Launch, environment: Path) -> list[str]:
    """The command that has systemd start a server whose environment is in that file."""
    # Without --quiet: that goes for its reasons too.
    argv = ["systemd-run", f"--unit={launch.unit}"]
    for name, value in launch.properties.items():
        # Without a value it takes back what was given before, which a drop-in may have done.
        values = (value or [""]) if isinstance(value, list) else [value]
        argv += [f"--property={name}={each}" for each in values]
    return [*argv, f"--property=EnvironmentFile={environment}", "--", *launch.command]


def environment_file(environment: Mapping[str, str]) -> str:
    """Text of an EnvironmentFile=, systemd.exec(5).

    Raises:
        NotStartedError: a name that is none.
    """
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise NotStartedError(f"{name!r} in c.Spawner.environment cannot be a variable")
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(environment.items()))


def parse_environment(text: str) -> dict[str, str]:
    """The reverse of `environment_file`.

    Raises:
        ValueError: it has not written that.
    """
    return dict(line.split("=", 1) for line in shlex.split(text))


def cgroup_of(unit: str, slice_: str) -> str:
    """Where systemd has a unit of that slice (systemd.slice(5)), as its ControlGroup= would say.

    There is none where systemd itself is not at the root of what is mounted, as in some containers.
    """
    names = slice_.removesuffix(".slice").split("-")
    slices = (f"/{'-'.join(names[: n + 1])}.slice" for n in range(len(names)) if names[n])
    return f"{''.join(slices)}/{unit}"


async def unit_state(unit: str) -> UnitState:
    """What systemd knows of a unit; of one that there is not, that it is inactive.

    Raises:
        SystemdSilentError: it does not say.
    """
    show = ("systemctl", "show", f"--property={_SHOWN}", unit)
    for patience_s in (*_PATIENCE_S, None):
        answer = await _run(*show)
        found = dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line)
        if not answer.code and "ActiveState" in found:
            uid = found.get("UID", "")
            return UnitState(
                found["ActiveState"],
                found.get("Result", ""),
                int(found.get("ExecMainStatus") or 0),
                int(uid) if uid.isdecimal() else None,
                found.get("ControlGroup", ""),
            )
        if patience_s is not None:
            await asyncio.sleep(patience_s)
    raise SystemdSilentError(answer.complaint or f"systemctl show {unit} says nothing")


class _Answer(NamedTuple):
    code: int
    output: str
    complaint: str


async def _run(*argv: str, is_long: bool = False) -> _Answer:
    """Run a command; it ends with whoever waits for it.

    Raises:
        SystemdSilentError: it takes too long, and is not one that does.
    """
    timeout_s = None if is_long else SYSTEMD_TIMEOUT_S
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, "SYSTEMD_COLORS": "0"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, complaint = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        raise SystemdSilentError(f"{argv[0]} took more than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = (text.decode(errors="replace").strip() for text in (output, complaint))
    return _Answer(process.returncode or 0, *said)


def _program(name: str, path: str) -> str:
    """A program as systemd wants it: it does not look at the unit's own PATH.

    Raises:
        NotStartedError: there is none.
    """
    if Path(name).is_absolute():
        return name
    found = shutil.which(name, path=path)
    if not found:
        raise NotStartedError(f"{name} not found on {path}")
    return found


def server_command() -> list[str]:
    """What starts a user server.

    From the release itself, not through the `hub` link: a running server keeps its release when
    the link moves on. -I: nothing in the home directory or in ~/.local can stop it from starting.
    """
    python = release_of_this_interpreter() / "bin" / "python3"
    return [str(python), "-I", "-m", "littlest_hub.singleuser"]


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
