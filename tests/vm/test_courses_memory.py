"""The memory limit of submissions, which needs a kernel that counts the memory of units."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.courses import ASSIGNMENT, COURSES, ROSTER, Campus
from tests.hub import Hub
from tests.machine import Machine
from tests.virtual import VIRTUAL_S, Vm

# `make test-courses` and `make test-vm` run it.
pytestmark = pytest.mark.long

FRAGMENT = f"c.Spawner.start_timeout = c.Spawner.http_timeout = {VIRTUAL_S}\n"
SUBMITTED = f"{COURSES}/ps131/submitted"
RIGHT = "def square(x): return x * x"
# Less than LimitDATA= before MemoryMax= is reached: no MemoryError, but an end.
BOMB = """\
def square(x):
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * (16 << 20))
"""
PATIENT = "c = get_config()\nc.Execute.timeout = c.Execute.startup_timeout = 900\n"


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A course in which bob and carol have handed in ps1, made before it boots.

    The machine has more memory than one submission may take.
    """

    def prepare(machine: Machine) -> None:
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-patient.py", FRAGMENT)
        campus = Campus.enabled(hub, tmp_path_factory.mktemp("courses"), people=())
        campus.create("ps131", ROSTER)
        campus.release("ps131", "ps1")
        for name, solution in (("bob", BOMB), ("carol", RIGHT)):
            place = f"{SUBMITTED}/{name}/ps1"
            machine.run(["mkdir", "-p", place])
            notebook = json.loads(json.dumps(ASSIGNMENT))
            notebook["cells"][0]["source"] = solution
            machine.put(f"{place}/work.ipynb", json.dumps(notebook))
            machine.put(f"{place}/timestamp.txt", "2026-12-01 10:00:00.000000 UTC")
        machine.put(f"{COURSES}/ps131/nbgrader_config.py", PATIENT)
        machine.run(["chown", "-R", "grader-ps131:", f"{COURSES}/ps131"])
        machine.systemctl("stop", hub.layout.hub_service, hub.layout.proxy_service)

    with Vm("bookworm", prepare, memory="4G", is_prepared_booted=True) as vm:
        yield Campus(Hub.found_on(vm))


def test_a_submission_that_takes_all_memory_costs_only_itself_and_its_student_reads_why(
    campus: Campus,
) -> None:
    hub, machine = campus.hub, campus.machine
    pid = hub.main_pid()
    command = [hub.path("hub/bin/littlest-hub"), "course", "autograde", "ps131", "ps1"]
    done = machine.run(command, timeout_s=4 * VIRTUAL_S)
    assert "2 graded" in done.stdout, done.stdout + done.stderr
    # Not the slices, for which systemd says the same.
    killed = set(re.findall(r"(\S+\.service): .+ by the OOM killer", machine.journal()))
    # Once more, since the machine might have been at fault.
    assert len(killed) == 2, killed
    assert all("courses-kernels-ps131-" in unit for unit in killed), killed
    grades = campus.grades("ps131")
    assert grades["bob", "ps1"]["score"] == "0.0"
    assert grades["carol", "ps1"]["score"] == "3.0"
    seen = machine.read(f"{COURSES}/ps131/autograded/bob/ps1/work.ipynb")
    assert (
        "The kernel ended in this cell, twice: its code has ended it, or needed more than" in seen
    )
    assert hub.answers(VIRTUAL_S)
    assert hub.main_pid() == pid
    kernels = ["list-units", "--plain", "--no-legend", "littlest-hub.courses-kernels-ps131-*"]
    assert machine.systemctl(*kernels).stdout == ""
