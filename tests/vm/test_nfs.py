"""Servers as Slurm jobs of people whose homes are on NFS, on a virtual machine (`make test-nfs`).

One machine is the file server, the head and the node: it mounts its own export, so requests take
the way through client, network and server of the kernel. Root is nobody there, as on most file
servers (root_squash of exports(5)).
"""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Person
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.slurm import CONFIGURATION, HEAD
from tests.slurm import PACKAGES as SLURM
from tests.virtual import VIRTUAL_S, Vm

pytestmark = pytest.mark.long

SERVED = "/srv/homes"
PATIENT = f"c.Spawner.http_timeout = {VIRTUAL_S}\n"
# Clients may claim what they had for that long after the file server is back (nfs.conf(5)).
NFS = "[nfsd]\ngrace-time=10\nlease-time=10\n"
SAVE = """
import getpass, os, pathlib, sqlite3
pathlib.Path("result.txt").write_text(getpass.getuser())
rows = sqlite3.connect("rows.sqlite")
rows.execute("CREATE TABLE IF NOT EXISTS numbers (number)")
rows.execute("INSERT INTO numbers VALUES (41)")
rows.commit()
print(os.environ["SLURM_JOB_ID"])
"""


@pytest.fixture(scope="module")
def vm(installer: Path) -> Iterator[Vm]:
    """A machine with a file server and Slurm, with homes on NFS."""

    def prepare(machine: Machine) -> None:
        machine.put("/opt/littlest-hub/jupyterhub_config.d/20-everybody.py", EVERYBODY)
        machine.put("/opt/littlest-hub/jupyterhub_config.d/60-patient.py", PATIENT)
        machine.install(installer)
        # Before it boots, because a mount may hang after a restart of the file server.
        machine.put("/etc/hosts", f"127.0.0.1 localhost {HEAD}\n")
        machine.put("/etc/nfs.conf", NFS)
        machine.put("/etc/exports", f"{SERVED} 127.0.0.1(rw,root_squash,no_subtree_check)\n")
        machine.run(["mkdir", "-p", SERVED])

    with Vm("bookworm", prepare, (*SLURM, "nfs-kernel-server")) as vm:
        vm.run(["hostname", HEAD])
        vm.run(["mount", "-t", "nfs4", f"{HEAD}:{SERVED}", "/home"])
        configuration = CONFIGURATION.format(head=HEAD, nodes=HEAD, processors=1)
        vm.put("/etc/slurm/slurm.conf", configuration)
        vm.systemctl("restart", "munge", "slurmctld", "slurmd")
        listed = ["sinfo", "--noheader", "--format=%t"]
        eventually(lambda: vm.run(listed).stdout.strip() == "idle", VIRTUAL_S, "the node")
        yield vm


@pytest.fixture(scope="module")
def hub(vm: Vm) -> Hub:
    hub = Hub.found_on(vm)
    command = [hub.path("hub/bin/littlest-hub"), "enable", "slurm", "--yes"]
    vm.run([*command, "--set", f"address=http://{HEAD}"])
    return hub


@pytest.fixture
def person(hub: Hub, vm: Vm) -> Iterator[Person]:
    """A user whose home nobody else may enter, with a server."""
    name, password = f"user{secrets.token_hex(2)}", secrets.token_urlsafe()
    # Root cannot make homes on NFS; whoever administers the file server does.
    vm.run(["useradd", "--no-create-home", "--shell", "/bin/bash", name])
    vm.run(["chpasswd"], input=f"{name}:{password}\n")
    vm.run(["install", "-d", "-m", "0700", "-o", name, "-g", name, f"{SERVED}/{name}"])
    with Person(hub.url, name, password, timeout_s=VIRTUAL_S) as person:
        person.log_in()
        person.start_server(timeout_s=VIRTUAL_S)
        yield person
        person.stop_server()


def test_a_server_works_in_a_home_that_root_cannot_enter(vm: Vm, hub: Hub, person: Person) -> None:
    home = f"/home/{person.name}"
    assert vm.run(["stat", "--file-system", "--format=%T", home]).stdout.strip() == "nfs"
    denied = vm.run(["ls", home], check=False)
    assert "Permission denied" in denied.stderr, "root is nobody on the file server"
    job = person.run_cell(SAVE).strip()
    assert vm.run(["squeue", "--noheader", "--format=%i"]).stdout.strip() == job
    assert vm.read(f"{SERVED}/{person.name}/result.txt") == person.name
    assert "slurm/port" not in vm.read(f"{SERVED}/{person.name}/.jupyterhub.log")
    said = vm.run([hub.path("hub/bin/littlest-hub"), "nodes"], check=False)
    assert "unseen   head: is not free now" in said.stdout or said.returncode == 0, said.stdout


def test_a_file_server_that_is_away_stops_neither_the_hub_nor_its_jobs(
    vm: Vm, hub: Hub, person: Person
) -> None:
    with person.open_kernel() as kernel:
        kernel.run("x = 41", timeout_s=VIRTUAL_S)
        vm.systemctl("stop", "nfs-server")
        try:
            own = [f"--reuid={person.name}", f"--regid={person.name}", "--clear-groups"]
            touch = ["setpriv", *own, "touch", f"/home/{person.name}/away"]
            hanging = vm.run(["timeout", "5", *touch], check=False)
            assert hanging.returncode == 124, "it waits for the file server"
            begun = time.monotonic()
            assert hub.answers(VIRTUAL_S)
            assert person.sees("/hub/home")
            doctor = [hub.path("hub/bin/littlest-hub"), "doctor"]
            said = vm.run(["timeout", "200", *doctor], check=False)
            assert said.returncode in (0, 1), said.stderr
            assert time.monotonic() - begun < VIRTUAL_S
        finally:
            vm.systemctl("start", "nfs-server")
        assert kernel.run("x + 1", timeout_s=VIRTUAL_S) == "42"
        kernel.run("open('after.txt', 'w').write('there')", timeout_s=VIRTUAL_S)
    assert vm.read(f"{SERVED}/{person.name}/after.txt") == "there"
