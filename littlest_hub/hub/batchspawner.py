"""For fragments that use batchspawner: its API, reduced to what a job has to report.

batchspawner 1.3.0 lets whoever holds a user server's token set any attribute of the spawner, with
the rights of the hub. Import this module in the fragment and only a port gets through.
"""

from __future__ import annotations

from batchspawner.api import BatchSpawnerAPIHandler
from jupyterhub.apihandlers import default_handlers
from tornado.web import HTTPError


class PortHandler(BatchSpawnerAPIHandler):  # type: ignore[misc]
    """Takes the port at which a job's server is going to listen; once, while the hub waits."""

    def post(self) -> None:
        token = self.get_auth_token()
        user = self.current_user
        spawners = user.spawners.values() if user else ()
        spawner = next((s for s in spawners if token and s.api_token == token), None)
        if spawner is None or spawner.pending != "spawn":
            raise HTTPError(403, "no server of yours is starting")
        report = self.get_json_body()
        port = report.get("port") if isinstance(report, dict) and len(report) == 1 else None
        if type(port) is not int or not 0 < port < 65536:
            raise HTTPError(400, "expected a port and nothing else")
        spawner.port = port
        self.set_status(201)
        self.finish("{}")


def _replace_handler() -> None:
    for index, (path, handler) in enumerate(default_handlers):
        if handler is BatchSpawnerAPIHandler:
            default_handlers[index] = (path, PortHandler)


_replace_handler()
