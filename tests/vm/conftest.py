"""One virtual machine with one hub, installed before it boots, at this machine's speed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.machine import Machine
from tests.virtual import VIRTUAL_S, Vm

# Everything takes longer there; the defaults are for real machines.
FRAGMENT = f"""\
c.Authenticator.allow_all = True
c.Spawner.start_timeout = c.Spawner.http_timeout = {VIRTUAL_S}
c.SystemdSpawner.mem_limit = "600M"
c.SystemdSpawner.unit_extra_properties = {{"TasksMax": "200"}}
"""


@pytest.fixture(scope="package")
def vm(installer: Path) -> Iterator[Vm]:
    """A machine with a hub that allows every system user."""

    def prepare(machine: Machine) -> None:
        machine.put("/opt/littlest-hub/jupyterhub_config.d/20-patient.py", FRAGMENT)
        machine.install(installer)

    with Vm("bookworm", prepare) as vm:
        yield vm


@pytest.fixture(scope="package")
def hub(vm: Vm) -> Hub:
    return Hub.found_on(vm)
