"""The hub without a running one: sockets, OAuth clients, spawns that an earlier hub left."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.auth import DummyAuthenticator
from jupyterhub.handlers import BaseHandler, login
from jupyterhub.objects import Hub
from jupyterhub.spawner import SimpleLocalProcessSpawner, Spawner
from jupyterhub.user import User, UserDict
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, RequestHandler

from littlest_hub.hub import app, logs, patches, services, spawn_queue, supervisor
from littlest_hub.hub.app import LittlestHub
from littlest_hub.hub.application import HubApplication
from littlest_hub.hub.request_limits import RequestLimits
from littlest_hub.hub.spawn_queue import InterruptedSpawn, SpawnQueue
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.proxy.routes import MARK_HEADER
from littlest_hub.system.sd_daemon import notify
from littlest_hub.units import hub as hub_units
from littlest_hub.units import trial
from littlest_hub.units.ports import Ports
from littlest_hub.units.unit import service_directives
from tests.unit.hub.test_spawner import make

pytestmark = pytest.mark.unit


def server_at(port: int) -> HTTPServer:
    server = HTTPServer(lambda request: None)
    server.listen(port, address="127.0.0.1")
    return server


def test_an_inherited_socket_is_used_for_its_address_instead_of_binding_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        inherited = socket.socket(fileno=held.detach())
        with patches.listening_on([inherited]) as unused:
            server_at(port).stop()  # would fail with "address in use"
            assert unused == []


def test_another_address_is_bound_and_the_inherited_socket_is_still_served() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        patches.listening_on([held]) as unused,
    ):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = server_at(port)
        assert unused == [held]
        socket.create_connection(("127.0.0.1", port)).close()
        server.stop()


def test_readiness_is_notified_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_outside_of_systemd_a_notification_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


@pytest.mark.row(3)
def test_what_is_logged_about_a_failed_request_does_not_contain_the_proxys_secret() -> None:
    logged: list[RequestHandler] = []
    application = HubApplication([], RequestLimits(), lambda _: False, log_function=logged.append)
    start = RequestStartLine("GET", "/hub/", "HTTP/1.0")
    connection = SimpleNamespace(set_close_callback=lambda _: None)
    headers = HTTPHeaders({MARK_HEADER: "a-secret", "Accept": "*/*"})
    request = HTTPServerRequest(start_line=start, connection=connection, headers=headers)
    application.log_request(RequestHandler(application, request))
    assert dict(logged[0].request.headers) == {"Accept": "*/*"}


@pytest.mark.row(32)
def test_a_long_address_does_not_fill_the_journal() -> None:
    line = f"404 GET /hub/{'a' * 60_000} (@192.0.2.1) 1.0ms"
    record = logging.LogRecord("tornado.access", logging.WARNING, "", 1, line, (), None)
    text = logs.JournalFormatter().format(record)
    assert len(text) < 2100
    assert text.startswith("<4>")
    assert "GET /hub/aaa" in text
    assert text.endswith("(@192.0.2.1) 1.0ms")


@pytest.mark.row(1, 17)
def test_the_authenticators_html_is_compiled_once() -> None:
    html = "<b>{{ next }}</b>"
    assert login.Template(html) is login.Template(html)
    assert login.Template(html).render(next="/x") == "<b>/x</b>"


def test_no_two_servers_share_an_oauth_client(tmp_path: Path) -> None:
    """CVE-2026-108752: with a shared client, one server receives logins for the other."""
    database = orm.new_session_factory(f"sqlite:///{tmp_path}/database")()

    def client(name: str, server: str) -> str:
        account = orm.User.find(database, name) or orm.User(name=name)
        database.add(account)
        database.add(orm.Spawner(name=server, user=account))
        database.commit()
        user = User(account, {"spawner_class": SimpleLocalProcessSpawner}, db=database)
        return str(user.spawners[server].oauth_client_id)

    pairs = [
        *[("alice-prod", ""), ("alice", "prod")],
        *[("a-b", "c"), ("a", "b-c"), ("a-b-c", "")],
        *[("a%2Db", ""), ("a-", "b"), ("a", "-b"), ("a", ""), ("b@c", "d/e")],
    ]
    clients = [client(*pair) for pair in pairs]
    assert len(set(clients)) == len(pairs)
    # It becomes part of the name of a cookie.
    assert all(re.fullmatch(r"[\w%.~-]+", each, re.ASCII) for each in clients)


@pytest.mark.row(1, 17)
def test_a_running_server_keeps_the_oauth_client_of_an_earlier_release(tmp_path: Path) -> None:
    hub = LittlestHub()
    hub.db = orm.new_session_factory(f"sqlite:///{tmp_path}/database")()
    hub.users = UserDict(lambda: hub.db, {"spawner_class": SimpleLocalProcessSpawner})

    def server(name: str, client: str, *, runs: bool) -> Spawner:
        account = orm.User(name=name)
        row = orm.Spawner(name="", user=account, server=orm.Server() if runs else None)
        row.oauth_client = orm.OAuthClient(identifier=client)
        hub.db.add_all([account, row])
        hub.db.commit()
        return hub.users[account].spawners[""]

    kept = server("ann-marie", "jupyterhub-user-ann-marie", runs=True)
    left = server("bo-peep", "jupyterhub-user-bo-peep", runs=False)
    new = server("cy-twombly", "jupyterhub-user-cy%2Dtwombly", runs=True)
    hub.cleanup_oauth_clients()
    clients = {client.identifier for client in hub.db.query(orm.OAuthClient)}
    assert clients == {"jupyterhub-user-ann-marie", "jupyterhub-user-cy%2Dtwombly"}
    # Until the server ends; the next one has the new identifier.
    assert kept.oauth_client_id == "jupyterhub-user-ann-marie"
    for each in (kept, left, new):
        each.clear_state()
    assert kept.oauth_client_id == "jupyterhub-user-ann%2Dmarie"
    assert left.oauth_client_id == "jupyterhub-user-bo%2Dpeep"
    assert new.oauth_client_id == "jupyterhub-user-cy%2Dtwombly"


# --- servers that were waiting when the last hub ended


class Stale(DummyAuthenticator):  # type: ignore[misc]
    """An authenticator whose users have to log in again."""

    async def refresh_user(self, *_: Any) -> bool:
        return False


@pytest.fixture
def hub_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LittlestHub:
    """A hub in whose database alice's server waits in the queue."""
    hub = LittlestHub()
    hub.db = orm.new_session_factory(f"sqlite:///{tmp_path}/database")()
    hub.users = UserDict(lambda: hub.db, {"spawner_class": SimpleLocalProcessSpawner})
    hub.hub = Hub(base_url="/hub/")
    hub.authenticator = Stale(allow_all=True)
    settings = {"authenticator": hub.authenticator, "hub": hub.hub, "log": hub.log, "db": hub.db}
    hub.tornado_application = Application(**settings)
    account = orm.User(name="alice")
    state = {"waiting_since": time.time()}
    hub.db.add_all([account, orm.Spawner(name="", user=account, state=state)])
    hub.db.commit()
    monkeypatch.setattr(spawn_queue, "QUEUE", SpawnQueue())
    return hub


def resume_spawns(hub: LittlestHub) -> list[InterruptedSpawn]:
    """Resume interrupted spawns; return those that the next hub would find."""
    for spawn in spawn_queue.take_interrupted(hub.db):
        spawn_queue.QUEUE.reserve(spawn)
        asyncio.run(asyncio.wait_for(app.resume(hub, spawn), 30))
    return spawn_queue.take_interrupted(hub.db)


def test_a_waiting_server_is_started_as_if_its_user_requested_it(
    hub_after: LittlestHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spawned(handler: BaseHandler, user: User, server: str, *, options: Any) -> None:
        assert options is None
        assert (user.name, server, handler.current_user) == ("alice", "", user)
        refreshed.append(await handler.refresh_auth(user, force=True))

    refreshed: list[User | None] = []
    monkeypatch.setattr(BaseHandler, "spawn_single_user", spawned)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        assert [spawn.user for spawn in resume_spawns(hub_after)] == ["alice"]
    assert refreshed == [None]  # a login is required


def test_a_server_that_fails_before_it_joins_the_queue_is_not_resumed_again(
    hub_after: LittlestHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spawned(*_: Any) -> None:
        raise RuntimeError("no more servers")

    monkeypatch.setattr(BaseHandler, "spawn_single_user", spawned)
    assert resume_spawns(hub_after) == []


@pytest.mark.parametrize("refusal", [{"allow_all": False}, {"blocked_users": {"alice"}}])
def test_a_user_who_may_not_log_in_any_more_gets_no_server(
    hub_after: LittlestHub, monkeypatch: pytest.MonkeyPatch, refusal: dict[str, Any]
) -> None:
    async def spawned(*_: Any) -> None:
        started.append(True)

    started: list[bool] = []
    monkeypatch.setattr(BaseHandler, "spawn_single_user", spawned)
    for name, value in refusal.items():
        setattr(hub_after.authenticator, name, value)
    assert resume_spawns(hub_after) == []
    assert started == []


def test_a_user_who_is_deleted_while_waiting_leaves_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def deleted(spawner: UnitSpawner) -> None:
        gone.append(spawner)

    async def scenario() -> None:
        queue = SpawnQueue()
        monkeypatch.setattr(spawn_queue, "QUEUE", queue)
        monkeypatch.setattr(UnitSpawner, "delete_forever", deleted)
        queue.join("first", "", 1)
        made = make()
        made.concurrent_starts = 1
        made.user.spawners[""] = made
        made._spawn_pending = True
        made._spawn_future = spawn = asyncio.ensure_future(made.run_pre_spawn_hook())
        # JupyterHub's `_clear_spawn_future` does this.
        spawn.add_done_callback(lambda _: setattr(made, "_spawn_pending", False))
        while not made.is_waiting:
            await asyncio.sleep(0)
        await made.user.delete_spawners()
        assert (spawn.cancelled(), gone, queue.waiting) == (True, [made], [])

    gone: list[UnitSpawner] = []
    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_the_supervisor_waits_longer_than_a_hub_takes_to_retire() -> None:
    services_s = services.INTERRUPT_S + services.TERM_S + services.KILL_S
    waits_s = app.PENDING_TIMEOUT_S + app.QUEUED_TIMEOUT_S + app.REQUESTS_TIMEOUT_S
    assert waits_s + services_s < supervisor.RETIRE_TIMEOUT_S
    start_s = supervisor.PREPARE_TIMEOUT_S + supervisor.START_TIMEOUT_S
    assert 2 * start_s + supervisor.RETIRE_TIMEOUT_S < supervisor.RELOAD_TIMEOUT_S
    unit = service_directives(hub_units.service(Layout(DEFAULT_BASE), Ports()).text())
    assert int(dict(unit)["TimeoutStartSec"]) > supervisor.RELOAD_TIMEOUT_S + trial.LIMIT_S
