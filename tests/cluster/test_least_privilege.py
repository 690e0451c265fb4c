"""A hub on the cluster that is an ordinary user, and what it cannot do (`make test-cluster`)."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.stacks.slurm.options import Request
from littlest_hub.stacks.slurm.units import address_of
from tests.client import Person
from tests.cluster.conftest import PARTITIONS
from tests.cluster.test_a_job import ALL_OF_A_NODE
from tests.cluster.test_time_limit import PROLONG, SHORT, limit_of, xsrf
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.slurm import WHERE, Cluster

pytestmark = [pytest.mark.long, pytest.mark.row(38)]

USER, BASE = "plain", Path("/opt/plain-hub")
NOTHING = json.dumps(vars(Request()))
SCRIPT = "#!/bin/sh\nid\n"
# A request to root's helper, as a hub that was taken over makes it.
ASK = """
import asyncio, json, sys
from littlest_hub.hub.helper_client import request
words = [word.encode() for word in sys.argv[2:]]
print(json.dumps(asyncio.run(request(sys.argv[1], words, 60))))
"""
# Nodes see the releases of the other hub.
FRAGMENT = """
c.SlurmSpawner.python = "{python}"
c.SlurmSpawner.prolong_hours = 0.5
"""


@pytest.fixture(scope="module")
def plain(installer: Path, cluster: Cluster, hub: Hub) -> Iterator[Hub]:
    """Another hub on the head, which is the user USER."""
    plain = Hub.install(cluster.head, installer, base=BASE, env={"LITTLEST_HUB_USER": USER})
    plain.write_fragment("20-everybody.py", EVERYBODY)
    address = f"http://head:{plain.url.rpartition(':')[2]}"
    command = [plain.path("hub/bin/littlest-hub"), "enable", "slurm", "--yes"]
    cluster.head.run([*command, "--set", f"address={address}"])
    release = cluster.head.run(["readlink", "-f", hub.layout.hub]).stdout.strip()
    more = FRAGMENT.format(python=f"{release}/bin/python3")
    plain.write_fragment("55-partitions.py", PARTITIONS + more)
    plain.reload()
    yield plain
    cluster.head.run([plain.path("hub/bin/littlest-hub"), "uninstall", "--purge", "--yes"])


@pytest.fixture
def member(cluster: Cluster, plain: Hub) -> Iterator[Person]:
    """A member of the group whom the hub may have servers for."""
    name, password = f"member{secrets.token_hex(2)}", secrets.token_urlsafe()
    cluster.add_user(name, password)
    cluster.head.run(["gpasswd", "--add", name, plain.layout.users_group])
    with Person(plain.url, name, password) as person:
        person.log_in()
        yield person
        if cluster.jobs(name):
            person.stop_server()


@pytest.fixture
def others(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Somebody whom the hub has nothing to do with, and the number of their job."""
    name = f"other{secrets.token_hex(2)}"
    cluster.add_user(name, secrets.token_urlsafe())
    options = ["--parsable", f"--job-name=jupyterhub-{name}", "--chdir=/", "--output=/dev/null"]
    submit = ["sbatch", *options, "--time=5", "--wrap=sleep 600"]
    number = cluster.head.run(["runuser", "-u", name, "--", *submit]).stdout.strip()
    eventually(lambda: cluster.jobs(name) == {number: "RUNNING"}, 60, "the job")
    yield name, number
    cluster.cancel(number)


def ask(plain: Hub, *words: str, user: str = USER) -> str:
    """Ask root's helper as a user; return what it answers, or why nobody does."""
    python = [plain.path("hub/bin/python3"), "-I", "-c", ASK, str(address_of(plain.layout))]
    done = plain.machine.run(["runuser", "-u", user, "--", *python, *words], check=False)
    return done.stdout or done.stderr


def test_a_hub_that_is_an_ordinary_user_starts_prolongs_and_stops_servers(
    cluster: Cluster, plain: Hub, member: Person
) -> None:
    main = plain.main_pid(plain.layout.hub_service)
    owner = ["stat", "--format=%U", f"/proc/{main}"]
    assert cluster.head.run(owner).stdout.strip() == USER
    member.submit_form(SHORT)
    member.await_server(timeout_s=120)
    node, job = member.run_cell(WHERE).split()
    assert node in cluster.names
    assert member.run_cell("import getpass\nprint(getpass.getuser())") == f"{member.name}\n"
    assert member.browser.post(PROLONG, data={"_xsrf": xsrf(member)}).status_code == 200
    assert limit_of(cluster, member.name) == "42:00"
    assert cluster.jobs(member.name) == {job: "RUNNING"}
    member.stop_server()
    eventually(lambda: cluster.jobs(member.name) == {}, 60, "the job to end")


def test_a_hub_that_was_taken_over_has_jobs_of_members_and_of_nobody_else(
    cluster: Cluster, plain: Hub, member: Person, others: tuple[str, str]
) -> None:
    stranger, theirs = others
    for user in ("root", "slurm", USER, stranger):
        assert "refusal" in ask(plain, "submit", user, "", NOTHING, SCRIPT)
        assert "refusal" in ask(plain, "cancel", user, theirs)
        assert "refusal" in ask(plain, "prolong", user, theirs, "30")
    # Slurm, and the helper, look at whose job it is.
    assert "Access/permission denied" in ask(plain, "cancel", member.name, theirs)
    assert "is no server of" in ask(plain, "prolong", member.name, theirs, "30")
    for option in ("--uid=0", f"--uid={stranger}", "-p", "/etc/shadow"):
        assert "refusal" in ask(plain, "submit", member.name, "", NOTHING, SCRIPT, option)
    assert cluster.jobs(stranger) == {theirs: "RUNNING"}
    assert limit_of(cluster, stranger) == "5:00"
    assert cluster.jobs(member.name) == cluster.jobs("root") == {}


def test_a_hub_that_was_taken_over_does_not_pass_the_limit_of_a_partition(
    cluster: Cluster, plain: Hub, member: Person
) -> None:
    member.submit_form(ALL_OF_A_NODE)
    member.await_server(timeout_s=120)
    (job,) = cluster.jobs(member.name)
    assert "more than main allows" in ask(plain, "prolong", member.name, job, "61")
    itself = ["scontrol", "update", f"JobId={job}", "TimeLimit=90"]
    done = plain.machine.run(["runuser", "-u", USER, "--", *itself], check=False)
    assert done.returncode, "the hub has no such right in Slurm"
    assert limit_of(cluster, member.name) == "1:00:00"


def test_nobody_but_the_hub_reaches_the_helper(plain: Hub, member: Person) -> None:
    for user in (member.name, "nobody"):
        assert "Permission denied" in ask(plain, "cancel", member.name, "1", user=user)
