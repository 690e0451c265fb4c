"""A cluster with accounting: accounts, qualities of service, reservations (`make test-cluster`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import PARTITIONS
from tests.cluster.test_a_job import messages
from tests.cluster.test_losses import refusal
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.slurm import HEAD, Cluster

pytestmark = pytest.mark.long

# slurmdbd.conf(5); the account slurm needs no password for MariaDB's socket.
DATABASE = f"""
AuthType=auth/munge
DbdHost={HEAD}
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
PidFile=/run/slurmdbd/slurmdbd.pid
"""
SQL = (
    "CREATE DATABASE slurm_acct_db; CREATE USER slurm@localhost IDENTIFIED VIA unix_socket;"
    " GRANT ALL ON slurm_acct_db.* TO slurm@localhost"
)
STORED = f"""accounting_storage/slurmdbd
AccountingStorageHost={HEAD}
AccountingStorageEnforce=associations,limits,qos"""
CHOICES = """\
c.SlurmSpawner.accounts = ["physics", "chemistry"]
c.SlurmSpawner.qos = ["short"]
c.SlurmSpawner.reservations = ["course"]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm with its database; the account physics may have one job at a time."""
    directory = tmp_path_factory.mktemp("accounting")
    with Cluster(directory, packages=("mariadb-server", "slurmdbd")) as cluster:
        head = cluster.head
        head.put("/etc/slurm/slurmdbd.conf", DATABASE, mode=0o600)
        head.run(["chown", "slurm:", "/etc/slurm/slurmdbd.conf"])
        head.run(["mariadb", "--execute", SQL])
        head.systemctl("restart", "slurmdbd")
        with cluster.configured(replacing={"accounting_storage/none": STORED}):
            physics = ("add", "account", "physics", "GrpJobs=1")
            eventually(lambda: manage(cluster, *physics), 60, "slurmdbd to know the cluster")
            assert manage(cluster, "add", "account", "chemistry")
            assert manage(cluster, "add", "qos", "short")
            yield cluster


@pytest.fixture(scope="module")
def hub(installer: Path, cluster: Cluster) -> Hub:
    """A hub on the head, at which people choose an account, a QOS, and a reservation."""
    hub = Hub.install(cluster.head, installer)
    hub.write_fragment("20-everybody.py", EVERYBODY)
    command = [hub.path("hub/bin/littlest-hub"), "enable", "slurm", "--yes"]
    cluster.head.run([*command, "--set", f"address=http://{HEAD}"])
    hub.write_fragment("55-partitions.py", PARTITIONS + CHOICES)
    hub.reload()
    return hub


def manage(cluster: Cluster, *words: str) -> bool:
    """Change the accounts of the cluster, and return whether that worked."""
    done = cluster.head.run(["sacctmgr", "--immediate", *words], check=False)
    return done.returncode == 0


def charged(cluster: Cluster, user: str) -> str:
    """Return account, QOS, and reservation of somebody's job."""
    return cluster.head.run(
        ["squeue", "--noheader", f"--user={user}", "--format=%a %q %v"]
    ).stdout.strip()


def test_a_job_has_the_account_and_the_qos_that_its_user_chose_and_slurm_allows(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "ada") as ada, cluster.person(hub, "bo") as bo:
        # Without an association, Slurm takes no job at all.
        assert "Invalid account or account/partition combination" in refusal(bo)
        for name in ("ada", "bo"):
            assert manage(cluster, "add", "user", name, "account=physics", "qos=normal,short")
        ada.submit_form({"partition": "main", "account": "physics", "qos": "short"})
        ada.await_server(timeout_s=120)
        assert charged(cluster, "ada") == "physics short (null)"
        # Slurm's words, and the stack's for its reason.
        wrong = {"partition": "main", "account": "chemistry"}
        assert "Invalid account or account/partition combination" in refusal(bo, wrong)
        bo.submit_form({"partition": "main"})
        said = next(text for text in messages(bo) if "waits in the queue: " in text)
        assert "your group uses as much as it may" in said
        ada.stop_server()
        bo.await_server(timeout_s=120)
        assert charged(cluster, "bo") == "physics normal (null)"


def test_a_job_is_in_the_reservation_that_its_user_chose_if_it_is_theirs(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "cleo") as cleo, cluster.person(hub, "dan") as dan:
        for name in ("cleo", "dan"):
            assert manage(cluster, "add", "user", name, "account=chemistry")
        reservation = ["ReservationName=course", "StartTime=now", "Duration=30", "Nodes=c1"]
        cluster.head.run(["scontrol", "create", "reservation", *reservation, "Users=cleo"])
        chosen = {"partition": "main", "hours": "0.2", "reservation": "course"}
        cleo.submit_form(chosen)
        cleo.await_server(timeout_s=120)
        assert charged(cluster, "cleo") == "chemistry normal course"
        assert "Access denied to requested reservation" in refusal(dan, chosen)
        cleo.stop_server()
        eventually(lambda: not cluster.jobs("cleo"), 60, "the job to end")
        cluster.head.run(["scontrol", "delete", "ReservationName=course"])
