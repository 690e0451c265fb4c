"""Pages of the hub about shared servers.

They need rights over servers of others, which only the hub has: a collaborator starts a server as
its owner has approved it, and cannot change how.

| path below the hub's | |
|---|---|
| launch-shared/OWNER/SERVER | GET: what it is. POST: start it on the owner's behalf |
| api/launch-shares/OWNER/SERVER | POST, by the owner: give and take access as the records say |
"""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado.web import HTTPError, authenticated

from littlest_hub.stacks.launch.server.spawner import RefusedError
from littlest_hub.stacks.launch.settings import OPTION
from littlest_hub.stacks.launch.shares import grants

TEMPLATES = str(Path(__file__).parent / "templates")
PAGE = "launch-shared"
HANDLERS = {
    rf"{PAGE}/([^/]+)/([^/]+)": f"{__name__}:SharedServer",
    r"api/launch-shares/([^/]+)/([^/]+)": f"{__name__}:ServerShares",
}
"""Handlers for `c.Pages.handlers`."""
_WAIT_S = 90
"""Time that the page waits for a server that starts."""
_POLL_S = 0.25
_NO_SUCH = "There is no such server, or it is not shared with you (any more)."


@dataclass(frozen=True)
class Shared:
    """A server that somebody shares with the user, or that the user shares."""

    owner: str
    name: str
    is_active: bool
    path: str
    """The path of its page, below the hub's."""
    people: tuple[str, ...] = ()
    """People who have access besides the owner."""


def template_vars() -> dict[str, Any]:
    """Return the variables of the hub's templates that show shared servers."""
    return {"launch_shared_with": shared_with, "launch_shared_by": shared_by}


def shared_with(user: Any) -> list[Shared]:
    """Return the servers of others that a user may use."""
    row = getattr(user, "orm_user", None)  # a service has none
    found = row.shared_with_me if row else []
    return sorted((_shared(share.spawner) for share in found), key=lambda each: each.path)


def shared_by(user: Any) -> list[Shared]:
    """Return the servers that a user shares."""
    row = getattr(user, "orm_user", None)
    servers = row.orm_spawners.values() if row else []
    return [_shared(each) for each in servers if any(share.user for share in each.shares)]


def _shared(server: orm.Spawner) -> Shared:
    owner, name = str(server.user.name), str(server.name)
    people = sorted(str(share.user.name) for share in server.shares if share.user)
    path = f"{PAGE}/{quote(owner, safe='@')}/{quote(name, safe='')}"
    return Shared(owner, name, server.server is not None, path, tuple(people))


class SharedServer(BaseHandler):  # type: ignore[misc]
    """A server of somebody else: opened if it runs, otherwise started by a button."""

    @authenticated
    async def get(self, owner: str, name: str) -> None:
        spawner = self._spawner(owner, name)
        if spawner.ready:
            self.redirect(spawner.user.server_url(name))
            return
        await self._show(spawner, "")

    @authenticated
    async def post(self, owner: str, name: str) -> None:
        """Start a server as its owner has launched it; whatever is posted is ignored."""
        spawner = self._spawner(owner, name)
        if not spawner.active:
            if not (spawner.orm_spawner.user_options or {}).get(OPTION):
                raise HTTPError(409, "Its owner has not launched it, so only they can start it.")
            try:
                # The records may say by now that somebody has no access any more.
                spawner.user_options = spawner.orm_spawner.user_options
                spawner.apply_shares()
                self._spawner(owner, name)
                await self.spawn_single_user(spawner.user, name)
            except RefusedError as error:
                await self._show(spawner, f"{error.jupyterhub_message}. Ask {owner}")
                return
        if await self._is_ready(spawner.user, name):
            self.redirect(spawner.user.server_url(name), status=303)
            return
        await self._show(spawner, "" if spawner.pending else "It did not start")

    def _spawner(self, owner: str, name: str) -> Any:
        """Return the spawner of a server that is shared with the user.

        Raises:
            HTTPError: there is none; the same for one that is not shared with them.
        """
        user = self.find_user(owner)
        row = user.orm_user.orm_spawners.get(name) if user and name else None
        if row is None or not grants.has_access(self.db, row, self.current_user.orm_user):
            raise HTTPError(404, _NO_SUCH)
        return user.spawners[name]

    async def _is_ready(self, user: Any, name: str) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                while user.spawners[name].pending:
                    await asyncio.sleep(_POLL_S)
        return bool(user.spawners[name].ready)

    async def _show(self, spawner: Any, problem: str) -> None:
        html = await self.render_template(
            "launch-shared-server.html",
            shared=_shared(spawner.orm_spawner),
            is_pending=bool(spawner.pending),
            problem=problem,
        )
        if problem:
            self.set_status(409)
        self.finish(html)


class ServerShares(APIHandler):  # type: ignore[misc]
    """Lets the service make access to a server of the person's what the records say."""

    @needs_scope("start:servers")
    def post(self, user_name: str, server_name: str) -> None:
        user = self.find_user(user_name)
        row = user.orm_user.orm_spawners.get(server_name) if user else None
        if row is None:
            raise HTTPError(404, "There is no such server.")
        spawner = user.spawners[server_name]
        if not spawner.active:
            spawner.user_options = row.user_options
        spawner.apply_shares()
        self.set_status(204)
