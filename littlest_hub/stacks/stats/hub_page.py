"""Failed starts and the queue, which the hub tells the sampler besides JupyterHub's own API.

The hub imports this module when it loads the stack's page. So it also keeps the sampler's requests,
thousands each day, out of the journal.
"""

from __future__ import annotations

from dataclasses import asdict

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from prometheus_client import Gauge
from tornado.log import access_log

from littlest_hub.doctor.last_failures import Failures
from littlest_hub.hub.spawn_queue import QUEUE
from littlest_hub.stacks.stats.hub import FAILURES_SCOPE
from littlest_hub.stacks.stats.requests_of_sampler import is_of_interest

WAITING = "littlest_hub_waiting_servers"
"""The metric that says how long the queue is."""
Gauge(WAITING, "Servers that wait in the queue until fewer servers start").set_function(
    lambda: len(QUEUE.waiting)
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
