"""Who may use the hub, and who administers it: what the fragments say, and nothing else.

JupyterHub's database remembers everyone whom a fragment or an administrator has ever named, and
JupyterHub goes on to serve them. The rule here: docs/reference/security.md, "Who may log in".
"""

from __future__ import annotations

import contextlib
import grp
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.auth import DummyAuthenticator, LocalAuthenticator, NullAuthenticator
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.utils import maybe_future, new_token

from littlest_hub.hub import refusals
from littlest_hub.hub.homes import DynamicHome

_KNOW_ADMINISTRATORS = (DummyAuthenticator, LocalAuthenticator, SharedPasswordAuthenticator)
"""Authenticators that know without a login who administers the hub. Others, such as identity
providers, may learn it at each login, and JupyterHub keeps it in its database."""


class _UnknownLogin:
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
        if await maybe_future(authenticator.check_allowed(name, _UnknownLogin())):
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
    name = authenticator.normalize_username(typed)
    if not authenticator.validate_username(name):
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

    authenticator: Any  # traits of JupyterHub
    db: Any
    layout: Any

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
        refused, locked_out = set(), set()
        for user in list(self.db.query(orm.User)):
            if await is_allowed(self.authenticator, user.name) is False:
                refused.add(user.name)
                if user.api_tokens or user.admin or any(s.server for s in user._orm_spawners):
                    locked_out.add(user.name)
                self.end_sessions(user)
                for token in list(user.api_tokens):
                    self.db.delete(token)
                _take_administration(self.db, user)
            elif user.admin and await _is_no_administrator(self, user.name):
                self.log.warning("%s does not administer the hub any more", user.name)
                _take_administration(self.db, user)
        self.db.commit()
        for name in sorted(locked_out):
            self.log.warning(
                "No fragment lets %s log in any more: no session, token, or server stays", name
            )
        self.locked_out = locked_out
        # JupyterHub stops their servers when it looks for running ones.
        blocked: set[str] = self.authenticator.blocked_users
        self.authenticator.blocked_users, self._blocked = blocked | refused, blocked

    async def init_spawners(self) -> int:
        found: int = await super().init_spawners()
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


def _take_administration(db: Any, user: Any) -> None:
    if user.admin:
        user.admin = False
        roles.assign_default_roles(db, entity=user)


async def _is_no_administrator(app: Any, name: str) -> bool:
    authenticator = app.authenticator
    if not isinstance(authenticator, _KNOW_ADMINISTRATORS) or name in set(_in_admin_role(app)):
        return False
    with contextlib.suppress(Exception):  # the source of groups does not answer
        return not await maybe_future(authenticator.is_admin(None, {"name": name}))
    return False


def _in_admin_role(app: Any) -> Iterator[str]:
    for role in app.load_roles:
        if role.get("name") == "admin":
            yield from map(app.authenticator.normalize_username, role.get("users", ()))
