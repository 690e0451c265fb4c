"""A launched server that takes more memory than its person has chosen (`make test-launch`).

It is launched before the machine boots, at the host's speed. The virtual machine has the hub's
database, the records and the environment, starts the server again, and enforces its limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Person, visible_text
from tests.eventually import eventually
from tests.hub import Hub
from tests.launch_machine import PACKAGES, START, launch_machine
from tests.machine import Machine
from tests.virtual import VIRTUAL_S, Vm
from tests.vm.conftest import FRAGMENT

pytestmark = [pytest.mark.long, pytest.mark.needs("git")]

OWNER, PASSWORD = "alice", "a password"
MOST_GB, CHOSEN_GB = 1, 0.4
CHOSEN_BYTES = round(CHOSEN_GB * 1024) << 20


def launch(hub: Hub, directory: Path) -> None:
    """Launch a repository with a limit of memory; its server is stopped at the end."""
    assert isinstance(hub.machine, Machine)
    with launch_machine(hub, directory, values={"MEMORY_GB": MOST_GB}) as launching:
        launching.wheel("colors", colors="RED = 'red'\n")
        files = {"requirements.txt": "colors\n", "start.ipynb": START}
        launching.repository("hungry", files)
        hub.machine.add_user(OWNER, PASSWORD)
        with Person(hub.url, OWNER, PASSWORD) as owner:
            owner.log_in()
            refused = launching.opened(owner, "hungry", memory_gb="2")
            assert refused.status_code == 400
            assert f"expected a number from 0.25 to {MOST_GB}" in visible_text(refused)
            with launching.launched(owner, "hungry", memory_gb=str(CHOSEN_GB)):
                pass


@pytest.fixture(scope="module")
def vm(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    """A machine on which somebody has launched a repository."""

    def prepare(machine: Machine) -> None:
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-patient.py", FRAGMENT)
        launch(hub, tmp_path_factory.mktemp("launch"))
        machine.systemctl("stop", hub.layout.hub_service, hub.layout.proxy_service)

    with Vm("bookworm", prepare, PACKAGES, is_prepared_booted=True) as vm:
        yield vm


@pytest.fixture(scope="module")
def hub(vm: Vm) -> Hub:
    return Hub.found_on(vm)


def test_a_cell_of_twice_the_memory_of_a_launch_ends_its_kernel_alone(hub: Hub) -> None:
    unit = f"{hub.layout.user_unit(OWNER, 'hungry')}.service"
    with (
        hub.logged_in(OWNER, PASSWORD, timeout_s=VIRTUAL_S) as alice,
        hub.person(timeout_s=VIRTUAL_S) as bob,
    ):
        bob.start_server(timeout_s=VIRTUAL_S)
        alice.start_server(timeout_s=VIRTUAL_S, server="hungry")
        show = ("show", "--property=MemoryMax", "--value", unit)
        assert hub.machine.systemctl(*show).stdout.strip() == str(CHOSEN_BYTES)
        pids = hub.main_pid(), hub.main_pid(unit)
        with alice.open_kernel(server="hungry") as doomed, bob.open_kernel() as kernel:
            kernel.run("x = 41", timeout_s=VIRTUAL_S)
            cell = "import colors; print(colors.RED, end='')"
            assert doomed.run(cell, timeout_s=VIRTUAL_S) == "red"
            doomed.send(f"hoard = b'x' * {2 * CHOSEN_BYTES}")
            eventually(
                lambda: "killed by the OOM killer" in hub.machine.journal(unit),
                VIRTUAL_S,
                "Linux to end the kernel",
            )
            assert hub.answers(VIRTUAL_S)
            assert kernel.run("x + 1", timeout_s=VIRTUAL_S) == "42"
            assert (hub.main_pid(), hub.main_pid(unit)) == pids
        with alice.connect(doomed.id, server="hungry") as anew:
            assert anew.run("6 * 7", timeout_s=VIRTUAL_S) == "42"
        alice.stop_server(server="hungry")
