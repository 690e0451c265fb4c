"""Volumes of groups at the hub's API: who may see, make and delete which, at this moment.

The service of the launch stack asks with a person's token; it has no rights itself. Root's helper
makes and deletes.

| path below the hub's | |
|---|---|
| api/launch-volumes/USER | GET: what the person sees, and may make. POST: make one |
| api/launch-volumes/USER/NAME | DELETE: delete one |
"""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import isoformat
from tornado.web import HTTPError

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.helper_client import request
from littlest_hub.layout import Layout
from littlest_hub.stacks.launch.group_volumes import store
from littlest_hub.stacks.launch.group_volumes.helper import Verb
from littlest_hub.stacks.launch.group_volumes.store import GroupVolume
from littlest_hub.stacks.launch.group_volumes.units import address_of
from littlest_hub.stacks.launch.guests.names import is_guest
from littlest_hub.stacks.launch.records import digest_of
from littlest_hub.stacks.launch.settings import Settings
from littlest_hub.units.helpers import MAX_CONNECTIONS

HANDLERS = {
    r"api/launch-volumes/([^/]+)": f"{__name__}:Volumes",
    r"api/launch-volumes/([^/]+)/([^/]+)": f"{__name__}:OneVolume",
}
"""Handlers for `c.Pages.handlers`."""
_TIMEOUT_S = 60
_MOST_NAMED = 30
"""The most members of a group who are named to somebody who may delete its volume."""
_TURNS = asyncio.Semaphore(MAX_CONNECTIONS // 2)


class _Handler(APIHandler):  # type: ignore[misc]
    """A request about somebody's volumes."""

    @property
    def layout(self) -> Layout:
        layout: Layout = self.app.layout
        return layout

    @property
    def makers(self) -> dict[str, int]:
        found: Settings = self.spawner_class.launch_settings
        return dict(found.group_volumes)

    def person(self, name: str) -> orm.User:
        """Return the row of a person who may have volumes of groups.

        Raises:
            HTTPError: there is none, or it is a guest, or there are no such volumes here.
        """
        user = self.find_user(name)
        if user is None or is_guest(name) or not self.makers:
            raise HTTPError(404, "There are no volumes of groups here.")
        return user.orm_user

    async def ask(self, *words: str) -> None:
        """Let root's helper do something.

        Raises:
            HTTPError: it does not.
        """
        address = str(self.layout.on_disk(address_of(self.layout)))
        try:
            async with _TURNS:
                reply = await request(address, [each.encode() for each in words], _TIMEOUT_S)
            refusal = str(reply.get("refusal", ""))
        except (OSError, ValueError, AttributeError) as error:
            self.log.error("%s: %s", address, str(error) or type(error).__name__)
            raise HTTPError(503, "Volumes cannot be changed now. Ask an administrator.") from error
        if refusal:
            raise HTTPError(409, f"{refusal[:1].upper()}{refusal[1:]}.")


class Volumes(_Handler):
    """The volumes of a person's groups."""

    @needs_scope("read:users")
    def get(self, user_name: str) -> None:
        row = self.person(user_name)
        groups, person = groups_of(row), identity_of(row)
        every = store.all_of(self.layout)
        seen = seen_by(row, every)
        mine = store.offered(seen, groups, person)
        made = sum(each.person == person for each in every.values())
        most = store.most_of(self.makers, groups, is_admin=row.admin)
        self.write(
            json.dumps(
                {
                    "volumes": [
                        {
                            "name": name,
                            "group": each.group,
                            "owner": each.owner,
                            "is_offered": name in mine,
                            "may_write": mine.get(name, False),
                            "is_written_by_all": each.is_written_by_all,
                            **self._of_deleters(row, each),
                        }
                        for name, each in seen.items()
                    ],
                    "groups": self._groups(row) if made < most else [],
                    "most": most,
                }
            )
        )

    @needs_scope("start:servers")
    async def post(self, user_name: str) -> None:
        """Make a volume for a group."""
        row = self.person(user_name)
        body = self.get_json_body()
        wanted = body if isinstance(body, dict) else {}
        group, own = str(wanted.get("group", "")), str(wanted.get("name", ""))
        most = store.most_of(self.makers, groups_of(row), is_admin=row.admin)
        if not most:
            raise HTTPError(403, "You may make no volumes at this hub.")
        try:
            name = store.name_of(group, own)
        except LittlestHubError as error:
            raise HTTPError(400, f"{error.message[:1].upper()}{error.message[1:]}.") from error
        if group not in self._groups(row):
            # The same for a group of others and for one that does not exist.
            raise HTTPError(403, f"You are in no group {group[:40]!r}.")
        writers = "all" if wanted.get("is_written_by_all") is True else "owner"
        person = identity_of(row)
        await self.ask(Verb.MAKE, group, own, row.name, person, writers, str(most))
        self.set_status(201)
        self.write(json.dumps({"name": name}))

    def _groups(self, row: orm.User) -> list[str]:
        """Return the groups for which somebody may make volumes."""
        found = groups_of(row)
        if row.admin:
            found = {str(each.name) for each in self.db.query(orm.Group)}
        return sorted(found)

    def _of_deleters(self, row: orm.User, volume: GroupVolume) -> dict[str, Any]:
        if not may_delete(row, volume):
            return {"may_delete": False, "members": [], "others": 0}
        group = orm.Group.find(self.db, volume.group)
        names = sorted(str(each.name) for each in group.users) if group else []
        return {
            "may_delete": True,
            "members": names[:_MOST_NAMED],
            "others": len(names[_MOST_NAMED:]),
        }


class OneVolume(_Handler):
    """A volume of a group."""

    @needs_scope("start:servers")
    async def delete(self, user_name: str, volume_name: str) -> None:
        row = self.person(user_name)
        found = seen_by(row, store.named(self.layout, [volume_name])).get(volume_name)
        if found is None:
            raise HTTPError(404, "There is no such volume.")
        if not may_delete(row, found):
            raise HTTPError(403, f"Only {found.owner}, who has made it, may delete it.")
        await self.ask(Verb.DELETE, found.name, row.name)
        self.set_status(204)


def seen_by(row: orm.User, volumes: Mapping[str, GroupVolume]) -> dict[str, GroupVolume]:
    """Return the volumes that somebody may know of: an administrator knows of all."""
    groups = groups_of(row)
    return {name: each for name, each in volumes.items() if row.admin or each.group in groups}


def groups_of(row: orm.User) -> set[str]:
    """Return the groups of a person at this moment."""
    return {str(each.name) for each in row.groups}


def identity_of(row: orm.User) -> str:
    """Return the digest of a person."""
    return digest_of(str(row.name), str(isoformat(row.created)))


def may_delete(row: orm.User, volume: GroupVolume) -> bool:
    """Return whether somebody who sees a volume may delete it."""
    return bool(row.admin) or volume.person == identity_of(row)
