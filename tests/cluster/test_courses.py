"""An assignment of a course whose students work on nodes (`make test-courses`)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.system import acl
from tests.cluster.test_attacks import HALF_A_NODE
from tests.courses import EXCHANGE, PASSWORD, Campus, Student
from tests.eventually import eventually
from tests.hub import Hub
from tests.slurm import WHERE, Cluster

pytestmark = pytest.mark.long

LEARNER, DROPOUT, OUTSIDER, LECTURER, LATECOMER = (
    *("learner", "dropout", "outsider", "lecturer", "latecomer"),
)
ROSTER = f"username\n{LEARNER}\n{DROPOUT}\n"


@pytest.fixture
def campus(cluster: Cluster, hub: Hub, tmp_path: Path) -> Iterator[Campus]:
    """The hub of the cluster with the course ps131, and chem1 of an outsider."""
    command = hub.path("hub/bin/littlest-hub")
    for name in (LEARNER, DROPOUT, OUTSIDER, LECTURER):
        cluster.add_user(name, PASSWORD)
    campus = Campus.enabled(hub, tmp_path, people=())
    _copy_packages(cluster, hub)
    try:
        campus.create("ps131", ROSTER, instructors=LECTURER)
        campus.create("chem1", f"username\n{OUTSIDER}\n", instructors=LECTURER)
        yield campus
    finally:
        campus.course("nodes", "--off", check=False)
        for name in ("ps131", "chem1"):
            campus.course("delete", name, "--yes", check=False)
        hub.machine.run([command, "disable", "courses", "--yes"])
        for name in cluster.names:
            cluster.machines[name].run(["rm", "-rf", hub.path("packages")])


def _copy_packages(cluster: Cluster, hub: Hub) -> None:
    archive = "/home/.packages.tar"
    hub.machine.run(["tar", "-C", str(hub.layout.base), "-cf", archive, "packages"])
    for name in cluster.names:
        cluster.machines[name].run(["tar", "-C", str(hub.layout.base), "-xf", archive])
    hub.machine.run(["rm", archive])


@contextlib.contextmanager
def on_a_node(cluster: Cluster, hub: Hub, name: str) -> Iterator[Student]:
    """Yield somebody whose server is a job."""
    with hub.logged_in(name, PASSWORD, timeout_s=60) as person:
        person.submit_form(HALF_A_NODE)
        person.await_server(timeout_s=180)
        with person.open_kernel() as kernel:
            assert kernel.run(WHERE).split()[0] in cluster.names
            yield Student(person, kernel)


@pytest.mark.row(3)
def test_an_assignment_is_fetched_and_handed_in_on_nodes_and_nobody_else_enters_the_course(
    cluster: Cluster, hub: Hub, campus: Campus
) -> None:
    said = hub.machine.run([hub.path("hub/bin/littlest-hub"), "doctor"], check=False).stdout
    assert "servers are jobs of a cluster, and show no courses" in said
    campus.release("ps131", "ps1")
    assert "admits its people alone" in campus.course("nodes").stdout
    inbound, outbound = (f"{EXCHANGE}/ps131/{name}" for name in ("inbound", "outbound"))
    with (
        on_a_node(cluster, hub, LEARNER) as learner,
        on_a_node(cluster, hub, DROPOUT) as dropout,
        on_a_node(cluster, hub, OUTSIDER) as outsider,
    ):
        for each in (learner, dropout):
            assert "ps131 ps1" in each.shell("nbgrader list")
            assert "Fetched as: ps131 ps1" in each.fetch("ps1")
        learner.solve("ps1", "def square(x): return x * x")
        assert "Submitted as: ps131 ps1" in learner.submit("ps1")
        for hidden in (EXCHANGE, inbound, f"{EXCHANGE}/chem1"):
            assert "Permission denied" in learner.shell(f"ls {hidden}")
        assert "ps131" not in outsider.shell("nbgrader list")
        assert "Permission denied" in outsider.shell(f"ls {outbound}/ps1")
        assert "Submitted as" not in outsider.submit("ps1")

        hub.machine.put("/root/less.csv", f"username\n{LEARNER}\n{LATECOMER}\n")
        campus.course("roster", "ps131", "/root/less.csv")
        assert "Permission denied" in dropout.shell(f"ls {outbound}")
        assert "ps131" not in dropout.shell("nbgrader list")
        assert "Submitted as" not in dropout.submit("ps1")

        assert "Processing 1 submissions" in campus.nbgrader("ps131", "collect", "ps1")
        assert "1 graded" in campus.course("autograde", "ps131", "ps1").stdout
        assert campus.grades("ps131")[LEARNER, "ps1"]["score"] == "3.0"
        campus.course("feedback", "ps131", "ps1", "--unfinished")
        assert "Fetched feedback" in learner.shell("nbgrader fetch_feedback ps1 --course ps131")
        assert "square" in learner.shell("cat ps131/ps1/feedback/*/work.html")

    cluster.add_user(LATECOMER, PASSWORD)
    new = int(hub.machine.run(["id", "-u", LATECOMER]).stdout)
    is_admitted = lambda: new in (acl.admitted(cluster.exchange / "ps131") or ())  # noqa: E731
    eventually(is_admitted, 150, "root to admit a student who has got an account")
    campus.course("nodes", "--off")
    assert acl.admitted(cluster.exchange / "ps131") is None
