"""What of the hub can be tried without one: its sockets and what it tells systemd."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from jupyterhub import orm
from jupyterhub.spawner import SimpleLocalProcessSpawner, Spawner
from jupyterhub.user import User, UserDict
from tornado.httpserver import HTTPServer

from littlest_hub.hub import LittlestHub, _taking_over
from littlest_hub.systemd import notify

pytestmark = pytest.mark.unit


def server_at(port: int) -> HTTPServer:
    server = HTTPServer(lambda request: None)
    server.listen(port, address="127.0.0.1")
    return server


def test_an_inherited_socket_is_used_for_its_address_instead_of_binding_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        inherited = socket.socket(fileno=held.detach())
        with _taking_over([inherited]) as rest:
            server_at(port).stop()  # would fail with "address in use"
            assert rest == []


def test_another_address_is_bound_and_the_inherited_socket_is_left_to_be_served_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, _taking_over([held]) as rest:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = server_at(port)
        assert rest == [held]
        socket.create_connection(("127.0.0.1", port)).close()
        server.stop()


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_outside_of_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


@pytest.mark.row(1, 17)
def test_no_two_servers_share_an_oauth_client(tmp_path: Path) -> None:
    """CVE-2026-108752: with the client, one would have the other's logins and revoke its tokens."""
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
    # It becomes the name of a cookie.
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
    # Until it ends; what is started then is nobody else's.
    assert kept.oauth_client_id == "jupyterhub-user-ann-marie"
    for each in (kept, left, new):
        each.clear_state()
    assert kept.oauth_client_id == "jupyterhub-user-ann%2Dmarie"
    assert left.oauth_client_id == "jupyterhub-user-bo%2Dpeep"
    assert new.oauth_client_id == "jupyterhub-user-cy%2Dtwombly"
