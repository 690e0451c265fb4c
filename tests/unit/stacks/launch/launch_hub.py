"""A real JupyterHub as `tests/unit/hub/small_hub.py`, with what the launch stack's fragment says.

`python launch_hub.py PORT DIRECTORY SERVICE_PORT TOKEN [HOST]…`: further hosts of repositories.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socketserver
import sys
import threading
from unittest import mock

from littlest_hub.hub.app import LittlestHub
from littlest_hub.stacks.launch import fragment
from littlest_hub.stacks.launch.configuration import Caps
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.group_volumes import api, helper, store
from littlest_hub.stacks.launch.hub import LINK
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.pages.binder import PATH
from littlest_hub.stacks.launch.records import approved, checked_id
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.settings import OPTION, SCOPES, Settings
from littlest_hub.stacks.launch.shares import grants, pages
from littlest_hub.stacks.launch.volumes import Volume
from littlest_hub.stacks.launch.webdav import api as webdav
from littlest_hub.stacks.launch.webdav.kept import KEPT
from tests.unit.hub.small_hub import DIRECTORY, LAYOUT, RecordingSpawner, c


class SlowSpawner(RecordingSpawner):
    """Starts a server once there is no file `USER is slow`."""

    launch_settings = Settings(group_volumes={"makers": 2}, webdav=True)

    def apply_shares(self) -> None:
        """Do what the stack's spawner does, with the records of this service."""
        id = (self.user_options or {}).get(OPTION)
        found = approved(DIRECTORY / "records", self.user.name, id) if id else None
        grants.apply(self.user.db, self.orm_spawner, found.people if found else [])

    async def start(self) -> tuple[str, int]:
        self.apply_shares()
        while (DIRECTORY / f"{self.user.name} is slow").exists():
            await asyncio.sleep(0.05)
        (DIRECTORY / f"{self.user.name}:{self.name} token").write_text(self.api_token)
        if folder := KEPT.of(self.user.name, self.name, (self.user_options or {}).get(OPTION, "")):
            digest = hashlib.sha256(folder.password.encode()).hexdigest()
            (DIRECTORY / f"{self.user.name}:{self.name} folder").write_text(digest)
        return await super().start()


SETTINGS = Settings(
    title="Physics & <Hub>",
    policy=Policy(banned=("github.com/evil/*",), hosts=tuple(sys.argv[5:])),
    caps=Caps(memory_gb=4, hours=8),
    volumes={
        "data": Volume("/srv/data", read=("physics",), write=("staff",)),
        "finance": Volume("/srv/finance", read=("finance",)),
    },
    prepared={"Statistics, week 1": Form("gh/org/week1/main", path="a.ipynb", name="week1")},
    group_volumes=SlowSpawner.launch_settings.group_volumes,
    webdav=SlowSpawner.launch_settings.webdav,
    one_click={"physics": ("Statistics, week 1",)},
    documentation={"How to launch": "https://docs.example.org/launch"},
    credits={"The Institute": "https://example.org/institute", "The Foundation": ""},
    hubs={"the other hub": "https://other.example.org/jupyter/"},
)

c.JupyterHub.services = [
    {
        "name": "launch",
        "url": f"http://127.0.0.1:{sys.argv[3]}",
        "api_token": sys.argv[4],
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": list(SCOPES),
        "info": SETTINGS.to_json(),
    }
]
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "access:services!service=launch"]},
    {
        "name": "launch-service",
        "scopes": ["read:services!service=launch", "read:users:name"],
        "services": ["launch"],
    },
]
c.RequestPolicy.user_options[OPTION] = checked_id
c.Pages.handlers.update({PATH: "littlest_hub.stacks.launch.pages.binder:BinderLink"})
c.Pages.handlers.update(pages.HANDLERS)
c.Pages.handlers.update(api.HANDLERS)
c.Pages.handlers.update(webdav.HANDLERS)
c.JupyterHub.template_vars = pages.template_vars()
c.JupyterHub.template_paths = [pages.TEMPLATES]
c.Pages.home_parts = ["launch-shared.html"]
c.Pages.links = [LINK, {"text": "Other", "path": "x", "scope": "access:services!service=other"}]
c.JupyterHub.spawner_class = SlowSpawner
members = ["physicist", *(f"physicist{number}" for number in range(40))]
c.JupyterHub.load_groups = {
    "physics": {"users": members},
    "makers": {"users": ["maker", "member2"]},
    "Lab & <b>": {"users": ["maker", "member"]},
    "chem": {"users": ["member2"]},
}
c.Authenticator.admin_users = {"boss"}


class Helper(socketserver.StreamRequestHandler):
    """Root's helper for volumes, without root."""

    def handle(self) -> None:
        self.wfile.write(json.dumps(helper.answer(LAYOUT, self.rfile.read())).encode())


def help_with_volumes() -> None:
    """Run the helper, with volumes in the directory of the test."""
    values = Values(group_volumes=SETTINGS.group_volumes)
    mock.patch.object(store, "place_of", return_value=DIRECTORY / "volumes").start()
    mock.patch.object(api, "address_of", return_value=DIRECTORY / "helper").start()
    mock.patch.object(fragment, "read", return_value=values).start()
    server = socketserver.ThreadingUnixStreamServer(str(DIRECTORY / "helper"), Helper)
    threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    help_with_volumes()
    LittlestHub.instance(loaded_config=c, layout=LAYOUT).launch_instance([])
