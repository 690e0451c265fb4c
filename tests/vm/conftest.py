"""One virtual machine with one hub: an emulated processor takes a minute to install it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.virtual import EMULATED_S, Vm

# Under emulation everything takes ten times as long; the defaults are for real machines.
FRAGMENT = f"""\
c.Authenticator.allow_all = True
c.Spawner.start_timeout = c.Spawner.http_timeout = {EMULATED_S}
c.SystemdSpawner.mem_limit = "600M"
c.SystemdSpawner.unit_extra_properties = {{"TasksMax": "200"}}
"""


@pytest.fixture(scope="package")
def vm() -> Iterator[Vm]:
    with Vm("bookworm") as vm:
        yield vm


@pytest.fixture(scope="package")
def hub(vm: Vm, installer: Path) -> Hub:
    """A hub that allows every system user."""
    vm.put("/opt/littlest-hub/jupyterhub_config.d/20-patient.py", FRAGMENT)
    return Hub.install(vm, installer)
