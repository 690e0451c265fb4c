"""JupyterHub as the child of a supervisor that replaces it without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import shutil
import signal
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import jupyterhub.app
import jupyterhub.user
import tornado.tcpserver as tcpserver
from jinja2 import BytecodeCache, Environment, FileSystemLoader, TemplateError
from jinja2.bccache import Bucket
from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.handlers import BaseHandler
from jupyterhub.log import CoroutineLogFormatter
from jupyterhub.spawner import Spawner
from jupyterhub.user import User
from jupyterhub.utils import maybe_future
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, configure_mappers
from tornado.httputil import HTTPServerRequest, RequestStartLine
from tornado.ioloop import PeriodicCallback
from tornado.web import Application, RequestHandler
from traitlets import Any as AnyTrait
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database, spawn_queue
from littlest_hub.hub.config import load
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.proxy_configuration import (
    UPDATE_INTERVAL_MS,
    ProxyConfiguration,
    proxy_configuration,
)
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.hub.supervisor import Control, describe, kept_fragments
from littlest_hub.layout import Layout
from littlest_hub.system.sd_daemon import inherited_sockets
from littlest_hub.units.environment import UnitEnvironment

PENDING_TIMEOUT_S = 60
"""How long a hub that is to be replaced waits for servers that are starting or stopping."""
STOPPING_PENDING_TIMEOUT_S = 10
"""How long it does so when it is to end at once; much less than TimeoutStopSec= of the unit."""
SLOW_TIMEOUT_S = 5
"""How long it then goes on answering others until no request takes long: a wrong password."""
QUEUED_TIMEOUT_S = 11
"""The same while servers wait for their turn: after 10 s JupyterHub says that it takes longer. Not
when the hub is to end at once."""
REQUESTS_TIMEOUT_S = 2
"""How long, when it takes no more requests, it waits for those that are being answered."""
SLOW_S = 0.1

_FIRST_PAGES = ("page.html", "login.html", "home.html", "spawn_pending.html", "error.html")


def serve(layout: Layout, control: Control, fragments: Path | None = None) -> None:
    """Run one hub for the supervisor; returns when it is told to stop.

    Args:
        layout: whose hub.
        control: the line to the supervisor.
        fragments: a copy of the administrator's fragments to use instead.

    Raises:
        LittlestHubError: a fragment fails.
    """
    inherited = [each.duplicate() for each in inherited_sockets()]
    address = inherited[0].getsockname()[:2] if inherited else None
    _keep(fragments or layout.fragments, kept_fragments(layout, os.getpid()))
    config = load(layout, UnitEnvironment.from_environ(hub_address=address), fragments=fragments)
    LittlestHub.instance(loaded=config, inherited=inherited, layout=layout, control=control)
    LittlestHub.launch_instance([])


def _keep(fragments: Path, copy: Path) -> None:
    """Have the fragments at hand as they are now, should those of tomorrow fail; all or none."""
    half = copy.with_name(f".{copy.name}")
    try:
        half.mkdir(mode=0o700)
        shutil.copytree(fragments, half, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        half.chmod(0o700)
        half.rename(copy)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)


class _Application(Application):  # type: ignore[misc]
    """Knows which requests are being answered, and since when."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.answering: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        self.answering[request] = time.monotonic()
        return super().find_handler(request, **kwargs)

    def log_request(self, handler: RequestHandler) -> None:
        self.answering.pop(handler.request, None)
        super().log_request(handler)


class _JournalFormatter(CoroutineLogFormatter):  # type: ignore[misc]
    """Prefixes each line with its priority, for `journalctl -p err` (sd-daemon(3))."""

    _PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4))

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelno
        priority = next((p for threshold, p in self._PRIORITIES if level >= threshold), 6)
        text = str(super().format(record))
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


class _CompiledTemplates(BytecodeCache):
    """What templates were compiled to, for all of JupyterHub's environments."""

    def __init__(self) -> None:
        self._code: dict[tuple[bool, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        code = self._code.get((bucket.environment.is_async, bucket.key))
        if code:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.environment.is_async, bucket.key] = bucket.bytecode_to_string()


class _LastComplaint(logging.Handler):
    """Remembers what JupyterHub said before it gave up with no more than an exit code."""

    text = "the journal says why"

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "\n" not in message:
            self.text = message


class _Events:
    """JupyterHub's log of events until somebody wants one: with it come jsonschema and yaml."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def emit(self, **event: Any) -> Any:
        # One without handlers and listeners does nothing with it either.
        return self._real.emit(**event) if "_real" in self.__dict__ else None

    @functools.cached_property
    def _real(self) -> Any:
        return self._make()

    def __getattr__(self, name: str) -> Any:
        if name == "_real":
            raise RuntimeError("the log of events cannot be made")
        return getattr(self._real, name)


class LittlestHub(JupyterHub):  # type: ignore[misc]
    """JupyterHub with our configuration, inherited sockets, and an end that loses nothing."""

    name = "jupyterhub"
    loaded = AnyTrait(help="the configuration, complete")
    inherited = AnyTrait((), help="listening sockets that systemd holds")
    layout = AnyTrait(help="whose hub this is")
    control = AnyTrait(help="line to the supervisor; None in the foreground")
    on_ready = AnyTrait(help="called when this hub answers")

    trusted_downstream_ips: list[str]  # a trait of JupyterHub's

    _log_formatter_cls = (
        _JournalFormatter if "JOURNAL_STREAM" in os.environ else CoroutineLogFormatter
    )

    _complaint = _LastComplaint(logging.ERROR)
    _latest = math.inf
    """Until when servers may start or stop, once we are to end; CLOCK_MONOTONIC, in seconds."""

    _proxy_configuration: ProxyConfiguration | None = None
    _left: Sequence[spawn_queue.Left] = ()
    """Whose servers waited for their turn when the hub before ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spawning: set[asyncio.Future[None]] = set()

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        config: Config = self.loaded
        self.update_config(config)

    def init_logging(self) -> None:
        super().init_logging()
        self.log.addHandler(self._complaint)

    def init_eventlog(self) -> None:
        self.eventlog = _Events(self._event_logger)
        if "EventLogger" in self.config:
            self.eventlog = self.eventlog._real

    def _event_logger(self) -> Any:
        # In its place is what `imports.light` puts there.
        jupyterhub.app.EventLogger = import_item("jupyter_events.logger.EventLogger")
        super().init_eventlog()
        return self.eventlog

    def init_db(self) -> None:
        """Wait for our turn, then open the database: the first thing that two hubs cannot share."""
        if self.control:
            # Otherwise they wait for us too: 0.05 s for pages that nobody has asked for.
            if self.control.is_beside:
                self._warm_up()
            self._prepare_proxy()
            self.control.say("prepared")
            if self.control.hear() != "go":
                raise LittlestHubError("the supervisor is gone")
        if done := database.prepare(self.layout):
            self.log.warning(done)
        super().init_db()

    def init_proxy(self) -> None:
        super().init_proxy()
        # Who is skipped in X-Forwarded-For, to say in the log where a request comes from.
        if isinstance(self.proxy, HubProxy) and not self.trusted_downstream_ips:
            self.trusted_downstream_ips = self.proxy.trusted_addresses

    def _prepare_proxy(self) -> None:
        """Have the proxy run with what the fragments say of it.

        Raises:
            LittlestHubError: it refuses, and so do we if another hub goes on. Otherwise a hub with
                the proxy of before is better than none.
        """
        try:
            unit = UnitEnvironment.from_environ()
            configuration = proxy_configuration(self.layout, self.config, unit)
            self._proxy_configuration = configuration
            if configuration:
                configuration.apply()
                if configuration.is_changed:
                    self.log.info("The proxy has another static configuration")
        except LittlestHubError as error:
            if self.control.is_beside:
                raise
            self.log.error("%s", error)

    def _warm_up(self) -> None:
        """Do what the first requests would wait for, while another hub still serves."""
        configure_mappers()
        database.head()
        # One table alone: JupyterHub's own way asks alembic for all of them, 0.15 s.
        engine = create_engine("sqlite://")
        orm.User.__table__.create(engine)
        Session(engine).query(orm.User).all()
        options: dict[str, Any] = self.jinja_environment_options
        options.setdefault("bytecode_cache", _CompiledTemplates())
        loader = FileSystemLoader([*self.template_paths, *self._template_paths_default()])
        for is_async in (True, False):
            environment = Environment(
                loader=loader, enable_async=is_async, **{"autoescape": True, **options}
            )
            for page in _FIRST_PAGES:
                # One that is broken fails when it is asked for.
                with contextlib.suppress(TemplateError):
                    environment.get_template(page)

    def cleanup_oauth_clients(self) -> None:
        for user in self.users.values():
            for spawner in user.spawners.values():
                _keep_client(spawner)
        super().cleanup_oauth_clients()

    def init_tornado_application(self) -> None:
        self.tornado_application = _Application(self.handlers, **self.tornado_settings)

    async def init_spawners(self) -> int:
        self._left = spawn_queue.take_left(self.db)
        found: int = await super().init_spawners()
        return found

    async def start(self) -> None:
        # Before anybody asks: a page that waits for its server is not to hear that none starts.
        spawn_queue.QUEUE.hold()
        for left in self._left:
            spawn_queue.QUEUE.expect(left)
            self._spawning.add(asyncio.ensure_future(self._spawn(left)))
        with _taking_over(self.inherited) as rest:
            await super().start()
        self.http_server.add_sockets(rest)
        spawn_queue.QUEUE.go_on()
        if self.control:
            # A connection that is kept may bring a request in the moment in which we close it.
            self.http_server.conn_params.no_keep_alive = True
            asyncio.get_running_loop().add_reader(self.control, self._told)
            self.control.say("ready", f"JupyterHub answers at {self.hub.bind_url}")
            if self._proxy_configuration:
                PeriodicCallback(self._proxy_configuration.update, UPDATE_INTERVAL_MS).start()
            _end_orphaned_services()
        if self.on_ready:
            self.on_ready()

    async def launch_instance_async(self, argv: Any = None) -> None:
        try:
            await self.initialize(argv)
            await self.start()
        except Exception as error:
            self.log.exception("The hub cannot start")
            self.exit(error.message if isinstance(error, LittlestHubError) else describe(error))

    async def shutdown_cancel_tasks(self, sig: Any = None) -> None:
        if self.control:
            await self._make_room(STOPPING_PENDING_TIMEOUT_S)
        else:
            await super().shutdown_cancel_tasks(sig)

    async def _spawn(self, left: spawn_queue.Left) -> None:
        """Start a server as if its user had asked for it; JupyterHub has no other way than that."""
        try:
            if not await self._may_log_in(left.user):
                raise LittlestHubError("not allowed to use this hub any more")
            user = self.users[left.user]
            request = HTTPServerRequest(
                # 1.1 would need a Host header.
                start_line=RequestStartLine("POST", self.hub.base_url, "HTTP/1.0"),
                connection=SimpleNamespace(set_close_callback=lambda _: None),
            )
            handler = BaseHandler(self.tornado_application, request)
            # As `prepare` does, for whoever asks who asks.
            handler._jupyterhub_user, handler._token_authenticated = user, False
            await handler.spawn_single_user(user, left.server)
        except Exception as error:
            # The page shows it.
            self.log.error("%s: %s", left.user, describe(error))
            if spawn_queue.QUEUE.expect_no_more(left):
                spawn_queue.forget_left(self.db, left)

    async def _may_log_in(self, name: str) -> bool:
        """As far as an authenticator can tell of somebody who does not log in."""
        asked = self.authenticator
        return bool(
            await maybe_future(asked.check_blocked_users(name, None))
            and (asked.allow_all or await maybe_future(asked.check_allowed(name, None)))
        )

    def exit(self, exit_status: int | str = 0) -> None:
        super().exit(self._complaint.text if exit_status == 1 else exit_status)

    def init_signal(self) -> None:
        super().init_signal()
        # In the foreground it is the terminal that went away; the unit's is for the supervisor.
        if not self.control:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGHUP, lambda: asyncio.ensure_future(self.shutdown_cancel_tasks())
            )

    def _told(self) -> None:
        asyncio.get_running_loop().remove_reader(self.control)
        is_retired = self.control.hear() == "retire"
        pending_s = PENDING_TIMEOUT_S if is_retired else STOPPING_PENDING_TIMEOUT_S
        self._leaving = asyncio.ensure_future(self._make_room(pending_s))

    async def _make_room(self, pending_s: float) -> None:
        """Exit without losing a request or a server.

        New requests wait in the kernel's queue of the socket that systemd holds, from where the
        next hub takes them.

        Args:
            pending_s: how long to wait for servers that are starting or stopping.
        """
        is_told_again = self._latest < math.inf
        self._latest = min(self._latest, time.monotonic() + pending_s)
        # By a signal and by hanging up, or to end in the middle of a reload.
        if is_told_again:
            return
        spawn_queue.QUEUE.end()
        # A starting server asks the hub, so keep on answering until none does.
        await self._settle(self._is_spawning)
        # While we still answer: each takes its time to end.
        managed = [service for service in self._service_map.values() if service.managed]
        await asyncio.gather(*(service.stop() for service in managed), return_exceptions=True)
        is_crowded = bool(spawn_queue.QUEUE.waiting) and pending_s > QUEUED_TIMEOUT_S
        await self._settle(self._is_slow, QUEUED_TIMEOUT_S if is_crowded else SLOW_TIMEOUT_S)
        await self._settle(self._is_spawning)
        self.http_server.stop()
        # What was accepted a moment ago has yet to be read.
        await asyncio.sleep(0.02)
        await self._settle(self._is_answering, REQUESTS_TIMEOUT_S)
        for spawner in self._spawners():
            if isinstance(spawner, UnitSpawner):
                spawner.leave_to_next_hub()
        try:
            await self.cleanup()
        finally:
            # Everybody waits: no time for destructors.
            logging.shutdown()
            os._exit(0)

    async def _settle(self, is_busy: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Wait until something is over, or for so long, or until `_latest`."""
        began = time.monotonic()
        while is_busy():
            now = time.monotonic()
            latest = self._latest if timeout_s is None else began + timeout_s
            if now > latest:
                return
            await asyncio.sleep(0.01)

    def _is_spawning(self) -> bool:
        # What waits for its turn, the next hub starts.
        return any(s.pending and not getattr(s, "is_waiting", False) for s in self._spawners())

    def _spawners(self) -> Iterator[Any]:
        return (spawner for user in self.users.values() for spawner in user.spawners.values())

    def _is_answering(self) -> bool:
        return len(self.tornado_application.answering) > 0

    def _is_slow(self) -> bool:
        begun = self.tornado_application.answering.values()
        return any(time.monotonic() - since > SLOW_S for since in begun)


def _without_hyphen(name: str) -> str:
    """The name of a user or of a server in the identifier of an OAuth client.

    "-" stands between the two there, and JupyterHub 6.1.1 leaves it in the names as well:
    "alice-prod" would have the client of the server "prod" of "alice" (CVE-2026-108752).
    """
    return quote(name, safe="").replace("-", "%2D")


# It calls it so for nothing else.
jupyterhub.user.quote = _without_hyphen

_delete_spawners = User.delete_spawners


async def _leave_and_delete_spawners(user: User) -> None:
    """As JupyterHub does, which refuses to delete whoever waits, and lets their server start."""
    waiting = [s._spawn_future for s in user.spawners.values() if getattr(s, "is_waiting", False)]
    for start in waiting:
        start.cancel()
    if waiting:
        await asyncio.wait(waiting)
    await _delete_spawners(user)


User.delete_spawners = _leave_and_delete_spawners

_check_db_revision = orm.check_db_revision


def _check_revision(engine: Engine) -> None:
    """As JupyterHub does, which needs alembic even to see that there is nothing to do."""
    # A database that is new has no such table.
    with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found == database.head():
            return
    _check_db_revision(engine)


orm.check_db_revision = _check_revision


def _keep_client(spawner: Spawner) -> None:
    """Leave a running server the OAuth client that it was started with, until it is started anew.

    An earlier release may have called it otherwise; without it nobody logs in to the server.
    """
    client = spawner.orm_spawner.oauth_client
    name = spawner.oauth_client_id
    if spawner.orm_spawner.server is None or client is None or client.identifier == name:
        return
    clear_state = spawner.clear_state

    def clear() -> None:
        # Called when a server has been stopped, and before one is started.
        clear_state()
        spawner.oauth_client_id = name

    spawner.oauth_client_id = client.identifier
    spawner.clear_state = clear


def _end_orphaned_services() -> None:
    """End the services of a hub that was killed; user servers that it forked are left alone."""
    cgroup = Path("/proc/self/cgroup").read_bytes()
    for process in Path("/proc").glob("[0-9]*"):
        # It may end while we look, or be none of ours to look at.
        with contextlib.suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if (
                parent == "1"
                and (process / "cgroup").read_bytes() == cgroup
                and b"\0JUPYTERHUB_SERVICE_NAME=" in b"\0" + (process / "environ").read_bytes()
            ):
                os.kill(int(process.name), signal.SIGTERM)


@contextlib.contextmanager
def _taking_over(inherited: Sequence[socket.socket]) -> Iterator[list[socket.socket]]:
    """While JupyterHub binds its address: give it the inherited socket bound there already.

    Yields those that it did not ask for. JupyterHub 6.1 has no setting for a socket.
    """
    rest = list(inherited)
    bind_sockets = tcpserver.bind_sockets

    def take_or_bind(port: int, address: str | None = None, **kwargs: Any) -> list[socket.socket]:
        asked = [s for s in rest if s.getsockname()[:2] == (address, port)]
        for taken in asked:
            taken.setblocking(False)
            rest.remove(taken)
        return asked or bind_sockets(port, address=address, **kwargs)

    tcpserver.bind_sockets = take_or_bind
    try:
        yield rest
    finally:
        tcpserver.bind_sockets = bind_sockets
