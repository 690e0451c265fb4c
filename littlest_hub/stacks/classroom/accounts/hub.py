"""Accounts of the class stack in the hub: what the hub asks root's helper, and tells it."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub import orm
from sqlalchemy import event
from traitlets.config import Config

from littlest_hub import installation
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import client, table, visits
from littlest_hub.stacks.classroom.accounts.client import NoAccountError

blocked_by_fragments: set[str] = set()
"""Whom fragments before that of the class block, whether or not they are locked, too."""
_RETRY_S = 10


def configure(c: Config) -> None:
    """Show visits to people's servers on pages, and let nobody log in who is locked out.

    Args:
        c: the configuration of the hub.
    """
    c.JupyterHub.template_vars.update(visits.template_vars())
    c.JupyterHub.template_paths.append(visits.TEMPLATES)
    c.Pages.home_parts.append("visits.html")
    c.Pages.notices.append(visits.notices)
    blocked_by_fragments.clear()
    blocked_by_fragments.update(_present(c))
    if blocked := table.read(installation.of_this_release()).blocked:
        c.Authenticator.blocked_users = {*blocked_by_fragments, *blocked}


def _present(c: Config) -> set[str]:
    found = c.Authenticator.blocked_users
    # A value of traitlets' own, if a fragment only adds to it.
    value = found.get_value(set()) if hasattr(found, "get_value") else found
    return set(value)


class WithAccount:
    """A spawner that asks root's helper for the account before the server starts."""

    user: Any
    layout: Layout
    disable_user_sudo: bool | None
    unit_extra_properties: Any

    _account_name = ""
    _configured: tuple[Any, Any] | None = None
    """Settings as they were before this server could become root; None: it cannot."""

    @property
    def account_name(self) -> str:
        return self._account_name or super().account_name  # type: ignore[misc]

    async def run_pre_spawn_hook(self) -> None:
        """Make the account, then wait in the queue and run the hook of fragments."""
        self._account_name = await client.account_of(
            self.layout, self.user.name, identity(self.user.orm_user)
        )
        if self.user.admin and not self.layout.hub_user:
            await client.set_administrators(self.layout, administrators(self.user.db))
        self._set_rights()
        await super().run_pre_spawn_hook()  # type: ignore[misc]

    def _set_rights(self) -> None:
        """Let an administrator's server become root, as sudo needs it, and nobody else's."""
        if self._configured is not None:
            self.disable_user_sudo, self.unit_extra_properties = self._configured
            self._configured = None
        if self.user.admin and not self.layout.hub_user:
            self._configured = self.disable_user_sudo, self.unit_extra_properties
            self.disable_user_sudo = False
            # For `sudo apt install`.
            self.unit_extra_properties = {"ProtectSystem": "no", **self.unit_extra_properties}


def identity(user: orm.User) -> str:
    """Return a text that no other user of the hub has, even one of the same name later.

    Not the cookie id, which changes with each logout everywhere.
    """
    return f"{user.id} {user.created.isoformat()}"


async def set_locked(app: Any, name: str, *, is_locked: bool) -> None:
    """Let nobody log in under a name from now on, and end sessions and servers; or undo that.

    A reload of the hub finds the same in the helper's table.

    Raises:
        NoAccountError: the helper could not do it.
    """
    await client.set_locked(app.layout, name, is_locked=is_locked)
    authenticator = app.authenticator
    if is_locked:
        authenticator.blocked_users = authenticator.blocked_users | {name}
        await app.lock_out(name)
    elif name not in blocked_by_fragments:
        authenticator.blocked_users = authenticator.blocked_users - {name}


def administrators(db: Any) -> list[str]:
    """Return the names of the hub's administrators."""
    return [user.name for user in db.query(orm.User).filter(orm.User.admin).order_by(orm.User.name)]


class _Watch:
    """Tells root's helper who administers the hub, whenever that changes."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._changed.set()
        self._told: list[str] | None = None
        self._task = asyncio.ensure_future(self._run())

    def changed(self, *_: Any) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            names = administrators(self._app.db)
            if names == self._told:
                continue
            try:
                problem = await client.set_administrators(self._app.layout, names)
                self._told = names
                if problem:
                    self._app.log.warning("Administrators cannot use sudo: %s", problem)
            except NoAccountError as error:
                self._app.log.error("Who may use sudo is not changed: %s", error.jupyterhub_message)
                self._loop.call_later(_RETRY_S, self._changed.set)


def watch(app: Any) -> None:
    """Follow, while the hub serves, who administers it and who opens whose server."""
    watched = _Watch(app)
    app.accounts_watch = watched  # kept as long as the hub
    event.listen(orm.User.admin, "set", watched.changed)
    event.listen(orm.User, "after_delete", watched.changed)
    event.listen(orm.APIToken, "after_insert", visits.logger(app))
