"""What the hub tells the sampler besides JupyterHub's own API: failed starts, environments, queue.

The hub imports this module when it loads the stack's page. So it also keeps the sampler's requests,
thousands each day, out of the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from prometheus_client import Gauge
from tornado.log import access_log

from littlest_hub.doctor.last_failures import Failures
from littlest_hub.hub.environment_name import name_of
from littlest_hub.hub.spawn_queue import QUEUE
from littlest_hub.stacks.stats.hub import ENVIRONMENTS_SCOPE, FAILURES_SCOPE
from littlest_hub.stacks.stats.requests_of_sampler import is_of_interest
from littlest_hub.stacks.stats.store.environments import MOST, OTHERS_NAME, OWN_NAME

WAITING = "littlest_hub_waiting_servers"
"""The metric that says how long the queue is."""
Gauge(WAITING, "Servers that wait in the queue until fewer servers start").set_function(
    lambda: len(QUEUE.waiting)
)
_SERVERS = Gauge(
    "littlest_hub_environment_servers",
    "Servers that run, by the environment that they run with, at the last sample",
    ["environment"],
)
_FAILURES = Failures()
access_log.addFilter(is_of_interest)


class FailedStarts(APIHandler):  # type: ignore[misc]
    """The last failed start of each person, as JSON; null: the hub cannot read the journal."""

    @needs_scope(FAILURES_SCOPE)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        found = await _FAILURES.get()
        failures = None if found is None else [asdict(each) for each in found]
        self.finish({"failures": failures})


class Environments(APIHandler):  # type: ignore[misc]
    """Names of the environments of servers that run or start, by person and server, as JSON.

    Servers with the hub's own environment are left out.
    """

    @needs_scope(ENVIRONMENTS_SCOPE)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        active = {
            user.name: {name: each for name, each in user.spawners.items() if each.active}
            for user in self.users.values()
        }
        show_servers(
            name_of(each) for own in active.values() for each in own.values() if each.ready
        )
        self.finish({"environments": {user: named(own) for user, own in active.items() if own}})


def named(spawners: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of environments by server; those with the hub's own are left out."""
    names = ((server, name_of(each)) for server, each in spawners.items())
    return {server: name for server, name in names if name}


def show_servers(environments: Iterable[str]) -> None:
    """Let Prometheus read how many servers run with each of the most common environments.

    Args:
        environments: the name of each server's; "": the hub's own.
    """
    counted = Counter(environments)
    own = counted.pop("", 0)
    common = dict(counted.most_common(MOST))
    others = counted.total() - sum(common.values())
    _SERVERS.clear()
    for name, number in {**common, OWN_NAME: own, OTHERS_NAME: others}.items():
        _SERVERS.labels(name).set(number)
