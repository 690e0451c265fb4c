"""A hub that takes every step of a start that can fail, and serves no one.

It runs in the sandbox, in which nothing of the installation can be written: its database is a copy
in memory.
"""

from __future__ import annotations

import contextlib
import logging
import pwd
import secrets
import sqlite3
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest
from traitlets import TraitError

from littlest_hub.check.jupyterhub_api import (
    HubProxy,
    JupyterHub,
    LittlestHub,
    LoginHandler,
    ProxyConfiguration,
    UnitSpawner,
    database,
    orm,
    proxy_configuration,
)
from littlest_hub.errors import LittlestHubError
from littlest_hub.units.environment import UnitEnvironment

_COPIED_BYTES = 100_000_000
"""Size of a database up to which the trial has a copy; a larger one is replaced by an empty one."""

_TRIED_USERS = 20
"""The most users that are looked up until one has an account."""


class UnknownUserError(Exception):
    """A spawner that cannot be made for a user without an account."""


class _Unconnected(HTTPConnection):  # type: ignore[misc]
    """The connection of a request that no one has sent."""

    context = SimpleNamespace(remote_ip="127.0.0.1", protocol="http")

    def set_close_callback(self, callback: Any) -> None:
        pass


class TrialHub(LittlestHub):
    """A hub that initializes itself as any other does."""

    # Traits of JupyterHub.
    authenticator: Any
    cookie_secret: bytes
    db: Any
    db_kwargs: dict[str, Any]
    db_url: str
    debug_db: bool
    last_activity_interval: int
    service_check_interval: int
    spawner_class: type
    tornado_settings: dict[str, Any]
    upgrade_db: bool
    tornado_application: Any
    users: Any

    spawner: Any
    """The spawner that was made for one user, as a trial."""

    _has_login_page = False
    """True if the authenticator has no other one."""

    def _configure_logging(self) -> None:
        """Keep the last error, which JupyterHub logs before it exits, and write nothing."""
        log = logging.getLogger(type(self).__name__)
        log.handlers = [self._last_error]
        log.propagate = False

    def init_logging(self) -> None:
        """Open no log file; a rule checks whether it can be written."""

    def write_pid_file(self) -> None:
        """Leave the pid file alone; a rule checks whether it can be written."""

    def init_secrets(self) -> None:
        file = self.layout.hub_state / self.cookie_secret_file
        if not (self.cookie_secret or file.exists()):
            self.cookie_secret = secrets.token_bytes(32)
        super().init_secrets()

    def init_internal_ssl(self) -> None:
        """Write no certificates."""

    def init_db(self) -> None:
        """Work on a copy; connect to a database server, and leave it as it is.

        Raises:
            LittlestHubError: the hub would not use a database of that schema.
        """
        url = make_url(self.db_url)
        # As `orm.new_session_factory` does, which opens the database as well.
        kwargs = {key: each for key, each in self.db_kwargs.items() if key != "expire_on_commit"}
        engine = create_engine(self.db_url, echo=self.debug_db, **kwargs)
        is_file = url.get_backend_name() == "sqlite"
        source = self.layout.hub_state / (url.database or "") if is_file else None
        found = _revision_in(source) if source else _revision_on(engine)
        # The hub migrates its own.
        is_migrated = self.upgrade_db or source == self.layout.database
        if not is_migrated and found not in (None, database.head()):
            raise LittlestHubError(
                f"the database has the schema {found}; expected {database.head()}, or"
                " c.JupyterHub.upgrade_db = True to migrate it"
            )
        copy = _copy_of_database(source if found == database.head() else None)
        self.db_url = "sqlite://"
        self.db_kwargs = {"creator": lambda: copy, "poolclass": StaticPool}
        # Without the steps of LittlestHub, which wait for the hub before it.
        JupyterHub.init_db(self)

    def init_proxy(self) -> None:
        """Read what the fragments say about the proxy, without looking for a running one."""
        configuration = proxy_configuration(
            self.layout, self.config, UnitEnvironment.from_environ()
        )
        if configuration is None:
            super().init_proxy()
            return
        configuration.read_certificate()
        self.proxy = HubProxy(config=self.config, should_start=True, app=self, hub=self.hub)
        if self.proxy.extra_static_config or self.proxy.extra_dynamic_config:
            self._try_traefik(configuration, self.proxy.extra_dynamic_config)

    def _try_traefik(self, configuration: ProxyConfiguration, dynamic: dict[str, Any]) -> None:
        """Start a traefik that serves no one.

        Raises:
            LittlestHubError: it refuses its configuration.
        """
        with tempfile.TemporaryDirectory() as directory:
            if reason := configuration.refusal(Path(directory), dynamic):
                raise LittlestHubError(f"the proxy refuses it: {reason}")

    async def init_users(self) -> None:
        """Add users without telling the authenticator; if that fails, a hub only logs it."""
        authenticator = self.authenticator
        # Root's helper creates accounts, which needs no trial. For users of groups and roles too.
        authenticator.add_system_user = authenticator.add_user = lambda user: None
        await super().init_users()
        # From here on, `add_user` is called for users of groups and roles. JupyterHub's own method
        # only validates names; a method of a fragment might do anything.
        classes = (each for each in type(authenticator).__mro__ if "add_user" in vars(each))
        upstream = next(each for each in classes if each.__module__ == "jupyterhub.auth")
        authenticator.add_user = partial(vars(upstream)["add_user"], authenticator)

    async def init_spawners(self) -> int:
        """Leave the servers that run alone."""
        return 0

    def end_sessions(self, user: Any) -> None:
        """Leave the record of the user's home alone."""

    async def initialize(self, *args: Any, **kwargs: Any) -> None:
        await super().initialize(*args, **kwargs)
        self._refuse_other_tasks()
        self._refuse_intervals()
        # Its class may refuse settings that only together are wrong.
        if issubclass(self.spawner_class, UnitSpawner):
            members = {"layout": self.layout}
            spawner = type(self.spawner_class.__name__, (self.spawner_class,), members)
            self.tornado_settings["spawner_class"] = spawner
        handler = self._page_handler()
        await self._render_page(handler)
        user = self._user_with_spawner()
        self.spawner = user.spawners[""]
        await self._render_pages_of(user, handler)

    def _page_handler(self) -> LoginHandler:
        """Make what answers a request for the login page, or would without the authenticator's."""
        request = HTTPServerRequest(
            "GET", f"{self.hub_prefix}login", headers=HTTPHeaders(), connection=_Unconnected()
        )
        found = self.tornado_application.find_handler(request).handler_class
        self._has_login_page = issubclass(found, LoginHandler) and not self.authenticator.auto_login
        return (found if self._has_login_page else LoginHandler)(self.tornado_application, request)

    async def _render_page(self, handler: LoginHandler) -> None:
        """Render the login page, or another one if users log in without it."""
        await handler.prepare()
        if self._has_login_page:
            await handler._render()
        else:
            await handler.render_template("error.html", status_code=404, status_message="")

    def _user_with_spawner(self) -> Any:
        """Return a user with an account, or else one that is not known, and make the spawner.

        Raises:
            UnknownUserError: it fails, perhaps because the user has no account.
        """
        recent = self.db.query(orm.User).order_by(orm.User.last_activity.desc()).limit(_TRIED_USERS)
        user = next((each for each in recent if _has_account(each.name)), None)
        has_account = user is not None
        if user is None:
            # A name that no user has.
            user = orm.User(name=f"trial-{secrets.token_hex(4)}")
            self.db.add(user)
            self.db.commit()
        try:
            _ = self.users[user].spawners[""]
        except (LittlestHubError, TraitError):
            raise
        except Exception as error:
            if has_account:
                raise
            raise UnknownUserError(user.name) from error
        return self.users[user]

    async def _render_pages_of(self, user: Any, handler: LoginHandler) -> None:
        """Render the pages that someone sees who logs in and starts a server."""
        handler._jupyterhub_user = user
        handler._resolve_roles_and_scopes()
        server = {"user": user, "spawner": user.spawner, "server_name": "", "spawn_url": ""}
        home = {"default_server": user.spawner, "url": "", "spawners": [], "url_path_join": "".join}
        for page, values in (
            ("home.html", {**home, "user": user}),
            ("spawn.html", {**server, "for_user": user, "spawner_options_form": ""}),
            ("spawn_pending.html", {**server, "progress_url": ""}),
            ("not_running.html", {**server, "failed": True}),
            ("error.html", {"status_code": 404, "status_message": ""}),
        ):
            await handler.render_template(page, auth_state=None, **values)

    def _refuse_other_tasks(self) -> None:
        """Refuse settings with which JupyterHub prints or writes something and exits."""
        names = ("show_config", "show_config_json", "generate_config", "generate_certs")
        if any(getattr(self, name) for name in names):
            raise LittlestHubError("with this setting, JupyterHub does only that, and exits")

    def _refuse_intervals(self) -> None:
        """Refuse what `JupyterHub.start` cannot wait for (tornado.ioloop.PeriodicCallback)."""
        if min(self.service_check_interval, self.last_activity_interval) < 0:
            raise LittlestHubError("expected a number of seconds, or 0 for never")


def _has_account(name: str) -> bool:
    with contextlib.suppress(KeyError, ValueError):
        pwd.getpwnam(name)
        return True
    return False


def _revision_in(source: Path) -> str | None:
    """Return the revision of the schema in a file of sqlite; None: unknown."""
    if not source.is_file():
        return None
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_opened(source)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    return None


def _revision_on(engine: Engine) -> str | None:
    """Return the revision of the schema on a database server; None: it has no tables yet."""
    with engine.connect() as connection, contextlib.suppress(SQLAlchemyError):
        found: str | None = connection.execute(
            text("SELECT version_num FROM alembic_version")
        ).scalar()
        return found
    return None


def _copy_of_database(source: Path | None) -> sqlite3.Connection:
    """Return a copy in memory of a database, or an empty one if it is too large or is none."""
    made = sqlite3.connect(":memory:", check_same_thread=False)
    if source is None or source.stat().st_size > _COPIED_BYTES:
        return made
    try:
        with contextlib.closing(_opened(source)) as original:
            original.backup(made)
        return made
    except sqlite3.Error:
        made.close()
    return sqlite3.connect(":memory:", check_same_thread=False)


def _opened(source: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)
