"""Spawners that start what somebody has approved, and nothing else.

The option of a server is the id of a configuration. At each start, however it was asked for, the
configuration is read from the records of the server's owner, and judged again as a form is: the
service that has written it talks to strangers. A start that is refused starts nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import isoformat, maybe_future
from traitlets.utils.importstring import import_item

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.accounts import LentAccount
from littlest_hub.hub.environment_name import WithEnvironmentName
from littlest_hub.hub.homes import DynamicHome
from littlest_hub.hub.launch import Launch, NotStartedError, server_command
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.unprivileged import TemplateSpawner
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch import STACK, records, repository, server_name, volumes
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.configuration import (
    Caps,
    Choices,
    Configuration,
    form_of,
    of_form,
)
from littlest_hub.stacks.launch.group_volumes import store
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.records import Approved
from littlest_hub.stacks.launch.resolver.sources import Sources
from littlest_hub.stacks.launch.resolver.units import sources_of
from littlest_hub.stacks.launch.server import apart, prologue, unit_limits
from littlest_hub.stacks.launch.settings import NOT_FOR_GUESTS, OPTION, Settings
from littlest_hub.stacks.launch.shares import grants
from littlest_hub.stacks.launch.webdav.spawner import WithFolder
from littlest_hub.units.server import RUNTIME, Account, with_values

_SHOWN_SOURCE = RUNTIME / STACK
"""Directory in which a unit sees the files of its repository, and none of others."""


@dataclass(frozen=True)
class Launched:
    """A configuration with the environment and the files for its server."""

    configuration: Configuration
    environment: str
    """The key of its environment; "": it has the kernels of the hub."""
    source: Path
    """The files of its repository."""


class RefusedError(NotStartedError):
    """A launch that is refused.

    Args:
        reason: in a sentence, for people.
        link: the address at which the person may launch it again; "": none.
    """

    def __init__(self, reason: str, link: str = "") -> None:
        super().__init__(reason)
        self.status_code = 403  # nothing has failed
        if link:
            self.jupyterhub_html_message = (
                f'{escape(reason)}. <a href="{escape(link)}">Launch it again</a>'
            )


class WithLaunch(WithEnvironmentName):
    """A spawner whose servers may be launched."""

    launch_settings = Settings()

    user: Any
    name: str
    user_options: Any
    orm_spawner: Any
    log: Any
    hub: Any
    layout: Layout

    async def run_pre_spawn_hook(self) -> None:
        """Refuse at once what must not start; it is judged again when its turn has come."""
        if found := self.launched():
            self.environment_name = found.configuration.environment_name
            self.apply_shares()
        else:
            # Started in another way, it runs as its owner, who has not let them into that.
            grants.withdraw(self.user.db, self.orm_spawner)
            if is_guest(self.user.name):
                raise RefusedError(f"This start is refused: {NOT_FOR_GUESTS}")
        await maybe_future(super().run_pre_spawn_hook())  # type: ignore[misc]

    def get_env(self) -> dict[str, str]:
        environment: dict[str, str] = super().get_env()  # type: ignore[misc]
        if found := self.launched():
            place = Place.of(self.layout).environment(found.environment)
            kernels = place / "share" / "jupyter" / "kernels" if found.environment else ""
            environment[prologue.VARIABLE] = json.dumps(
                {
                    "name": self.name,
                    "version": found.source.name,
                    "source": str(self._seen_source(found)),
                    "kernels": str(kernels),
                    "volumes": str(volumes.SHOWN) if found.configuration.has_volumes else "",
                }
            )
            # Not with the trait: it would replace what is in braces.
            environment["JUPYTERHUB_DEFAULT_URL"] = f"/{found.configuration.page}"
        return environment

    def launched(self) -> Launched | None:
        """Return what the server is started with; None: it is no launch.

        Raises:
            RefusedError: it must not be started.
        """
        id = (self.user_options or {}).get(OPTION)
        return self._launched(id) if id else None

    def _launched(self, id: Any) -> Launched:
        approved = self._approved(id)
        configuration = approved.configuration
        try:
            self._judge(configuration)
            self._judge_people(approved)
        except LittlestHubError as error:
            reason = f"This launch is refused: {error}"
            raise RefusedError(reason, self._link(configuration)) from error
        found = Launched(configuration, approved.environment, self._source(configuration))
        self._refuse_missing(found)
        return found

    def _approved(self, id: Any) -> Approved:
        try:
            directory = self.layout.on_disk(self.layout.stack_data(STACK))
            return records.approved(directory, self.user.name, records.checked_id(id))
        except (LittlestHubError, ValueError) as error:
            raise RefusedError(f"This launch is refused: {error}") from error

    def apply_shares(self) -> None:
        """Let those use the server whom its owner has let in, and nobody else.

        It judges nothing, so that access can be taken from a server that may not start any more.
        """
        people: list[str] = []
        with contextlib.suppress(RefusedError):
            people = self._approved((self.user_options or {}).get(OPTION)).people
        people = people[: self.launch_settings.collaborators]
        missing = grants.apply(self.user.db, self.orm_spawner, people)
        if missing:
            self.log.warning("%s is shared with %s, who do not exist", self.name, missing)

    def _judge(self, configuration: Configuration) -> None:
        """Judge a configuration as a form, with today's settings, and as one of this server.

        Raises:
            LittlestHubError: it is not permitted, or that of another server.
        """
        settings = self.launch_settings
        choices = self._choices_of(self.user.orm_user, configuration.mounts)
        asked = of_form(form_of(configuration), settings.policy, settings.caps, choices)
        if not repository.is_commit(configuration.commit) or (
            asked.at(configuration.commit) != configuration
        ):
            raise LittlestHubError("the configuration is not one that a form can ask for")
        if not self.name or server_name.checked(self.name) != self.name:
            raise LittlestHubError("only a server with a name of its own can be launched")
        # Or somebody who may start a server of the person's could give it the files of another one.
        if configuration.name != self.name and (
            configuration.name or not server_name.is_random(self.name)
        ):
            named = configuration.name or "with a random name"
            raise LittlestHubError(
                f"the configuration is that of a server {named}, not of {self.name}"
            )
        if is_guest(self.user.name) and not settings.offers(configuration):
            raise LittlestHubError(NOT_FOR_GUESTS)
        for mount in volumes.mounts(configuration.mounts):
            found = self._volumes_among(configuration.mounts)[mount.name]
            volumes.refuse_replaceable(found, self.layout.root)

    def _choices_of(self, row: orm.User, mounts: str) -> Choices:
        """Return what somebody may choose at this moment, with the groups that they are in now.

        Args:
            row: the person.
            mounts: what is chosen; of the groups' volumes, only these are looked for.
        """
        settings, name = self.launch_settings, str(row.name)
        groups = [str(group.name) for group in row.groups]
        choices = settings.choices_for(name, groups)
        if not settings.group_volumes or is_guest(name):
            return choices
        person = records.digest_of(name, str(isoformat(row.created)))
        offered = store.offered(self._group_volumes_among(mounts), groups, person)
        return replace(choices, volumes={**offered, **choices.volumes})

    def _volumes_among(self, mounts: str) -> dict[str, volumes.Volume]:
        """Return all volumes of the administrator's, and those of groups that are chosen."""
        found = self._group_volumes_among(mounts)
        own = {name: each.volume(self.layout) for name, each in found.items()}
        return {**own, **self.launch_settings.volumes}

    def _group_volumes_among(self, mounts: str) -> dict[str, store.GroupVolume]:
        # No more, since the service, which has written them, may be hijacked.
        names = [each.name for each in volumes.mounts(mounts)][: volumes.MOST]
        return store.named(self.layout, names) if self.launch_settings.group_volumes else {}

    def _judge_people(self, approved: Approved) -> None:
        """Refuse volumes that somebody who may use the server could not have themselves.

        Raises:
            LittlestHubError: whom, and which.
        """
        mounts = approved.configuration.mounts
        for name in approved.people if mounts else ():
            row = orm.User.find(self.user.db, name)
            try:
                volumes.checked(mounts, self._choices_of(row, mounts).volumes if row else {})
            except LittlestHubError as error:
                raise LittlestHubError(
                    f"{name}, who may use this server, may not have its volumes: {error.message}"
                ) from error

    def _link(self, configuration: Configuration) -> str:
        """Return the address at which a person may launch a configuration again."""
        base = str(self.hub.base_url).removesuffix("hub/")
        return form_of(configuration).url(base)

    def _source(self, configuration: Configuration) -> Path:
        sources = Sources(sources_of(self.layout))
        owner = self._owner if configuration.private else ""
        return sources.place(configuration.repository, configuration.commit, owner)

    @property
    def _owner(self) -> str:
        """The digest of the server's owner, as the service has it."""
        return records.digest_of(self.user.name, isoformat(self.user.orm_user.created))

    def _seen_source(self, found: Launched) -> Path:
        """Return where the server sees the files of its repository."""
        return found.source / "files"

    def _refuse_missing(self, found: Launched) -> None:
        """Refuse a launch whose environment has been removed to make room.

        The spawner builds nothing. The launch page does, from the lock that it keeps. Files that
        are missing keep nobody from a copy that is there.
        """
        place = Place(self.layout.on_disk(Place.of(self.layout).home))
        if found.environment and not place.is_complete(found.environment):
            raise RefusedError(
                "Its environment has been removed from this machine to make room; it is built"
                " again when you launch this again",
                self._link(found.configuration),
            )


class UnitWithLaunch(WithFolder, WithLaunch):
    """A launch in a unit, which sees one environment and the files of one repository."""

    disable_user_sudo: bool | None
    _environment_file: Path
    _stop_unit: Any

    @classmethod
    def can_be(cls, spawner: type[Any]) -> bool:
        """Return whether a spawner starts units whose properties the hub chooses."""
        return issubclass(spawner, UnitSpawner) and not issubclass(spawner, TemplateSpawner)

    @property
    def _is_apart(self) -> bool:
        """Whether the server runs as another user than its owner: it is shared, or temporary."""
        found = self.launched()
        return found is not None and bool(
            found.configuration.share or found.configuration.temporary
        )

    @property
    def _is_temporary(self) -> bool:
        found = self.launched()
        return found is not None and found.configuration.temporary

    async def _claim_home(self) -> None:
        if not self._is_apart:
            await super()._claim_home()  # type: ignore[misc]
        elif not self._is_temporary:
            # Unlike the cookie id, it stays the same when the owner logs out everywhere.
            row = self.user.orm_user
            identity = f"{row.id} {row.created.isoformat()}"
            if not self._home.belongs_to(identity):
                await self._stop_unit()
                await self._home.set_aside(self.log)
            self._home.claim(identity)

    @property
    def _home(self) -> DynamicHome:
        if self._is_apart:
            return DynamicHome(self.layout, apart.name_of(self.user.name, self.name))
        home: DynamicHome = super()._home  # type: ignore[misc]
        return home

    def _account(self) -> Account | LentAccount:
        if not self._is_apart:
            usual: Account | LentAccount = super()._account()  # type: ignore[misc]
            return usual
        if self._is_temporary:
            return apart.TemporaryAccount(self.layout, self.user.name, self.name)
        files = self._environment_file.with_suffix("")
        return apart.lent(self.layout, self.user.name, self.name, self._home.path, files)

    def _prepare(self, account: Account | LentAccount) -> Launch:
        if self._is_apart:
            # Users of an administrator's shared server must not become root there.
            self.disable_user_sudo = True
        launch: Launch = super()._prepare(account)
        found = self.launched()
        mounts = found.configuration.mounts if found else ""
        shown = volumes.properties(mounts, self._volumes_among(mounts))
        launch = replace(launch, properties=with_values(launch.properties, shown))
        if found is None:
            hidden = {"InaccessiblePaths": [f"-{Place.of(self.layout).home}"]}
            return replace(launch, properties=with_values(launch.properties, hidden))
        limits = unit_limits.of_configuration(found.configuration, launch.properties)
        view = self._view(found)
        if found.configuration.temporary:
            home = view.setdefault("TemporaryFileSystem", [])
            home.insert(0, apart.HOME_MOUNT)
        return replace(
            launch,
            command=[*server_command()[:2], "-m", prologue.MODULE, *launch.command],
            environment={**launch.environment, **unit_limits.variables(limits)},
            properties={**with_values(launch.properties, view), **limits},
        )

    def _seen_source(self, found: Launched) -> Path:
        return _SHOWN_SOURCE

    def _view(self, found: Launched) -> dict[str, list[str]]:
        place = Place.of(self.layout)
        shown = [f"-{found.source / 'files'}:{_SHOWN_SOURCE}"]
        if not found.environment:
            return {"InaccessiblePaths": [f"-{place.home}"], "BindReadOnlyPaths": shown}
        return {
            # Logs and environments of others. Two mounts, because systemd 247 makes directories
            # that the account cannot enter.
            "TemporaryFileSystem": [
                f"{each}:ro,mode=0755,size=1M" for each in (place.home, place.built)
            ],
            "BindReadOnlyPaths": [
                *shown,
                str(place.pythons),
                str(place.environment(found.environment)),
            ],
        }


class JobWithLaunch(WithLaunch):
    """A launch as a job of a cluster, which has no view of its own."""

    python: str
    choice: Any

    @classmethod
    def can_be(cls, spawner: type[Any]) -> bool:
        """Return whether a spawner is that of the Slurm stack, which no stack may import."""
        return hasattr(spawner, "request_for") and hasattr(spawner, "_program")

    def request_for(self, chosen: Mapping[str, Any]) -> Any:
        """Return the request of the job, within the limits of its partition."""
        others = {name: value for name, value in chosen.items() if name != OPTION}
        if not chosen.get(OPTION):
            return super().request_for(others)  # type: ignore[misc]
        configuration = self._launched(chosen[OPTION]).configuration
        form, processors = form_of(configuration), math.ceil(configuration.cpu_percent / 100)
        own = {"hours": form.hours, "memory_gb": form.memory_gb, "processors": processors or ""}
        request = super().request_for(  # type: ignore[misc]
            {**others, **{name: value for name, value in own.items() if value}}
        )
        if self.choice.limits:
            return request
        # Without partitions in the fragment, the caps of launches are the only limits there are.
        numbers = {
            "minutes": configuration.minutes,
            "memory_mb": configuration.memory_mb,
            "processors": processors,
        }
        return replace(request, **{name: number for name, number in numbers.items() if number})

    def _program(self) -> list[str]:
        program: list[str] = super()._program()  # type: ignore[misc]
        if self.launched() is None:
            return program
        return [self.python, "-I", "-m", prologue.MODULE, *program]


class ChildWithLaunch(WithLaunch):
    """A launch as a process of whoever runs the hub (`littlest-hub run`), with all their rights."""

    cmd: Any

    @classmethod
    def can_be(cls, spawner: type[Any]) -> bool:
        """Return whether servers are child processes of a hub in the foreground."""
        # Only such a hub needs it.
        from littlest_hub.lifecycle.foreground import ChildSpawner

        return issubclass(spawner, ChildSpawner)

    @property
    def layout(self) -> Layout:  # type: ignore[override]
        return installation.of_this_release()

    async def start(self) -> Any:
        usual = self.cmd
        if self.launched():
            self.cmd = [*server_command()[:2], "-m", prologue.MODULE, *usual]
        try:
            return await super().start()  # type: ignore[misc]
        finally:
            self.cmd = usual


def with_launch(spawner: type[Any] | str, settings: Settings) -> type[Any]:
    """Return a spawner whose servers may be launched, for `c.JupyterHub.spawner_class`.

    Args:
        spawner: `UnitSpawner`, one that submits jobs as `SlurmSpawner` does, or that of a hub in
            the foreground; or its name.
        settings: those of the service.

    Raises:
        TypeError: it is another one.
    """
    if isinstance(spawner, str) and "." in spawner:
        spawner = import_item(spawner)
    if isinstance(spawner, type):
        name = f"Launch{spawner.__name__}"
        if UnitWithLaunch.can_be(spawner):
            return type(name, (UnitWithLaunch, spawner), {"launch_settings": settings})
        if JobWithLaunch.can_be(spawner):
            own = {"launch_settings": _settings_of_jobs(settings)}
            return type(name, (JobWithLaunch, spawner), own)
        if ChildWithLaunch.can_be(spawner):
            own = {"launch_settings": settings_of_children(settings)}
            return type(name, (ChildWithLaunch, spawner), own)
    name = spawner.__name__ if isinstance(spawner, type) else spawner
    raise TypeError(
        f"{name} cannot launch: expected UnitSpawner or SlurmSpawner;"
        " a hub that does not run as root has no UnitSpawner"
    )


def settings_of_children(settings: Settings) -> Settings:
    """Return the settings for child processes: one person, no view of their own, and no limits.

    Nothing would keep code that runs while it is built from that person's files.
    """
    return replace(
        settings,
        caps=Caps(),
        volumes={},
        group_volumes={},
        webdav=False,
        collaborators=0,
        is_temporary_possible=False,
        guests=0,
        one_click={},
        runs_code=False,
    )


def _settings_of_jobs(settings: Settings) -> Settings:
    """Return the settings for jobs, without what needs mounts: nothing is read-only or hidden."""
    return replace(
        settings,
        volumes={},
        group_volumes={},
        webdav=False,
        collaborators=0,
        is_temporary_possible=False,
        is_private_possible=False,
        guests=0,
    )
