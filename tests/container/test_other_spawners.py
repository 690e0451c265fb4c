"""Other spawners work as fragments; the core does not depend on its default one."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import slurm
from tests.client import Person, RefusedError
from tests.container.conftest import EVERYBODY
from tests.hub import Hub
from tests.machine import Machine


@pytest.fixture(scope="module")
def catalogue() -> Path:
    """The repository's ready fragments."""
    return Path(__file__).parents[2] / "jupyterhub_config.d"


@pytest.fixture(scope="module")
def cluster_hub(installer: Path) -> Iterator[Hub]:
    """A hub on the only node of a Slurm cluster."""
    with Machine("bookworm", packages=slurm.PACKAGES) as machine:
        slurm.start(machine)
        yield Hub.install(machine, installer)


@pytest.mark.row(28)
def test_a_fragment_makes_slurm_run_the_server_as_a_job(cluster_hub: Hub) -> None:
    machine, command = cluster_hub.machine, cluster_hub.path("hub/bin/littlest-hub")
    cluster_hub.write_fragment("20-everybody.py", EVERYBODY)
    told = machine.run([command, "enable", "slurm"]).stdout
    assert told.endswith("To apply it: systemctl restart littlest-hub\n")
    machine.systemctl("restart", "littlest-hub")
    with cluster_hub.person("alice") as alice:
        # No fragment declares this option, which batchspawner would write into the job script.
        alice.start_server(timeout_s=90, prologue="touch ~/by-an-option")
        assert machine.run(["test", "-e", "/home/alice/by-an-option"], check=False).returncode == 1
        who = "import getpass, os\nprint(getpass.getuser(), os.environ['SLURM_JOB_ID'])"
        user, job = alice.run_cell(who).split()
        assert user == "alice"
        jobs = machine.run(["squeue", "--noheader", "--format=%i %u %T"]).stdout.splitlines()
        assert f"{job} alice RUNNING" in jobs


def test_a_hub_that_may_not_become_its_users_says_so_before_it_tries(cluster_hub: Hub) -> None:
    machine, command = cluster_hub.machine, cluster_hub.path("hub/bin/littlest-hub")
    machine.run([command, "disable", "slurm"])
    assert machine.run(["ls", "/etc/systemd/system"]).stdout.find("littlest-hub.service.d") == -1
    text = 'c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"\n'
    file = cluster_hub.write_fragment("60-mine.py", text)
    refused = machine.run([command, "check"], check=False)
    assert refused.returncode == 1
    assert f"{file}:1: JupyterHub.spawner_class: sudo runs commands as other" in refused.stdout
    assert "`littlest-hub enable slurm`" in refused.stdout
    machine.run(["rm", file])


def test_a_spawn_that_systemd_refuses_does_not_stand_in_the_way_of_the_next(hub: Hub) -> None:
    # Not in the configuration, where `check` would see it.
    mistake = """\
def set_limit(spawner):
    spawner.unit_extra_properties = {"MemoryMax": "a lot"}

c.Spawner.start_timeout = 3
c.Spawner.pre_spawn_hook = set_limit
"""
    with hub.person() as alice:
        with (
            hub.fragment("70-mistake.py", mistake),
            pytest.raises(RefusedError, match=r"systemd does not start .*MemoryMax"),
        ):
            alice.start_server()
        alice.start_server()
        assert alice.run_cell("6 * 7") == "42"


def test_a_fragment_spawns_for_people_who_are_no_system_users(hub: Hub, catalogue: Path) -> None:
    password = secrets.token_urlsafe()
    fragment = (catalogue / "40-no-system-users.py").read_text()
    with (
        hub.fragment("40-no-system-users.py", fragment.replace("CHANGE-ME", password)),
        Person(hub.url, "ada", password) as ada,
    ):
        assert hub.machine.run(["id", "ada"], check=False).returncode != 0
        ada.log_in()
        ada.start_server()
        assert ada.run_cell("6 * 7") == "42"
        ada.stop_server()
