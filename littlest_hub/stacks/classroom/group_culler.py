"""The idle culler with other limits for groups of the hub; the hub runs it as a program.

jupyterhub-idle-culler asks a function of ours about each server. The function knows the members of
the groups that CULL_GROUPS names, because it asks the hub, once for each look at the servers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient

from littlest_hub.hub.idle_culler import PatientCuller
from littlest_hub.stacks.classroom.culling import SETTINGS, Culling

_log = logging.getLogger("group_culler")
_NO_SUCH_GROUP = 404

MembersOf = Callable[[str], Awaitable[Collection[str]]]
"""Returns the names of the members of a group."""


class Memberships:
    """Members of groups, as the hub said a moment ago.

    Args:
        groups: the groups to ask about.
        kept_s: how long an answer is used again.
        members_of: asks the hub.
    """

    def __init__(self, groups: Collection[str], kept_s: float, members_of: MembersOf) -> None:
        self._groups, self._kept_s, self._members_of = groups, kept_s, members_of
        self._found: Mapping[str, Collection[str]] = {}
        self._asked_s: float | None = None
        self._turn = asyncio.Lock()

    async def of(self, person: str) -> list[str]:
        """Return the groups of a person.

        Raises:
            Exception: the hub does not answer; nothing is to be stopped then.
        """
        async with self._turn:
            now_s = time.monotonic()
            if self._asked_s is None or now_s >= self._asked_s + self._kept_s:
                self._found = {each: await self._members_of(each) for each in self._groups}
                self._asked_s = now_s
        return [group for group, members in self._found.items() if person in members]


def is_over(
    limits: tuple[int, int], inactive: timedelta | None, server: Mapping[str, Any], now: datetime
) -> bool:
    """Return whether a server is to be stopped.

    Args:
        limits: idle time and age, in seconds; 0: never.
        inactive: the time since its last activity; None: unknown.
        server: what the hub's API says about it.
        now: the time.
    """
    idle_s, max_age_s = limits
    if idle_s and inactive is not None and inactive.total_seconds() >= idle_s:
        return True
    if not (max_age_s and server.get("started")):
        return False
    age = now - datetime.fromisoformat(str(server["started"]))
    return age.total_seconds() >= max_age_s


class GroupCuller(PatientCuller):
    """The hub's idle culler, which also knows groups."""

    name = "group-culler"

    def start(self) -> None:
        """Look at servers until the hub ends this program."""
        wanted = Culling.from_json(os.environ[SETTINGS])
        memberships = Memberships(wanted.cull_groups, wanted.cull_every_s / 2, self._members_of)

        async def arbiter(*, inactive: timedelta, server: Mapping[str, Any], **_: Any) -> bool:
            person = str(server["full_name"]).partition("/")[0]
            limits = wanted.of_person(await memberships.of(person))
            return is_over(limits, inactive, server, datetime.now(UTC))

        self.cull_arbiter_hook = arbiter
        super().start()

    async def _members_of(self, group: str) -> Collection[str]:
        headers = {"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"}
        address = f"{self.url}/groups/{quote(group, safe='')}"
        answer = await AsyncHTTPClient().fetch(address, headers=headers, raise_error=False)
        if answer.code == _NO_SUCH_GROUP:
            _log.warning("CULL_GROUPS names %r, but the hub has no such group", group)
            return ()
        answer.rethrow()
        return frozenset(json.loads(answer.body)["users"])


if __name__ == "__main__":
    GroupCuller.launch_instance()
