"""One person's server on a node, from the form to its end: the sentinel of the Slurm stack."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.slurm import WHERE, Cluster

ALL_OF_A_NODE = {"partition": "main", "processors": "2"}


@pytest.mark.row(28)
def test_a_server_on_a_node_and_a_job_that_waits_outlive_the_hub(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "alice") as alice, cluster.person(hub, "bob") as bob:
        alice.submit_form(ALL_OF_A_NODE)
        alice.await_server(timeout_s=120)
        node, job = alice.run_cell(WHERE).split()
        assert node in cluster.names
        assert cluster.jobs("alice") == {job: "RUNNING"}

        with cluster.filled() as filler:
            bob.submit_form(ALL_OF_A_NODE)
            said = next(text for text in messages(bob) if "waits in the queue: " in text)
            (waiting,) = cluster.jobs("bob")
            assert said.startswith(f"Job {waiting} waits in the queue: ")
            restart(hub)
            assert cluster.jobs("bob") == {waiting: "PENDING"}
            assert alice.run_cell(WHERE).split() == [node, job]
            cluster.cancel(filler)
            bob.await_server(timeout_s=120)
        other, his = bob.run_cell(WHERE).split()
        assert his == waiting, "the job that had its place"
        assert other in cluster.names

        since = time.time()
        cluster.cancel(his)
        eventually(lambda: not bob.has_server(), 60, "the hub to notice")
        cluster.await_journal(since, f"Job {his} of bob: somebody cancelled it")

        alice.stop_server()
        eventually(lambda: cluster.jobs("alice") == {}, 60, "the job to end")


def messages(person: Person) -> Iterator[str]:
    """Yield what the page says while the server starts."""
    with contextlib.closing(person.events()) as events:
        for event in events:
            yield event.get("message", "")


def restart(hub: Hub) -> None:
    hub.machine.systemctl("restart", "littlest-hub")
    eventually(hub.answers, 60, "the hub to answer again")
