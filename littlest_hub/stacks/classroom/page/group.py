"""A group of the class on its day: servers that start before people come, and messages to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jupyterhub import orm
from tornado.web import HTTPError

from littlest_hub import installation
from littlest_hub.hub.access import is_allowed
from littlest_hub.hub.forms import Form
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts.table import STACK
from littlest_hub.system.files import write

LONGEST = 500
"""The most characters of a message."""
SHOWN_S = 12 * 3600
"""Time for which a message is shown."""
_MOST = 50
_tasks: set[asyncio.Task[None]] = set()


@dataclass(frozen=True)
class Group:
    """A group of the hub, for the page."""

    name: str
    members: int
    here: int
    """Number of those with a server that runs, starts, or stops."""


@dataclass(frozen=True)
class Message:
    """A message to a group."""

    group: str
    text: str
    author: str
    time_s: int

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"


# --- servers


def groups(page: Form, here: Collection[str]) -> list[Group]:
    """Return the groups of the hub that have members.

    Args:
        page: the request.
        here: names of people who have a server.
    """
    found = []
    for group in page.db.query(orm.Group).order_by(orm.Group.name):
        names = [user.name for user in group.users]
        if names:
            found.append(Group(group.name, len(names), sum(each in here for each in names)))
    return found


async def may_come(authenticator: Any, name: str) -> bool:
    """Return whether a member of a group may log in: who has left the class stays in its groups.

    Args:
        authenticator: the hub's.
        name: of a user of the hub.
    """
    return await is_allowed(authenticator, name) is not False


async def start(page: Form, group: orm.Group, locked: Collection[str]) -> int:
    """Start the servers of a group's members, and return how many start now.

    They wait in the hub's queue, as if all members had come at the same moment: only a few start
    at a time.

    Args:
        page: the request.
        group: the group.
        locked: names of people who may not log in.
    """
    number = 0
    for member in group.users:
        user = page.users[member]
        if member.name in locked or user.spawners[""].active:
            continue
        if not await may_come(page.authenticator, member.name):
            continue
        task = asyncio.create_task(_start(page, user))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
        number += 1
    return number


async def _start(page: Form, user: Any) -> None:
    if reason := await start_one(page, user):
        page.log.warning("The server of %s did not start with its group: %s", user.name, reason)


async def start_one(page: Any, user: Any) -> str:
    """Start a server unless it starts already, wait for it, and return why it has failed, or "".

    Args:
        page: a request of the hub.
        user: JupyterHub's object of the person.
    """
    spawner = user.spawners[""]
    if spawner.pending not in (None, "spawn"):
        return f"the hub is busy with this server ({spawner.pending}); try again in a moment"
    try:
        if not spawner.pending:
            await page.spawn_single_user(user, "")
        # JupyterHub waits for some seconds only. The start goes on if this request ends.
        if spawner.pending and spawner._spawn_future:
            await asyncio.shield(spawner._spawn_future)
    except HTTPError as error:
        return reason_of(error)
    except Exception as error:
        page.log.exception("The server of %s did not start with its group", user.name)
        return f"{type(error).__name__}: {error}"
    return "" if spawner.ready else "it has ended again; see the hub's journal"


def reason_of(error: HTTPError) -> str:
    """Return why JupyterHub has not started a server, as it says it to people."""
    return str(getattr(error, "jupyterhub_message", None) or error.log_message or error)


# --- messages


def file_of(layout: Layout) -> Path:
    return layout.on_disk(layout.stack_hub_data(STACK)) / "messages.json"


def messages(layout: Layout) -> list[Message]:
    """Return the messages that are shown now, the last one first; none if they cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = [Message(**each) for each in json.loads(file_of(layout).read_text())]
        return [each for each in found if 0 <= time.time() - each.time_s < SHOWN_S]
    return []


def tell(layout: Layout, message: Message) -> None:
    """Show a message to a group, besides those that are shown.

    Raises:
        OSError: it cannot be written.
    """
    _save(layout, [message, *messages(layout)][:_MOST])


def withdraw(layout: Layout, group: str) -> int:
    """Stop showing all messages to a group, and return how many there were.

    Raises:
        OSError: that cannot be written.
    """
    found = messages(layout)
    kept = [each for each in found if each.group != group]
    _save(layout, kept)
    return len(found) - len(kept)


def notices(user: Any) -> list[str]:
    """Return the messages for a user, which JupyterLab shows."""
    return [str(each) for each in for_groups([group.name for group in user.groups])]


def for_groups(names: Collection[str]) -> Sequence[Message]:
    """Return the messages to any of these groups."""
    if not names:
        return ()
    return [each for each in messages(installation.of_this_release()) if each.group in names]


def _save(layout: Layout, found: Sequence[Message]) -> None:
    file = file_of(layout)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(file, json.dumps([asdict(each) for each in found]), 0o600)
