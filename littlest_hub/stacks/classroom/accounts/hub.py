"""Accounts of the class stack in the hub: requests to root's helper, locked people, visits."""

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
"""Users whom earlier fragments block, whether or not the stack has locked them as well."""
_RETRY_S = 10


def configure(c: Config) -> None:
    """Show visits to people's servers on pages, and refuse logins of locked people.

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
    # traitlets has a lazy value if fragments only add to the setting.
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
    """Settings from before the server got the right to become root; None: it has no such right."""

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
        """Let the server become root, as sudo requires, only if its user is an administrator."""
        if self._configured is not None:
            self.disable_user_sudo, self.unit_extra_properties = self._configured
            self._configured = None
        if self.user.admin and not self.layout.hub_user:
            self._configured = self.disable_user_sudo, self.unit_extra_properties
            self.disable_user_sudo = False
            # For `sudo apt install`.
            self.unit_extra_properties = {"ProtectSystem": "no", **self.unit_extra_properties}


def identity(user: orm.User) -> str:
    """Return a text that no other user of the hub has, not even a later one of the same name.

    The cookie id is no such text: a logout in all browsers changes it.
    """
    return f"{user.id} {user.created.isoformat()}"


async def set_locked(app: Any, name: str, *, is_locked: bool) -> None:
    """Lock a user out and end sessions and servers, or let the user log in again.

    The helper's table records it, so that the next hub reads the same.

    Raises:
        NoAccountError: the helper refused, or did not answer.
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
    """Sends the names of administrators to root's helper whenever they change."""

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
    """Report changes of administrators to root's helper, and log visits to servers of others."""
    watched = _Watch(app)
    app.accounts_watch = watched  # keeps it from garbage collection
    event.listen(orm.User.admin, "set", watched.changed)
    event.listen(orm.User, "after_delete", watched.changed)
    event.listen(orm.APIToken, "after_insert", visits.logger(app))
