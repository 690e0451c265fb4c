"""The end of guests and of temporary servers, in the hub."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import maybe_future

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import records
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.settings import OPTION

_EVERY_S = 60
_IDLE = timedelta(minutes=30)
"""Time for which a guest without a server stays, so that they can read the confirmation."""


def watch(app: Any) -> None:
    """Remove what is over, as long as the hub serves."""
    # The attribute keeps the task from garbage collection.
    app.launch_sweeping = asyncio.ensure_future(_watch(app))


async def _watch(app: Any) -> None:
    while True:
        try:
            await sweep(app)
        except Exception:
            app.log.exception("Guests and temporary servers that are over stay for now")
        await asyncio.sleep(_EVERY_S)


def guests(db: Any) -> Iterator[orm.User]:
    """Yield the guests who are here."""
    for user in db.query(orm.User).filter(orm.User.name.like("guest-%")):
        if is_guest(user.name):
            yield user


async def sweep(app: Any) -> None:
    """Remove temporary servers that have stopped, and guests who have none for a while."""
    for row in _stopped(app):
        user = app.users[row.user.id]
        app.log.info("Removing the temporary server %s/%s", user.name, row.name)
        await user._delete_spawner(row.name)
        user.spawners.pop(row.name, None)
        app.db.delete(row)
        app.db.commit()
    now = datetime.now(UTC).replace(tzinfo=None)
    for guest in list(guests(app.db)):
        user = app.users[guest.id]
        seen = guest.last_activity or guest.created
        is_busy = user.active or any(each.pending for each in user.spawners.values())
        if not is_busy and (seen < now - _IDLE or _had_server(guest)):
            app.log.info("The guest %s has left", user.name)
            await user.delete_spawners()
            with contextlib.suppress(Exception):  # it may not know guests
                await maybe_future(app.authenticator.delete_user(user))
            app.users.delete(user)


def _stopped(app: Any) -> list[orm.Spawner]:
    """Return the rows of temporary servers that have stopped."""
    rows = app.db.query(orm.Spawner).filter(orm.Spawner.server_id.is_(None), orm.Spawner.name != "")
    return [row for row in rows if _is_temporary(app, row) and not _is_busy(app, row)]


def _is_busy(app: Any, row: orm.Spawner) -> bool:
    spawner = app.users[row.user.id].spawners.get(row.name)
    # A start that has failed has a page, which says why.
    return bool(spawner and (spawner.active or spawner.pending or spawner._failed))


def _is_temporary(app: Any, row: orm.Spawner) -> bool:
    id = (row.user_options or {}).get(OPTION)
    if not id or row.started:
        return False
    with contextlib.suppress(LittlestHubError, ValueError):
        directory = app.layout.on_disk(app.layout.stack_data("launch"))
        return records.approved(directory, row.user.name, id).configuration.temporary
    return False


def _had_server(guest: orm.User) -> bool:
    """Return whether a server of a guest has been started and is over."""
    return any(row.last_activity for row in guest.orm_spawners.values() if row.name)
