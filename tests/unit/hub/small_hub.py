"""A real JupyterHub with our guards, for tests of what requests may do: no proxy, no systemd.

`python small_hub.py PORT DIRECTORY`; it starts "servers" that answer 404 to everything, and records
the options of each start in DIRECTORY.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner
from traitlets import Enum, Int, Unicode
from traitlets.config import Config

from littlest_hub.hub.app import LittlestHub
from littlest_hub.layout import Layout

PORT, DIRECTORY = int(sys.argv[1]), Path(sys.argv[2])
LAYOUT = Layout(DIRECTORY)
PROVIDER = "http://127.0.0.2:1"


class NoProxy(Proxy):  # type: ignore[misc]
    """Nothing: the tests talk to the hub."""

    should_start = False
    routes: dict[str, Any] = {}

    async def add_route(self, routespec: str, target: str, data: Any) -> None:
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        self.routes.pop(routespec, None)

    async def get_all_routes(self) -> dict[str, Any]:
        return self.routes


class RecordingSpawner(Spawner):  # type: ignore[misc]
    """Records its options."""

    server_task: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        record = DIRECTORY / f"{self.user.name}:{self.name}"
        record.write_text(json.dumps(self.user_options))
        self.server_task = await asyncio.start_server(answer, "127.0.0.1", 0)
        port: int = self.server_task.sockets[0].getsockname()[1]
        return "127.0.0.1", port

    async def poll(self) -> int | None:
        return None if self.server_task else 0

    async def stop(self, now: bool = False) -> None:
        if self.server_task:
            self.server_task.close()
        self.server_task = None


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


class Provider(BaseHandler):  # type: ignore[misc]
    """The hub's side of a login at an identity provider, as in OAuth; the code is the name."""

    def get(self) -> None:
        self.redirect(f"{PROVIDER}/authorize?next={self.get_argument('next', '')}")


class Callback(BaseHandler):  # type: ignore[misc]
    """The address to which a provider, or a learning platform with a POST, sends browsers back."""

    def check_xsrf_cookie(self) -> None:
        pass  # the platform signs its requests

    async def get(self) -> None:
        user = await self.login_user({"username": self.get_argument("code")})
        self.redirect(self.get_next_url(user))

    post = get


class Launch(Callback):
    """The same of an authenticator that sets the cookie by itself, without `login_user`."""

    async def post(self) -> None:
        user = self.user_from_username(self.get_argument("code"))
        self.set_login_cookie(user)
        self.redirect(self.get_next_url(user))


class AnyName(Authenticator):  # type: ignore[misc]
    """Lets everybody in."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str:
        return data["username"]

    def get_handlers(self, app: Any) -> list[Any]:
        return [("/provider", Provider), ("/callback", Callback), ("/launch", Launch)]


def form(spawner: Any) -> str:
    return "<input name=free>" if spawner.user.name.startswith("form") else ""


c = Config()
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{PORT}"
c.JupyterHub.bind_url = f"http://127.0.0.1:{PORT}"
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.spawner_class = RecordingSpawner
c.JupyterHub.authenticator_class = AnyName
c.JupyterHub.db_url = f"sqlite:///{LAYOUT.database}"
c.JupyterHub.cookie_secret_file = str(LAYOUT.cookie_secret)
c.JupyterHub.allow_named_servers = True
c.JupyterHub.shutdown_on_logout = True
c.JupyterHub.implicit_spawn_seconds = 0.5
c.Authenticator.allow_all = True
c.Spawner.options_form = form
c.RequestPolicy.user_options = {
    "size": Enum(["small", "large"]),
    "hours": Int(min=1, max=12),
    "branch": Unicode(),
}
c.RequestPolicy.trusted_origins = {"https://portal.example.org"}

if __name__ == "__main__":
    LittlestHub.instance(loaded_config=c, layout=LAYOUT).launch_instance([])
