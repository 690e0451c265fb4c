"""The hub's part of `class start`: who is in a group, and the start of one member's server."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError

from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.group_start.credential import SETTING
from littlest_hub.stacks.classroom.group_start.waves import Outcome
from littlest_hub.stacks.classroom.page import group


class GroupStart(APIHandler):  # type: ignore[misc]
    """Answers the command alone, which shows the token that this hub has made for it."""

    async def prepare(self) -> None:
        await super().prepare()
        shown = self.request.headers.get("Authorization", "")
        own = self.settings.get(SETTING, "")
        if not own or not hmac.compare_digest(shown.encode(), f"token {own}".encode()):
            raise HTTPError(403, "Only `class start` on the machine of the hub may ask this.")

    def check_xsrf_cookie(self) -> None:
        """Do nothing: `prepare` accepts a token only, which no browser has."""

    async def get(self) -> None:
        """Answer who is in a group, and how many servers may start at once (0: no limit)."""
        found = self._group(self.get_query_argument("group", "", strip=False))
        blocked = table.read(self.app.layout).blocked
        members = sorted(found.users, key=lambda each: each.name)
        states = {each.name: str(await self._state(each, blocked)) for each in members}
        limit = self._limit(members[0]) if members else 0
        self.finish({"group": found.name, "limit": limit, "members": states})

    async def post(self) -> None:
        """Start the server of a member, and answer when it runs or has failed."""
        asked = self.get_json_body()
        if not isinstance(asked, dict) or not isinstance(asked.get("name"), str):
            raise HTTPError(400, "Expected a group and a name.")
        found = self._group(str(asked.get("group", "")))
        member = next((each for each in found.users if each.name == asked["name"]), None)
        if member is None:
            raise HTTPError(404, "That person is not in the group any more.")
        if state := await self._state(member, table.read(self.app.layout).blocked):
            self.finish({"outcome": state, "reason": ""})
        else:
            reason = await group.start_one(self, self.users[member])
            outcome = Outcome.FAILED if reason else Outcome.STARTED
            self.finish({"outcome": outcome, "reason": reason})

    def _group(self, name: str) -> orm.Group:
        """Return a group.

        Raises:
            HTTPError: the hub has no such group.
        """
        found = orm.Group.find(self.db, name)
        if found is None:
            names = [each.name for each in self.db.query(orm.Group).order_by(orm.Group.name)]
            known = (
                f"it has: {', '.join(names)}"
                if names
                else "it has none: class.md shows how to make one"
            )
            raise HTTPError(404, f"The hub has no such group; {known}")
        return found

    async def _state(self, member: orm.User, blocked: Collection[str]) -> Outcome | str:
        """Return why no server has to be started for a member; "": one has to."""
        if member.name in blocked:
            return Outcome.LOCKED
        # JupyterHub's user objects are made only for users with a server.
        if member in self.users and self.users[member].spawners[""].ready:
            return Outcome.RUNS
        return "" if await group.may_come(self.authenticator, member.name) else Outcome.GONE

    def _limit(self, member: orm.User) -> int:
        spawner: Any = self.users[member].spawners[""]
        return int(getattr(spawner, "concurrent_starts", self.concurrent_spawn_limit) or 0)
