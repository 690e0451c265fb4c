"""The end of a server's time: what people read before it, and more time where the site allows it.

JupyterLab asks the hub at intervals what to show (`littlest_hub.hub.pages`); the hub's page after
the login has the button.
"""

# Handlers are JupyterHub's, which has no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError, authenticated

from littlest_hub.hub import cross_site
from littlest_hub.hub.cross_site import Site
from littlest_hub.stacks.slurm import client, settings, spawner
from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.jobs import Job, Phase, most_minutes
from littlest_hub.stacks.slurm.queue import WAITING_INTERVAL_S
from littlest_hub.stacks.slurm.spawner import SlurmSpawner

TEMPLATES = str(Path(__file__).parent / "templates")
PATH = "slurm/prolong"
"""The page, below the hub's prefix, to which the button posts."""
LOOK_MINUTES = 5
"""Interval at which JupyterLab asks (EVERY_MS of singleuser/labextension), so that nobody is warned
too late."""
_TURN = asyncio.Lock()


@dataclass(frozen=True)
class Ending:
    """A server whose time ends soon."""

    server: str
    """Its name; "": the one without a name."""
    job: str
    at: datetime
    limit_minutes: int
    """The present limit of the job."""
    longest_minutes: int
    """The limit that its owner may give it now; not more than the present one: none."""

    @property
    def may_be_prolonged(self) -> bool:
        return self.longest_minutes > self.limit_minutes

    @property
    def later(self) -> str:
        """The time at which it ends if it is prolonged, for people."""
        return _clock(self.at + timedelta(minutes=self.longest_minutes - self.limit_minutes))

    def __str__(self) -> str:
        name = f" {self.server}" if self.server else ""
        limit = f"the time limit of job {self.job}"
        return f"Your server{name} ends at {_clock(self.at)}, by {limit}. Save your work."


async def endings(user: Any) -> list[Ending]:
    """Return the servers of a user that end soon."""
    found = [await _ending(each, spawner.QUEUE.last(each.job)) for each in _running(user)]
    return [each for each in found if each]


async def notices(user: Any) -> list[str]:
    """Return what JupyterLab shows to a user about the end of their servers."""
    more = " You may prolong it on the hub's page."
    return [f"{each}{more if each.may_be_prolonged else ''}" for each in await endings(user)]


def template_vars() -> dict[str, Any]:
    """Return the variable of the hub's templates that shows endings: a function."""

    def for_page(user: Any) -> Callable[[], Awaitable[list[Ending]]]:
        async def found() -> list[Ending]:
            return await endings(user) if user else []

        # JupyterHub calls this for each page, and most of them do not show endings.
        return found

    return {"server_endings": for_page}


class ProlongHandler(BaseHandler):  # type: ignore[misc]
    """Gives a server of the person who asks more time, once it is about to end."""

    async def prepare(self) -> None:
        await super().prepare()
        # Beside the XSRF token, as other forms of the hub.
        if cross_site.site(self) is Site.OTHER:
            raise HTTPError(403, "Another site has sent this form. Nothing was changed.")

    @authenticated
    async def post(self) -> None:
        """Prolong the server that the form names."""
        name = self.get_body_argument("server", "")
        for each in _running(self.current_user):
            if each.name == name:
                await prolong(each)
                self.redirect(f"{self.hub.base_url}home")
                return
        raise HTTPError(404, "You have no such server.")


async def prolong(server: SlurmSpawner) -> None:
    """Give a server that is about to end as much more time as the fragment and Slurm allow.

    Raises:
        HTTPError: it is not about to end, or gets none; the message is for people.
    """
    # One click after the other: the second finds a server that is not about to end.
    async with _TURN:
        try:
            ending = await _ending(server, await spawner.QUEUE.look(server.job, WAITING_INTERVAL_S))
            if ending is None:
                raise HTTPError(409, "This server is not about to end. Nothing was changed.")
            if not ending.may_be_prolonged:
                raise HTTPError(409, "This server gets no more time: its partition has a limit.")
            minutes = ending.longest_minutes
            await client.prolong(server.layout, server.user.name, ending.job, minutes)
            server.log.info("Job %s of %s may take %d min", ending.job, server._log_name, minutes)
            await spawner.QUEUE.look(ending.job, age_s=0)
        except SlurmError as error:
            refusal = HTTPError(503, "%s", error)
            refusal.jupyterhub_message = f"Slurm gives no more time: {error}"
            raise refusal from error


def _running(user: Any) -> list[SlurmSpawner]:
    return [
        each for each in user.spawners.values() if isinstance(each, SlurmSpawner) and each.ready
    ]


async def _ending(server: SlurmSpawner, job: Job | None) -> Ending | None:
    """Return the end of a server; None: it does not come soon, or is unknown."""
    at = job.ends_at() if job and job.phase is Phase.RUNNING else None
    soon = timedelta(minutes=server.warn_minutes + LOOK_MINUTES)
    if job is None or at is None or at - datetime.now().astimezone() > soon:
        return None
    limit = job.limit_minutes or 0
    return Ending(server.name, job.number, at, limit, await _longest_minutes(server, job))


async def _longest_minutes(server: SlurmSpawner, job: Job) -> int:
    """Return the limit that a job may get now; 0: none."""
    if not (server.prolong_hours and job.limit_minutes):
        return 0
    try:
        most = most_minutes(await settings.CLUSTER.partitions(), job.partition)
    except (SlurmError, ValueError) as error:
        server.log.warning("Job %s is not prolonged: %s", job.number, error)
        return 0
    return int(min(job.limit_minutes + round(server.prolong_hours * 60), most))


def _clock(at: datetime) -> str:
    return f"{at:%H:%M %Z}"
