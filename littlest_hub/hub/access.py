"""Users and administrators of the hub: those of the fragments, and nobody else.

JupyterHub's database remembers everyone whom a fragment or an administrator has ever named, and
JupyterHub goes on to serve them. The rule here: docs/reference/security.md, "Who may log in".
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NoReturn

from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.auth import DummyAuthenticator, LocalAuthenticator, NullAuthenticator
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.utils import maybe_future, new_token
from traitlets import Callable as CallableTrait
from traitlets import List

from littlest_hub.hub import refusals
from littlest_hub.hub.homes import DynamicHome

_KNOW_ADMINISTRATORS = (DummyAuthenticator, LocalAuthenticator, SharedPasswordAuthenticator)
"""Authenticators that know without a login who administers the hub. Others, such as identity
providers, may learn it at each login, and JupyterHub keeps it in its database."""

LOOKUPS_S = 5
"""Time in which a start looks up who is allowed; the rest is done while the hub serves."""


class UnknownLogin:
    """A stand-in for the data of a login (`Authenticator.authenticate`): every use of it fails."""

    def _fail(self, *_: Any) -> NoReturn:
        raise LookupError("only a login tells")

    __bool__ = __contains__ = __getattr__ = __getitem__ = __iter__ = __len__ = _fail


async def is_allowed(authenticator: Any, name: str) -> bool | None:
    """Return whether the fragments let a user log in; None: only a login can tell.

    Args:
        authenticator: after the hub has given it the users that fragments name.
        name: normalized.
    """
    try:
        if not await maybe_future(authenticator.check_blocked_users(name, None)):
            return False
        if authenticator.allow_all or await maybe_future(authenticator.check_allowed(name, None)):
            return True
        # Some authenticators refuse everyone without a login. Does this one use its data?
        if await maybe_future(authenticator.check_allowed(name, UnknownLogin())):
            return None
    except Exception:
        # The authenticator needs data of a login, or its source of accounts does not answer.
        return None
    return None if _is_a_group_unknown(authenticator) else False


async def refusal(authenticator: Any, typed: str) -> str:
    """Return why a login with a password was refused, for administrators.

    Args:
        authenticator: the one that has refused it.
        typed: the name.
    """
    try:
        name = authenticator.normalize_username(typed)
        is_valid = authenticator.validate_username(name)
    except Exception:
        # A method of a fragment that accepts only some names.
        is_valid = False
    if not is_valid:
        return refusals.INVALID_NAME
    is_refused = await is_allowed(authenticator, name) is False
    return refusals.NOT_ALLOWED if is_refused else refusals.WRONG_PASSWORD


def _is_a_group_unknown(authenticator: Any) -> bool:
    """Return whether an allowed group cannot be looked up, so that nobody seems to be a member."""
    if isinstance(authenticator, LocalAuthenticator):
        for group in authenticator.allowed_groups:
            try:
                grp.getgrnam(group)
            except (KeyError, OSError):
                return True
    return False


class AccessByFragments(JupyterHub):  # type: ignore[misc]
    """JupyterHub that takes from users in its database what no fragment gives them any more.

    A user who may not log in any more loses browser sessions, tokens, servers, and the rights of an
    administrator. A user who may log in, but is no administrator any more, loses only these rights.
    """

    locked_out: Collection[str] = ()
    """Users who lost tokens, servers, or rights at this start. Sessions are not counted."""

    admits: list[Callable[[str], bool]] = List(
        trait=CallableTrait(),
        config=True,
        help="Functions of the name of a user, for stacks: whether a stack has let them in, and not"
        " the authenticator, as with guests. The authenticator is not asked about them.",
    )

    authenticator: Any  # traits of JupyterHub
    db: Any
    layout: Any

    proxy: Any
    users: Any

    _left: Sequence[str] = ()
    """Users who are looked up while the hub serves."""
    _looking_up: asyncio.Task[None] | None = None
    _blocked: Collection[str] | None = None
    """Users whom fragments block; None: nobody else was blocked for the start."""

    async def init_users(self) -> None:
        await super().init_users()
        # JupyterHub does so only if there are allowed users as well.
        self.authenticator.allowed_users |= self.authenticator.admin_users

    async def init_blocked_users(self) -> None:
        await super().init_blocked_users()
        # Nobody logs in to such a hub; a service creates its users, and gives them their tokens.
        if not isinstance(self.authenticator, NullAuthenticator):
            await self._revoke()

    async def _revoke(self) -> None:
        refused, left = set(), []
        self.locked_out = set()
        with_access = _ids_with_access(self.db)
        deadline = time.monotonic() + LOOKUPS_S
        for user in sorted(self.db.query(orm.User), key=lambda each: each.id not in with_access):
            if time.monotonic() > deadline:
                left.append(user.name)
            elif await self._revoke_of(user, has_access=user.id in with_access):
                refused.add(user.name)
        self.db.commit()
        if left:
            self.log.warning(
                "It takes long to look up who is allowed: %d users are looked up while the hub"
                " serves",
                len(left),
            )
        self._left = left
        # JupyterHub stops their servers when it looks for running ones.
        blocked: set[str] = self.authenticator.blocked_users
        self.authenticator.blocked_users, self._blocked = blocked | refused, blocked

    async def _revoke_of(self, user: Any, *, has_access: bool = True) -> bool:
        """Take from one user what no fragment gives them; return whether they may not log in.

        Args:
            user: of the database.
            has_access: False: they have no more than perhaps a session. To look for tokens and
                servers takes as long as all the rest, for each user of former years.
        """
        name = user.name
        if any(admits(name) for admits in self.admits):
            return False
        if await is_allowed(self.authenticator, name) is not False:
            if user.admin and await _is_no_administrator(self, name):
                self.log.warning("%s does not administer the hub any more", name)
                _take_administration(self.db, user)
            return False
        if not has_access:
            self.end_sessions(user)
            return True
        if user.api_tokens or user.admin or any(each.server for each in user._orm_spawners):
            self.locked_out = {*self.locked_out, name}
            self.log.warning(
                "No fragment lets %s log in any more: no session, token, or server stays", name
            )
        self._take_access(user)
        return True

    def _take_access(self, user: Any) -> None:
        self.end_sessions(user)
        for token in list(user.api_tokens):
            self.db.delete(token)
        _take_administration(self.db, user)

    async def _revoke_left(self) -> None:
        """Go on with the users whom the start has left."""
        for name in self._left:
            began = time.monotonic()
            if (user := orm.User.find(self.db, name)) and await self._revoke_of(user):
                self.db.commit()
                await self._stop_servers(self.users[user])
            self.db.commit()
            # A lookup blocks the hub: requests get as much time.
            await asyncio.sleep(time.monotonic() - began)

    async def lock_out(self, name: str) -> None:
        """Take sessions, tokens, servers and administration from a user, at once."""
        if user := orm.User.find(self.db, name):
            self._take_access(user)
            self.db.commit()
            await self._stop_servers(self.users[user])

    async def _stop_servers(self, user: Any) -> None:
        for name in list(user.orm_spawners):
            spawner = user.spawners[name]
            if spawner.server:
                try:
                    await self.proxy.delete_user(user, name)
                    await user.stop(name)
                except Exception:
                    self.log.exception("Failed to stop %s", spawner._log_name)

    async def init_spawners(self) -> int:
        found: int = await super().init_spawners()
        if self._left:
            self._looking_up = asyncio.create_task(self._revoke_left())
        # From here on each login decides, as when someone becomes a member of a group.
        if self._blocked is not None:
            self.authenticator.blocked_users = self._blocked
        return found

    def end_sessions(self, user: Any) -> None:
        """Make the signed cookies of a user's browsers invalid; a dynamic home stays theirs."""
        former, user.cookie_id = user.cookie_id, new_token()
        try:
            DynamicHome(self.layout, user.name).keep_for(former, user.cookie_id)
        except OSError as error:
            self.log.error("%s may find an empty home later: %s", user.name, error)


def _ids_with_access(db: Any) -> set[int]:
    """Return the ids of users who have more than perhaps a session: they are looked up first."""
    return {
        *(found for (found,) in db.query(orm.APIToken.user_id).distinct()),
        *(
            each.user_id
            for each in db.query(orm.Spawner).filter(orm.Spawner.server_id.is_not(None))
        ),
        *(found for (found,) in db.query(orm.User.id).filter(orm.User.admin)),
    }


def _take_administration(db: Any, user: Any) -> None:
    if user.admin:
        user.admin = False
        roles.assign_default_roles(db, entity=user)


async def _is_no_administrator(app: Any, name: str) -> bool:
    authenticator = app.authenticator
    is_known = isinstance(authenticator, _KNOW_ADMINISTRATORS)
    if not is_known and not getattr(authenticator, "knows_administrators", False):
        return False
    if name in set(_in_admin_role(app)):
        return False
    with contextlib.suppress(Exception):  # the source of groups does not answer
        return not await maybe_future(authenticator.is_admin(None, {"name": name}))
    return False


def _in_admin_role(app: Any) -> Iterator[str]:
    for role in app.load_roles:
        if role.get("name") == "admin":
            yield from map(app.authenticator.normalize_username, role.get("users", ()))
