"""batchspawner's API for jobs, reduced to one request.

A job reports its port. Fragments that use batchspawner import this.
"""

from __future__ import annotations

from batchspawner.api import BatchSpawnerAPIHandler
from tornado.web import HTTPError

from littlest_hub.hub import patches


class PortHandler(BatchSpawnerAPIHandler):  # type: ignore[misc]
    """Receives the port that a job's server will listen at; once, while the server is starting."""

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


patches.replace_batchspawner_handler(PortHandler)
