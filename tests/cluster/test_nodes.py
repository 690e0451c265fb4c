"""`littlest-hub nodes`, and nodes with a release of their own (`make test-cluster`)."""

import contextlib
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub import __version__
from tests import releases, wheels
from tests.cluster.test_a_job import ALL_OF_A_NODE
from tests.cluster.test_attacks import HALF_A_NODE, TOGETHER
from tests.cluster.test_losses import NEXT
from tests.container.test_packages import labextensions, packages
from tests.hub import Hub
from tests.slurm import WHERE, Cluster

pytestmark = pytest.mark.long

COPY, LATER = "/opt/copy", f"/opt/later/releases/{NEXT}"

# job_container.conf(5)
CONTAINER = "AutoBasePath=true\nBasePath=/var/lib/slurm/tmp\n"
OWN_TMP = "JobContainerType=job_container/tmpfs\nPrologFlags=Contain\n"


def examine(hub: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    return hub.machine.run([hub.path("hub/bin/littlest-hub"), "nodes", *arguments], check=False)


@contextlib.contextmanager
def unloaded(hub: Hub, text: str) -> Iterator[None]:
    """Write a fragment that the running hub does not load."""
    path = hub.write_fragment("60-nodes.py", text)
    try:
        yield
    finally:
        hub.machine.run(["rm", path])


def test_all_nodes_are_right(cluster: Cluster, hub: Hub) -> None:
    cluster.add_user("examiner", secrets.token_urlsafe())
    for arguments in ([], ["--user", "examiner"]):
        said = examine(hub, *arguments)
        assert said.returncode == 0, said.stdout + said.stderr
        for name in cluster.names:
            assert f"ok       {name}: has release " in said.stdout
        assert said.stdout.count(", reaches http://head, is reached at c") == len(cluster.names)
    assert said.stdout.count(", has the home of examiner") == len(cluster.names)


@pytest.mark.parametrize(
    ("setting", "text", "command"),
    [
        ('python = "/no/such/python3"', "/no/such/python3 is not there", "bash littlest-hub-"),
        (
            'hub_connect_url = "http://head:81"',
            "does not reach the hub at http://head:81: [Errno 111] Connection refused",
            "curl http://head:81/hub/api   # on c1",
        ),
        (
            'node_address = "{node}.nowhere"',
            "this machine does not reach c1.nowhere:",
            "getent hosts c1.nowhere",
        ),
        (
            'sbatch_options = ["--reservation=of-nobody"]',
            "runs no job: srun: error: Unable to allocate resources: Requested reservation is",
            "scontrol show node c1",
        ),
    ],
)
def test_a_cause_of_servers_that_do_not_start_is_named_before_anybody_tries(
    cluster: Cluster, hub: Hub, setting: str, text: str, command: str
) -> None:
    with unloaded(hub, f"c.SlurmSpawner.{setting}\n"):
        said = examine(hub, "c1")
    assert said.returncode == 1
    assert f"problem  c1: {text}" in said.stdout
    assert f"$ {command}" in said.stdout


def test_a_home_that_a_node_does_not_have_is_named(cluster: Cluster, hub: Hub) -> None:
    cluster.add_user("homeless", secrets.token_urlsafe())
    cluster.machines["c2"].run(["usermod", "--home", "/nowhere", "homeless"])
    said = examine(hub, "--user", "homeless")
    assert "ok       c1: " in said.stdout
    assert "problem  c2: /nowhere is not there" in said.stdout


def test_a_node_that_is_full_is_not_examined_and_no_problem(cluster: Cluster, hub: Hub) -> None:
    with cluster.filled():
        said = examine(hub, "c1")
    assert said.returncode == 0, said.stdout
    assert "unseen   c1: is not free now" in said.stdout


def test_a_node_that_slurm_does_not_know_is_refused(hub: Hub) -> None:
    assert "sinfo knows no node c9" in examine(hub, "c9").stderr


def test_servers_run_on_nodes_that_have_the_files_of_the_release_and_nothing_else(
    cluster: Cluster, hub: Hub, installer: Path
) -> None:
    for name in cluster.names:
        node = cluster.machines[name]
        node.install(installer, ["-b", "-s", "-p", COPY])
        units = node.systemctl("list-unit-files", "littlest-hub*", check=False).stdout
        assert units.startswith("0 unit files listed") or "littlest" not in units
    own = f'c.SlurmSpawner.python = "{COPY}/bin/python3"\n'
    with hub.fragment("60-copy.py", own), cluster.person(hub, "copied") as person:
        assert examine(hub).returncode == 0
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        assert person.run_cell(WHERE).split()[0] in cluster.names
        assert person.run_cell("import sys\nprint(sys.prefix)") == f"{COPY}\n"
        found = person.run_cell("import shutil\nprint(shutil.which('jupyter'))")
        assert found == f"{COPY}/bin/jupyter\n"


def test_a_node_with_another_release_than_the_hub_is_named(cluster: Cluster, hub: Hub) -> None:
    cluster.machines["c1"].install(releases.build(NEXT), ["-b", "-s", "-p", LATER])
    with unloaded(hub, f'c.SlurmSpawner.python = "{LATER}/bin/python3"\n'):
        said = examine(hub, "c1")
        checked = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"])
    assert said.returncode == 0, "servers start"
    text = f"has release {NEXT} as {LATER}/bin/python3, and this hub is {__version__}"
    assert f"warning  c1: {text}" in said.stdout
    text = f"SlurmSpawner.python: servers are of release {NEXT}, and this hub is of {__version__}"
    assert f"60-nodes.py:1: warning: {text}" in checked.stdout + checked.stderr


def test_servers_on_nodes_have_the_packages_that_were_added_once_nodes_share_them(
    cluster: Cluster, hub: Hub, tmp_path: Path
) -> None:
    wheel = wheels.labextension(tmp_path, "marked")
    hub.machine.run(["mkdir", "/srv/wheels"])
    hub.machine.copy(wheel, f"/srv/wheels/{wheel.name}")
    packages(hub, "add", "--from=/srv/wheels", "--server", "marked")
    try:
        said = examine(hub, "c1").stdout
        assert "warning  c1: lacks the packages that were added for user servers" in said
        archive = "/home/.packages.tar"
        hub.machine.run(["tar", "-C", str(hub.layout.base), "-cf", archive, "packages"])
        for name in cluster.names:
            cluster.machines[name].run(["tar", "-C", str(hub.layout.base), "-xf", archive])
        assert "warning" not in examine(hub).stdout
        with cluster.person(hub, "extended") as person:
            person.submit_form(ALL_OF_A_NODE)
            person.await_server(timeout_s=120)
            assert "marked" in labextensions(person)
    finally:
        packages(hub, "remove", "marked")


@pytest.mark.row(28)
def test_servers_whose_jobs_have_a_tmp_of_their_own_run_and_see_no_other(
    cluster: Cluster, hub: Hub
) -> None:
    for name in cluster.names:
        cluster.machines[name].put("/etc/slurm/job_container.conf", CONTAINER)
    with (
        cluster.configured(OWN_TMP),
        hub.fragment("60-together.py", TOGETHER),
        cluster.person(hub, "inside") as inside,
        cluster.person(hub, "outside") as outside,
    ):
        for person in (inside, outside):
            person.submit_form(HALF_A_NODE)
            person.await_server(timeout_s=120)
        inside.run_cell("open('/tmp/of-inside', 'w'); open('/dev/shm/of-inside', 'w')")
        look = "import os\nprint(os.uname().nodename, os.listdir('/tmp'), os.listdir('/dev/shm'))"
        own, other = inside.run_cell(look), outside.run_cell(look)
        assert own.count("of-inside") == 2
        assert own.count("jupyter-") == other.count("jupyter-") == 1, "its server's own"
        assert other.startswith("c1 ")
        assert "of-inside" not in other
