"""A real JupyterHub as `tests/unit/hub/small_hub.py`, whose servers may be launched, and counted.

`python spawning_hub.py PORT DIRECTORY`.
"""

from __future__ import annotations

from littlest_hub.hub.app import LittlestHub
from littlest_hub.stacks.launch.configuration import Caps
from littlest_hub.stacks.launch.records import checked_id
from littlest_hub.stacks.launch.server.spawner import WithLaunch
from littlest_hub.stacks.launch.settings import OPTION, Settings
from littlest_hub.stacks.stats.hub import ENVIRONMENTS_PATH, ENVIRONMENTS_SCOPE, FAILURES_SCOPE
from tests.unit.hub.small_hub import LAYOUT, RecordingSpawner, c

TOKEN = "that-of-the-service-that-counts"


class LaunchingSpawner(WithLaunch, RecordingSpawner):
    """Records its options, if they are those of something that was approved."""

    layout = LAYOUT
    launch_settings = Settings(caps=Caps(memory_gb=8, processors=4, hours=12))


c.JupyterHub.spawner_class = LaunchingSpawner
c.RequestPolicy.user_options[OPTION] = checked_id
c.Authenticator.admin_users = {"boss"}
c.JupyterHub.services = [{"name": "counter", "api_token": TOKEN}]
c.JupyterHub.custom_scopes = {
    scope: {"description": scope} for scope in (ENVIRONMENTS_SCOPE, FAILURES_SCOPE)
}
c.JupyterHub.load_roles = [
    {"name": "counter", "scopes": [ENVIRONMENTS_SCOPE, "read:metrics"], "services": ["counter"]}
]
c.Pages.handlers.update({ENVIRONMENTS_PATH: "littlest_hub.stacks.stats.hub_page:Environments"})

if __name__ == "__main__":
    LittlestHub.instance(loaded_config=c, layout=LAYOUT).launch_instance([])
