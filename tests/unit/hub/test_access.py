"""Access to the hub: a record in the database gives it to nobody."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.auth import (
    Authenticator,
    DummyAuthenticator,
    LocalAuthenticator,
    NullAuthenticator,
)
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.spawner import Spawner
from jupyterhub.user import UserDict
from traitlets.config import Config

from littlest_hub.hub import access, refusals
from littlest_hub.hub.access import refusal
from littlest_hub.hub.app import LittlestHub
from littlest_hub.hub.authenticator import SystemAuthenticator
from littlest_hub.hub.homes import DynamicHome
from littlest_hub.layout import Layout

pytestmark = pytest.mark.unit

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
MEMBERS: dict[str, Any] = {"allowed_groups": {MY_GROUP}}


class Provider(Authenticator):  # type: ignore[misc]
    """Knows only at a login who is a member, as OAuth's authenticators do."""

    def check_allowed(self, username: str, authentication: Any = None) -> bool:
        if authentication is None:
            return True
        return bool(authentication["is_member"])


class LaterProvider(Provider):
    """The same, and fails without a login."""

    def check_allowed(self, username: str, authentication: Any = None) -> bool:
        return bool(authentication["is_member"])


class StrictProvider(Provider):
    """The same, and refuses everyone without a login."""

    def check_allowed(self, username: str, authentication: Any = None) -> bool:
        return bool(authentication and authentication["is_member"])


class BrokenProvider(Provider):
    """The same, and cannot tell now whom to block."""

    def check_blocked_users(self, username: str, authentication: Any = None) -> bool:
        raise OSError("no answer")


def start(directory: Path, authenticator: Authenticator, **hub_settings: Any) -> LittlestHub:
    """Do what a hub does about users when it starts, with a database that stays."""
    hub = LittlestHub(layout=Layout(directory), **hub_settings)
    hub.db = orm.new_session_factory(f"sqlite:///{directory}/database")()
    # As `init_oauth` and our defaults do.
    hub.db.merge(orm.OAuthClient(id=1, identifier="jupyterhub"))
    authenticator.allow_existing_users = False
    hub.authenticator = authenticator

    async def steps() -> None:
        await hub.init_role_creation()
        await hub.init_users()
        await hub.init_role_assignment()
        await hub.init_blocked_users()

    asyncio.run(steps())
    return hub


def remember(hub: LittlestHub, name: str) -> tuple[str, str]:
    """Let the hub remember a user as after a login; return the cookie's secret and a token."""
    user = orm.User.find(hub.db, name) or orm.User(name=name)
    hub.db.add(user)
    roles.assign_default_roles(hub.db, entity=user)
    hub.db.add(orm.Spawner(name="", user=user, server=orm.Server()))
    token: str = user.new_api_token()
    hub.db.commit()
    return user.cookie_id, token


def has_access(hub: LittlestHub, name: str, cookie: str, token: str) -> bool:
    """Return whether session, token, and server are left; it must be all or none."""
    session = hub.db.query(orm.User).filter(orm.User.cookie_id == cookie).first() is not None
    left = {
        session,
        orm.APIToken.find(hub.db, token) is not None,
        name not in hub.authenticator.blocked_users,
    }
    assert len(left) == 1
    return left.pop()


@pytest.mark.row(9)
@pytest.mark.parametrize(
    ("kind", "others"),
    [
        (SystemAuthenticator, {}),
        (DummyAuthenticator, {}),
        (SharedPasswordAuthenticator, {"user_password": "a password"}),
    ],
)
def test_who_is_named_no_more_loses_session_token_and_server(
    tmp_path: Path, kind: type[Authenticator], others: dict[str, Any]
) -> None:
    hub = start(tmp_path, kind(allowed_users={"stays", "goes"}, **others))
    stays, goes = remember(hub, "stays"), remember(hub, "goes")
    hub = start(tmp_path, kind(allowed_users={"stays"}, **others))
    assert has_access(hub, "stays", *stays)
    assert not has_access(hub, "goes", *goes)
    assert hub.locked_out == {"goes"}
    # As JupyterHub does next, with the servers of blocked users.
    orm.User.find(hub.db, "goes").orm_spawners[""].server = None
    hub.db.commit()
    # Nothing is left to take; and the next fragment can let them in again.
    assert start(tmp_path, kind(allowed_users={"stays"}, **others)).locked_out == set()
    again = start(tmp_path, kind(allowed_users={"stays", "goes"}, **others))
    assert has_access(again, "goes", *remember(again, "goes"))


@pytest.mark.row(9)
def test_a_name_that_was_added_on_the_admin_page_lets_no_one_in(tmp_path: Path) -> None:
    hub = start(tmp_path, SystemAuthenticator(allowed_users={"alice"}))
    hub.db.add(orm.User(name=ME))
    hub.db.commit()
    asyncio.run(hub.authenticator.add_user(orm.User.find(hub.db, ME)))
    assert not hub.authenticator.check_allowed(ME)
    again = start(tmp_path, SystemAuthenticator(allowed_users={"alice"}))
    assert not again.authenticator.check_allowed(ME)


@pytest.mark.row(9)
def test_members_of_an_allowed_group_stay_and_others_go(tmp_path: Path) -> None:
    hub = start(tmp_path, LocalAuthenticator(allow_all=True))
    me, nobody = remember(hub, ME), remember(hub, "nobody")
    hub = start(tmp_path, LocalAuthenticator(**MEMBERS))
    assert has_access(hub, ME, *me)
    assert not has_access(hub, "nobody", *nobody)


def test_no_one_is_locked_out_while_a_source_of_groups_or_accounts_does_not_answer(
    tmp_path: Path,
) -> None:
    hub = start(tmp_path, LocalAuthenticator(allow_all=True))
    people = {name: remember(hub, name) for name in (ME, "nobody", "no-such-account")}
    hub = start(tmp_path, LocalAuthenticator(allowed_groups={"no-such-group"}))
    assert all(has_access(hub, name, *secrets) for name, secrets in people.items())


@pytest.mark.parametrize("kind", [Provider, LaterProvider, StrictProvider])
def test_a_provider_that_knows_only_at_a_login_locks_out_whom_a_fragment_blocks(
    tmp_path: Path, kind: type[Authenticator]
) -> None:
    hub = start(tmp_path, kind())
    member, blocked = remember(hub, "member"), remember(hub, "blocked")
    hub = start(tmp_path, kind(blocked_users={"blocked"}))
    assert has_access(hub, "member", *member)
    assert not has_access(hub, "blocked", *blocked)


def test_no_one_is_locked_out_while_no_one_can_tell_who_is_blocked(tmp_path: Path) -> None:
    hub = start(tmp_path, Provider())
    member = remember(hub, "member")
    assert has_access(start(tmp_path, BrokenProvider()), "member", *member)


def test_a_member_of_a_group_again_logs_in_without_a_reload(tmp_path: Path) -> None:
    """The servers of locked-out users are stopped by JupyterHub's list of blocked ones."""
    remember(start(tmp_path, LocalAuthenticator(allow_all=True)), "nobody")
    hub = start(tmp_path, LocalAuthenticator(blocked_users={"mallory"}, **MEMBERS))
    assert hub.authenticator.blocked_users == {"mallory", "nobody"}
    orm.User.find(hub.db, "nobody").orm_spawners[""].server = None
    hub.users = UserDict(lambda: hub.db, {})
    asyncio.run(hub.init_spawners())
    assert hub.authenticator.blocked_users == {"mallory"}


@pytest.mark.row(9)
def test_users_who_are_not_looked_up_in_time_are_looked_up_while_the_hub_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = start(tmp_path, DummyAuthenticator(allow_all=True))
    goes, stays = remember(hub, "goes"), remember(hub, "stays")
    monkeypatch.setattr(access, "LOOKUPS_S", -1)
    hub = start(tmp_path, DummyAuthenticator(allowed_users={"stays"}))
    assert has_access(hub, "goes", *goes)
    hub.users = UserDict(lambda: hub.db, {"spawner_class": Running, "config": Config()})
    hub.proxy = NoRoutes()

    async def serve() -> None:
        # The hub of this test has no servers to look at.
        monkeypatch.setattr(JupyterHub, "init_spawners", lambda self: asyncio.sleep(0, 0))
        await hub.init_spawners()
        assert hub._looking_up
        await hub._looking_up

    asyncio.run(serve())
    servers = {name: orm.User.find(hub.db, name).orm_spawners[""].server for name in NAMES}
    assert [name for name, server in servers.items() if server] == ["stays"]
    hub.authenticator.blocked_users = {"goes"}  # what `has_access` looks at for servers
    assert not has_access(hub, "goes", *goes)
    assert has_access(hub, "stays", *stays)


NAMES = ("goes", "stays")


class Running(Spawner):  # type: ignore[misc]
    """A server that runs until it is stopped."""

    async def start(self) -> str:
        return "http://127.0.0.1:1"

    async def poll(self) -> int | None:
        return None

    async def stop(self, now: bool = False) -> None:
        pass


class NoRoutes:
    """A proxy that has no routes."""

    async def delete_user(self, user: Any, server_name: str) -> None:
        pass


def test_a_locked_out_user_finds_the_same_dynamic_home_when_a_fragment_lets_them_in_again(
    tmp_path: Path,
) -> None:
    hub = start(tmp_path, DummyAuthenticator(allow_all=True))
    cookie, _ = remember(hub, "alice")
    home = DynamicHome(Layout(tmp_path), "alice")
    home.claim(cookie)
    for _ in range(2):
        hub = start(tmp_path, DummyAuthenticator(allowed_users={"bob"}))
    later = orm.User.find(hub.db, "alice").cookie_id
    assert later != cookie
    assert home.belongs_to(later)
    # Not that of another user of this name, after the first one was deleted.
    assert not home.belongs_to("another")
    home.claim(later)
    assert not home.belongs_to(cookie)


def test_users_whom_a_service_creates_are_left_to_it_if_nobody_logs_in(tmp_path: Path) -> None:
    hub = start(tmp_path, NullAuthenticator())
    created = remember(hub, "visitor-1")
    hub = start(tmp_path, NullAuthenticator())
    assert has_access(hub, "visitor-1", *created)


def test_whom_a_stack_has_let_in_stays_until_it_says_otherwise(tmp_path: Path) -> None:
    hub = start(tmp_path, DummyAuthenticator(allow_all=True))
    guest, other = remember(hub, "guest-1"), remember(hub, "other")
    admits = [lambda name: name.startswith("guest-")]
    hub = start(tmp_path, DummyAuthenticator(allowed_users={"alice"}), admits=admits)
    assert has_access(hub, "guest-1", *guest)
    assert not has_access(hub, "other", *other)
    hub = start(tmp_path, DummyAuthenticator(allowed_users={"alice"}))
    assert not has_access(hub, "guest-1", *guest)


def test_whoever_is_in_the_database_may_log_in_if_a_fragment_says_so(tmp_path: Path) -> None:
    hub = start(tmp_path, DummyAuthenticator(allow_all=True))
    secrets = remember(hub, "portal-user")
    authenticator = DummyAuthenticator(allowed_users={"alice"})
    authenticator.add_user(orm.User(name="portal-user"))
    assert authenticator.allow_existing_users  # JupyterHub's own default
    hub = LittlestHub()
    hub.db = orm.new_session_factory(f"sqlite:///{tmp_path}/database")()
    hub.authenticator = DummyAuthenticator(allowed_users={"alice"}, allow_existing_users=True)
    asyncio.run(hub.init_users())
    asyncio.run(hub.init_blocked_users())
    assert has_access(hub, "portal-user", *secrets)


def is_admin(hub: LittlestHub, name: str) -> bool:
    user = orm.User.find(hub.db, name)
    found = {user.admin, "admin" in {role.name for role in user.roles}}
    assert len(found) == 1
    return bool(found.pop())


@pytest.mark.row(9)
def test_administrators_whom_no_fragment_names_any_more_are_ordinary_users(tmp_path: Path) -> None:
    both = {"allowed_users": {"alice", "bob", "carol"}}
    hub = start(tmp_path, DummyAuthenticator(admin_users={"alice", "bob"}, **both))
    assert is_admin(hub, "bob")
    bob = remember(hub, "bob")
    hub = start(tmp_path, DummyAuthenticator(admin_users={"alice"}, **both))
    assert [is_admin(hub, name) for name in ("alice", "bob")] == [True, False]
    assert has_access(hub, "bob", *bob)
    in_role = [{"name": "admin", "users": ["carol"]}]
    hub = start(tmp_path, DummyAuthenticator(**both), load_roles=in_role)
    assert [is_admin(hub, name) for name in ("alice", "carol")] == [False, True]


def test_an_administrator_is_allowed_without_any_other_setting(tmp_path: Path) -> None:
    hub = start(tmp_path, SystemAuthenticator(admin_users={"Alice"}))
    assert hub.authenticator.check_allowed("alice")
    assert not hub.authenticator.check_allowed("bob")


def test_administrators_of_a_provider_keep_what_it_said_at_their_login(tmp_path: Path) -> None:
    hub = start(tmp_path, Provider())
    remember(hub, "teacher")
    user = orm.User.find(hub.db, "teacher")
    user.admin = True
    roles.assign_default_roles(hub.db, entity=user)
    hub.db.commit()
    assert is_admin(start(tmp_path, Provider()), "teacher")


class Strict(DummyAuthenticator):  # type: ignore[misc]
    """Accepts only some names."""

    def normalize_username(self, username: str) -> str:
        if "@" in username:
            raise ValueError("a name, please, and no e-mail address")
        return str(super().normalize_username(username))


@pytest.mark.parametrize(
    ("typed", "reason"),
    [("ada@example.org", refusals.INVALID_NAME), ("Ada", refusals.WRONG_PASSWORD)],
)
def test_a_name_that_an_authenticator_cannot_normalize_is_refused_as_any_other(
    typed: str, reason: str
) -> None:
    assert asyncio.run(refusal(Strict(allow_all=True), typed)) == reason
