"""A real JupyterHub as `tests/unit/hub/small_hub.py`, whose servers may be launched.

`python spawning_hub.py PORT DIRECTORY`.
"""

from __future__ import annotations

from littlest_hub.hub.app import LittlestHub
from littlest_hub.stacks.launch.configuration import Caps
from littlest_hub.stacks.launch.records import checked_id
from littlest_hub.stacks.launch.server.spawner import WithLaunch
from littlest_hub.stacks.launch.settings import OPTION, Settings
from tests.unit.hub.small_hub import LAYOUT, RecordingSpawner, c


class LaunchingSpawner(WithLaunch, RecordingSpawner):
    """Records its options, if they are those of something that was approved."""

    layout = LAYOUT
    launch_settings = Settings(caps=Caps(memory_gb=8, processors=4, hours=12))


c.JupyterHub.spawner_class = LaunchingSpawner
c.RequestPolicy.user_options[OPTION] = checked_id
c.Authenticator.admin_users = {"boss"}

if __name__ == "__main__":
    LittlestHub.instance(loaded_config=c, layout=LAYOUT).launch_instance([])
