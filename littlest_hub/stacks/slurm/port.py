"""The hub's API for jobs: a job reports the port of its server, and nothing else."""

from __future__ import annotations

from jupyterhub.apihandlers import APIHandler, default_handlers
from tornado.web import HTTPError

from littlest_hub.hub.server_port import port_in
from littlest_hub.stacks.slurm.spawner import SlurmSpawner, begun

PATH = "/api/slurm/port"


class PortHandler(APIHandler):  # type: ignore[misc]
    """Accepts one number from 1 to 65535, once, with the token of a server that is starting."""

    def post(self) -> None:
        """Accept the port of the server to which the request's token belongs."""
        spawner = self._spawner()
        if spawner.reported is None or spawner.reported.done():
            raise HTTPError(409, "no port is expected")
        spawner.report(port_in(self.get_json_body()))
        self.set_status(201)
        self.finish("{}")

    def _spawner(self) -> SlurmSpawner:
        token, user = self.get_auth_token(), self.current_user
        # A service has no servers.
        orm_user = getattr(user, "orm_user", None)
        if token and orm_user:
            for spawner in user.spawners.values():
                if isinstance(spawner, SlurmSpawner) and spawner.api_token == token:
                    return spawner
            # This hub has just started, and has not adopted the job yet.
            if any(begun(each.state).get("api_token") == token for each in orm_user._orm_spawners):
                raise HTTPError(503, "try again")
        raise HTTPError(403, "no server of yours is starting")


def register() -> None:
    """Add the handler to those that the hub serves."""
    if not any(path == PATH for path, _ in default_handlers):
        default_handlers.append((PATH, PortHandler))
