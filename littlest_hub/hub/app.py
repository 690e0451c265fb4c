"""JupyterHub as the child of a supervisor that replaces it without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import BytecodeCache, Environment, TemplateError
from jinja2.bccache import Bucket
from jupyterhub import orm
from jupyterhub.apihandlers.users import SpawnProgressAPIHandler
from jupyterhub.handlers import BaseHandler
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, configure_mappers
from tornado.httputil import HTTPServerRequest, RequestStartLine
from tornado.ioloop import PeriodicCallback
from tornado.log import app_log
from traitlets import Any as AnyTrait
from traitlets import default
from traitlets.config import Config

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database, patches, spawn_queue
from littlest_hub.hub.access import AccessByFragments, is_allowed
from littlest_hub.hub.application import HubApplication
from littlest_hub.hub.config import load
from littlest_hub.hub.control import ControlChannel, one_line
from littlest_hub.hub.followers import HubWithFollowers
from littlest_hub.hub.guard import GUARD
from littlest_hub.hub.hook_errors import HookErrors
from littlest_hub.hub.limited_login import limited
from littlest_hub.hub.login_limits import LoginLimits
from littlest_hub.hub.logs import FORMATTER, LastError, is_news
from littlest_hub.hub.pages import HubWithPages
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.proxy_configuration import (
    UPDATE_INTERVAL_MS,
    ProxyConfiguration,
    proxy_configuration,
)
from littlest_hub.hub.request_limits import (
    HubServer,
    ProgressHandler,
    RequestLimits,
    limit_stored_values,
)
from littlest_hub.hub.services import HubWithServices, ServiceKeeper, end_orphaned_services
from littlest_hub.hub.spawn_options import FormOptions, RequestPolicy
from littlest_hub.hub.spawn_queue import InterruptedSpawn, SpawnerWithQueue
from littlest_hub.hub.unit_files import record_start
from littlest_hub.layout import Layout
from littlest_hub.system.sd_daemon import inherited_sockets
from littlest_hub.units.environment import UnitEnvironment

# Before any fragment is executed: fragments may change what is patched here.
patches.apply(logging.getLogger(__name__))

# A hub that ends:
PENDING_TIMEOUT_S = 60
"""Time that it waits for servers that start or stop, if another hub replaces it."""
STOPPING_PENDING_TIMEOUT_S = 10
"""The same if it stops at once; much less than TimeoutStopSec= of the unit."""
SLOW_TIMEOUT_S = 5
"""Time that it then waits until no request takes long, such as a login with a wrong password."""
QUEUED_TIMEOUT_S = 11
"""The same while servers wait in the queue, unless it stops at once: JupyterHub answers requests
for them after 10 s."""
KEPT_TIMEOUT_S = 2
"""Time that it waits until the proxy has closed idle connections, which takes it `HUB_IDLE_MS`."""
REQUESTS_TIMEOUT_S = 2
"""Time that it waits for open requests after it has closed its sockets."""

_FIRST_PAGES = ("page.html", "login.html", "home.html", "spawn_pending.html", "error.html")
"""Templates of the pages that people see first: ours, and JupyterHub's, which ours extend."""


def serve(layout: Layout, control: ControlChannel, fragments: Path | None = None) -> None:
    """Run one hub for the supervisor until the supervisor retires it.

    Args:
        layout: the installation.
        control: the channel to the supervisor.
        fragments: a copy of the administrator's fragments to use instead.

    Raises:
        LittlestHubError: a fragment fails.
    """
    sockets = [each.duplicate() for each in inherited_sockets()]
    address = sockets[0].getsockname()[:2] if sockets else None
    _copy_fragments(fragments or layout.fragments, layout.fragments_copy(os.getpid()))
    patches.use_helpers(str(layout.password_address))
    config = load(layout, UnitEnvironment.from_environ(hub_address=address), fragments=fragments)
    LittlestHub.instance(loaded_config=config, sockets=sockets, layout=layout, control=control)
    LittlestHub.launch_instance([])


def _copy_fragments(fragments: Path, copy: Path) -> None:
    """Copy the fragments, all or none, for a hub that is started when later ones fail."""
    unfinished = copy.with_name(f".{copy.name}")
    try:
        unfinished.mkdir(mode=0o700)
        shutil.copytree(fragments, unfinished, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        unfinished.chmod(0o700)
        unfinished.rename(copy)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)


class _TemplateCache(BytecodeCache):
    """Compiled templates, shared by JupyterHub's two jinja environments."""

    def __init__(self) -> None:
        self._code: dict[tuple[bool, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        code = self._code.get((bucket.environment.is_async, bucket.key))
        if code:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.environment.is_async, bucket.key] = bucket.bytecode_to_string()


class LittlestHub(AccessByFragments, HubWithFollowers, HubWithPages, HubWithServices):
    """JupyterHub with our configuration, inherited sockets, and an end that loses no request."""

    name = "jupyterhub"
    loaded_config = AnyTrait(help="the complete configuration")
    sockets = AnyTrait((), help="listening sockets that systemd holds")
    layout = AnyTrait(help="the installation")
    control = AnyTrait(help="channel to the supervisor; None in the foreground")

    handlers: list[Any]
    trusted_downstream_ips: list[str]  # a trait of JupyterHub

    _log_formatter_cls = FORMATTER
    _pending_deadline = math.inf
    """Until when this hub, once it is to end, waits for pending servers; CLOCK_MONOTONIC."""

    _sent_status = ""
    _proxy_configuration: ProxyConfiguration | None = None
    _interrupted: Sequence[InterruptedSpawn] = ()
    """Servers that were waiting in the queue when the last hub ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._last_error = LastError(logging.ERROR)
        super().__init__(*args, **kwargs)
        self._resumed: set[asyncio.Future[None]] = set()
        self._services = ServiceKeeper(self.log, self._report_status)

    # --- start

    @default("classes")  # type: ignore[untyped-decorator]
    def _no_classes(self) -> list[type[Any]]:
        """Return no classes for a command line's help, which this hub does not have.

        JupyterHub would import all authenticators, spawners and proxies that are installed.
        """
        return []

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        config: Config = self.loaded_config
        self.update_config(config)

    def init_logging(self) -> None:
        super().init_logging()
        self.log.addHandler(self._last_error)
        app_log.addFilter(is_news)
        self.log.addHandler(HookErrors(self.config, self.log))

    def write_pid_file(self) -> None:
        """Write it, unless a supervisor has other hubs: see `init_db`."""
        if not self.control:
            super().write_pid_file()

    def init_db(self) -> None:
        """Wait until no other hub has the database open, then open it."""
        if self.control:
            # Without another hub, requests wait for this one as well: 0.05 s.
            if self.control.is_beside:
                _warm_up(self)
            self._prepare_proxy()
            self.control.send("prepared")
            if self.control.receive() != "go":
                raise LittlestHubError("the supervisor is gone")
            # Only now: the hub before this one has removed its own.
            try:
                super().write_pid_file()
            except OSError as error:
                self.log.error("%s: %s; the hub serves without it", self.pid_file, error.strerror)
        if change := database.prepare(self.layout):
            self.log.warning(change)
        super().init_db()

    def init_proxy(self) -> None:
        super().init_proxy()
        # Skipped in X-Forwarded-For, so that the log has the client's address.
        if isinstance(self.proxy, HubProxy) and not self.trusted_downstream_ips:
            self.trusted_downstream_ips = self.proxy.trusted_addresses

    def _prepare_proxy(self) -> None:
        """Apply what the fragments say about the proxy, before the hub counts as prepared.

        If the proxy refuses it, the reload fails while the other hub still serves.

        Raises:
            LittlestHubError: it cannot be applied, and another hub is serving. Without another one,
                a hub with the proxy's former configuration is better than none.
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

    def cleanup_oauth_clients(self) -> None:
        for spawner in self._spawners():
            patches.keep_oauth_client(spawner)
        super().cleanup_oauth_clients()

    def init_handlers(self) -> None:
        if "batchspawner" in sys.modules:
            importlib.import_module("littlest_hub.hub.batchspawner")
        super().init_handlers()
        self.handlers = [
            (path, ProgressHandler if kind is SpawnProgressAPIHandler else kind, *rest)
            for path, kind, *rest in self.handlers
        ]

    def init_tornado_settings(self) -> None:
        super().init_tornado_settings()
        self.tornado_settings["request_policy"] = RequestPolicy(parent=self)

    def init_tornado_application(self) -> None:
        authenticator: Any = self.authenticator
        logins = LoginLimits(parent=self)
        authenticator.get_authenticated_user = limited(authenticator, logins, self._network)
        limits = RequestLimits(parent=self)
        limit_stored_values()
        self.tornado_application = HubApplication(
            self.handlers, limits, self._is_from_proxy, **self.tornado_settings
        )

    def _is_from_proxy(self, request: HTTPServerRequest) -> bool:
        return isinstance(self.proxy, HubProxy) and self.proxy.has_sent(request)

    def _network(self, request: HTTPServerRequest) -> str:
        """Return where a request comes from, for `LoginLimits`."""
        if isinstance(self.proxy, HubProxy) and not self.proxy.has_sent(request):
            return "this machine"
        return str(request.remote_ip)

    async def init_spawners(self) -> int:
        if self.control:
            GUARD.address = self.layout.guard_control
        self._interrupted = spawn_queue.take_interrupted(self.db)
        found: int = await super().init_spawners()
        return found

    async def start(self) -> None:
        # Before the first request: a pending page must not see that no server is pending.
        spawn_queue.QUEUE.pause()
        for spawn in self._interrupted:
            spawn_queue.QUEUE.reserve(spawn)
            self._resumed.add(asyncio.ensure_future(resume(self, spawn)))
        with patches.listening_on(self.sockets, HubServer) as unused:
            await super().start()
        self.http_server.add_sockets(unused)
        if isinstance(self.proxy, HubProxy):
            await self.proxy.hold_ports()
        spawn_queue.QUEUE.resume()
        gc.freeze()  # what is here stays; each look at it would delay requests by up to 40 ms
        if self.control:
            asyncio.get_running_loop().add_reader(self.control, self._on_message)
            self._sent_status = self._status()
            self.control.send("ready", self._sent_status)
            if self._proxy_configuration:
                PeriodicCallback(self._update_proxy, UPDATE_INTERVAL_MS).start()
            end_orphaned_services()
            record_start(self.layout)
        self.call_followers()

    async def start_service(self, name: str, service: Any, ssl_context: Any = None) -> bool:
        """Start a service; the hub serves even if it fails."""
        await self._services.start(service, ssl_context)
        return True

    def _status(self) -> str:
        """Return one line for `systemctl status`."""
        error = self._proxy_configuration.last_error if self._proxy_configuration else ""
        text = f"JupyterHub answers at {self.hub.bind_url}"
        return "; ".join(filter(None, (text, self._services.summary(), error)))

    def _report_status(self) -> None:
        # Before the hub is ready there is none yet.
        if self._sent_status and self._sent_status != (status := self._status()):
            self._sent_status = status
            self.control.send("status", status)

    async def _update_proxy(self) -> None:
        if self._proxy_configuration:
            await self._proxy_configuration.update()
            self._report_status()

    async def launch_instance_async(self, argv: Any = None) -> None:
        try:
            await self.initialize(argv)
            await self.start()
        except Exception as error:
            self.log.exception("The hub cannot start")
            self.exit(error.message if isinstance(error, LittlestHubError) else one_line(error))

    def exit(self, exit_status: int | str = 0) -> None:
        super().exit(self._last_error.text if exit_status == 1 else exit_status)

    # --- end

    def init_signal(self) -> None:
        super().init_signal()
        # In the foreground, the terminal has hung up; a unit's supervisor handles this signal.
        if not self.control:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGHUP, lambda: asyncio.ensure_future(self.shutdown_cancel_tasks())
            )

    async def shutdown_cancel_tasks(self, sig: Any = None) -> None:
        if self.control:
            await self._retire(STOPPING_PENDING_TIMEOUT_S)
        else:
            await super().shutdown_cancel_tasks(sig)

    def _on_message(self) -> None:
        """Retire, as the supervisor demands or because it is gone, or restore the proxy."""
        loop = asyncio.get_running_loop()
        word = self.control.receive()
        if word == "restore":
            if self._proxy_configuration:
                loop.run_in_executor(None, self._proxy_configuration.restore)
            return
        loop.remove_reader(self.control)
        is_replaced = word == "retire"
        pending_timeout_s = PENDING_TIMEOUT_S if is_replaced else STOPPING_PENDING_TIMEOUT_S
        self._retirement = asyncio.ensure_future(self._retire(pending_timeout_s))

    async def _retire(self, pending_timeout_s: float) -> None:
        """Exit without losing a request or a server.

        New requests wait in the backlog of the socket that systemd holds; the next hub accepts
        them there.

        Args:
            pending_timeout_s: how long to wait for servers that start or stop.
        """
        is_retiring = self._pending_deadline < math.inf
        self._pending_deadline = min(self._pending_deadline, time.monotonic() + pending_timeout_s)
        # A second demand, such as a stop during a reload, only moves the deadline.
        if is_retiring:
            return
        spawn_queue.QUEUE.close()
        # A starting server sends requests to the hub, so answer until none is starting.
        await self._wait_while(self._is_spawning)
        # Still answering: each service takes its time to stop.
        await self._services.stop(self._service_map.values())
        is_crowded = bool(spawn_queue.QUEUE.waiting) and pending_timeout_s > QUEUED_TIMEOUT_S
        await self._wait_while(
            self.tornado_application.has_slow_request,
            QUEUED_TIMEOUT_S if is_crowded else SLOW_TIMEOUT_S,
        )
        # A kept connection might bring a request at the moment in which it is closed here.
        self.tornado_application.keep_no_connection()
        await self._wait_while(self.http_server.has_kept_connection, KEPT_TIMEOUT_S)
        await self._wait_while(self._is_spawning)
        self.http_server.stop()
        # Connections accepted a moment ago have yet to be read.
        await asyncio.sleep(0.02)
        await self._wait_while(self.tornado_application.has_open_request, REQUESTS_TIMEOUT_S)
        for spawner in self._spawners():
            if isinstance(spawner, SpawnerWithQueue):
                spawner.leave_to_next_hub()
        try:
            await self.cleanup()
        finally:
            # Requests are waiting: skip destructors.
            logging.shutdown()
            os._exit(0)

    async def _wait_while(
        self, condition: Callable[[], bool], timeout_s: float | None = None
    ) -> None:
        """Wait while a condition holds, for `timeout_s` or until `_pending_deadline` at most."""
        began = time.monotonic()
        while condition():
            deadline = self._pending_deadline if timeout_s is None else began + timeout_s
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.01)

    def _is_spawning(self) -> bool:
        # The next hub starts those that wait in the queue.
        return any(s.pending and not spawn_queue.is_waiting(s) for s in self._spawners())

    def _spawners(self) -> Iterator[Any]:
        return (spawner for user in self.users.values() for spawner in user.spawners.values())


async def resume(hub: LittlestHub, spawn: InterruptedSpawn) -> None:
    """Start a server that was waiting when the last hub ended, as if its user requested it.

    JupyterHub starts servers in no other way.
    """
    try:
        if await is_allowed(hub.authenticator, spawn.user) is False:
            raise LittlestHubError("not allowed to use this hub any more")
        user = hub.users[spawn.user]
        handler = _request_handler(hub.tornado_application, hub.hub.base_url)
        # `current_user` reads these; the handler's `prepare` would set them.
        handler._jupyterhub_user, handler._token_authenticated = user, False
        chosen = spawn.form_options
        options = None if chosen is None else FormOptions(chosen)
        await handler.spawn_single_user(user, spawn.server, options=options)
    except Exception as error:
        # The pending page shows it.
        hub.log.error("%s: %s", spawn.user, one_line(error))
        if spawn_queue.QUEUE.cancel_reservation(spawn):
            await _end_begun(hub, spawn)
            spawn_queue.forget_interrupted(hub.db, spawn)


async def _end_begun(app: LittlestHub, spawn: InterruptedSpawn) -> None:
    """End what the spawner of a server that is not to start any more has begun."""
    if not spawn.has_begun or not orm.User.find(app.db, spawn.user):
        return
    try:
        await app.users[spawn.user].spawners[spawn.server].stop()
    except Exception as error:
        app.log.error("%s: what it had begun may still run: %s", spawn.user, one_line(error))


def _request_handler(application: HubApplication, path: str) -> BaseHandler:
    """Return a handler as if a request had come."""
    request = HTTPServerRequest(
        # 1.1 would need a Host header.
        start_line=RequestStartLine("POST", path, "HTTP/1.0"),
        connection=SimpleNamespace(set_close_callback=lambda _: None),
    )
    return BaseHandler(application, request)


def _warm_up(hub: LittlestHub) -> None:
    """Do in advance what the first requests would wait for."""
    configure_mappers()
    database.head()
    # One table only: JupyterHub's own way imports alembic, 0.15 s.
    engine = create_engine("sqlite://")
    orm.User.__table__.create(engine)
    Session(engine).query(orm.User).all()
    options: dict[str, Any] = hub.jinja_environment_options
    options.setdefault("bytecode_cache", _TemplateCache())
    loader = hub.template_loader()
    for is_async in (True, False):
        environment = Environment(
            loader=loader, enable_async=is_async, **{"autoescape": True, **options}
        )
        for page in (*_FIRST_PAGES, *(f"templates/{each}" for each in _FIRST_PAGES)):
            # A broken template fails when its page is requested.
            with contextlib.suppress(TemplateError):
                environment.get_template(page)
