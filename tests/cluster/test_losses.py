"""Servers when something around them fails (`make test-cluster`)."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import releases
from tests.client import Person, RefusedError
from tests.cluster.test_a_job import ALL_OF_A_NODE, messages, restart
from tests.eventually import eventually
from tests.hub import Hub
from tests.slurm import WHERE, Cluster

pytestmark = pytest.mark.long

NEXT = "2026.12.0"

PREEMPTION = """
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=urgent Nodes=ALL MaxTime=60 PriorityTier=10 State=UP
"""
# squeue(1) as a site may have wrapped it: it prints a warning, or hangs on a lock for a while.
NONSENSE = "#!/bin/sh\necho 'slurm_load_jobs: *** maintenance on Monday ***'\n"


def test_disabling_the_stack_cancels_the_jobs_if_that_is_confirmed(
    cluster: Cluster, hub: Hub
) -> None:
    command = hub.path("hub/bin/littlest-hub")
    with cluster.person(hub, "left") as person:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        (job,) = cluster.jobs("left")
        partitions = hub.path("jupyterhub_config.d/55-partitions.py")
        text = cluster.head.run(["cat", partitions]).stdout
        cluster.head.run(["rm", partitions])
        try:
            refused = cluster.head.run([command, "disable", "slurm"], check=False)
            assert f"this ends servers of people: left (job {job})" in refused.stderr
            assert "disable slurm --yes" in refused.stderr
            assert cluster.jobs("left") == {job: "RUNNING"}
            said = cluster.head.run([command, "disable", "slurm", "--yes"]).stdout
            assert f"end the servers on other machines: left (job {job})" in said
            eventually(lambda: cluster.jobs("left") == {}, 60, "the job to end")
        finally:
            address = ["--set", "address=http://head", "--yes"]
            cluster.head.run([command, "enable", "slurm", *address])
            hub.write_fragment("55-partitions.py", text)
            hub.reload()


def test_an_upgrade_and_a_rollback_keep_jobs_that_run_and_jobs_that_wait(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "busy1") as busy, cluster.person(hub, "queued") as queued:
        busy.submit_form(ALL_OF_A_NODE)
        busy.await_server(timeout_s=120)
        where = busy.run_cell(WHERE)
        with cluster.filled() as filler:
            queued.submit_form(ALL_OF_A_NODE)
            assert any("waits in the queue" in text for text in messages(queued))
            (job,) = cluster.jobs("queued")
            hub.machine.install(releases.build(NEXT))
            assert busy.run_cell(WHERE) == where
            assert cluster.jobs("queued") == {job: "PENDING"}
            cluster.head.run([hub.path("hub/bin/littlest-hub"), "rollback"])
            assert busy.run_cell(WHERE) == where
            assert cluster.jobs("queued") == {job: "PENDING"}
            cluster.cancel(filler)
            queued.await_server(timeout_s=120)
            assert queued.run_cell(WHERE).split()[1] == job


def test_uninstalling_cancels_the_jobs_and_a_new_installation_goes_on(
    cluster: Cluster, hub: Hub, installer: Path
) -> None:
    with cluster.person(hub, "moved") as person:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        (job,) = cluster.jobs("moved")
        said = cluster.head.run([hub.path("hub/bin/littlest-hub"), "uninstall", "--yes"]).stdout
        try:
            assert f"moved (job {job})" in said
            eventually(lambda: cluster.jobs("moved") == {}, 60, "the job to end")
        finally:
            Hub.install(cluster.head, installer)
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        assert person.run_cell(WHERE).split()[1] != job


def refusal(person: Person, chosen: Mapping[str, str] = ALL_OF_A_NODE) -> str:
    """Ask for a server that cannot start; return what the page says, the form's or the next."""
    try:
        person.submit_form({**chosen})
    except RefusedError as refused:
        return str(refused)
    heard: list[dict[str, Any]] = []
    person.progress(heard, timeout_s=120)
    assert "failed" in heard[-1]
    return str(heard[-1]["message"])


def test_a_server_on_a_node_that_is_lost_ends_and_starts_on_another(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "lost") as person:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        node, job = person.run_cell(WHERE).split()
        since = time.time()
        with cluster.lost(node):
            eventually(lambda: not person.has_server(), 180, "the hub to notice")
            cluster.await_journal(since, f"Job {job} of lost: its node failed")
            person.submit_form(ALL_OF_A_NODE)
            person.await_server(timeout_s=120)
            other, next_job = person.run_cell(WHERE).split()
        assert other != node
        assert cluster.jobs("lost") == {next_job: "RUNNING"}


def test_a_job_that_slurm_puts_back_into_the_queue_is_canceled(cluster: Cluster, hub: Hub) -> None:
    with cluster.person(hub, "again") as person:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        (job,) = cluster.jobs("again")
        since = time.time()
        # Without the first, Slurm refuses the second, because of --no-requeue.
        cluster.head.run(["scontrol", "update", f"JobId={job}", "Requeue=1"])
        cluster.head.run(["scontrol", "requeue", job])
        eventually(lambda: not person.has_server(), 60, "the hub to notice")
        cluster.await_journal(since, f"Job {job} was moved, or put back into the queue")
        eventually(lambda: cluster.jobs("again") == {}, 60, "the job to be canceled")
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        assert person.run_cell(WHERE).split()[1] != job


def test_a_job_that_makes_way_for_another_ends_its_server(cluster: Cluster, hub: Hub) -> None:
    urgent = ["--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--parsable"]
    with cluster.configured(PREEMPTION), cluster.person(hub, "modest") as person:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        (job,) = cluster.jobs("modest")
        since = time.time()
        submit = ["sbatch", "--chdir=/", *urgent, "--wrap=sleep 600"]
        other = cluster.head.run(submit).stdout.strip()
        try:
            eventually(lambda: not person.has_server(), 60, "the hub to notice")
            reason = "Slurm gave its resources to a job of higher priority"
            cluster.await_journal(since, f"Job {job} of modest: {reason}")
            assert cluster.jobs("root") == {other: "RUNNING"}
        finally:
            cluster.cancel(other)


def replace_proxy(hub: Hub, *verb: str) -> None:
    """Restart or kill the proxy, and wait for the next one: requests to the old one fail."""
    proxy = hub.layout.proxy_service
    before = hub.main_pid(proxy)
    hub.machine.systemctl(*verb, proxy)
    eventually(lambda: hub.main_pid(proxy) not in (0, before), 60, "the next proxy")


def test_a_proxy_that_is_restarted_or_killed_leads_to_servers_on_nodes_again(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "routed") as person:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        where = person.run_cell(WHERE)
        for verb in (["restart"], ["kill", "--signal=KILL"]):
            replace_proxy(hub, *verb)
            assert person.run_cell(WHERE) == where
        assert person.has_server()
        (job,) = cluster.jobs("routed")
        assert job == where.split()[1]


def test_a_controller_that_is_away_ends_no_server_and_starts_none(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "patient") as person, cluster.person(hub, "late") as late:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        where = person.run_cell(WHERE)
        since = time.time()
        cluster.head.systemctl("stop", "slurmctld")
        try:
            cluster.await_journal(since, "is taken to be running")
            assert "Slurm does not take the job: sbatch: error" in refusal(late)
            assert person.run_cell(WHERE) == where
        finally:
            cluster.head.systemctl("start", "slurmctld")
        eventually(lambda: cluster.jobs("patient"), 60, "the controller to answer")
        late.submit_form(ALL_OF_A_NODE)
        late.await_server(timeout_s=180)
        assert person.run_cell(WHERE) == where
        assert person.has_server()


def test_nonsense_instead_of_an_answer_ends_no_server(cluster: Cluster, hub: Hub) -> None:
    with cluster.person(hub, "sane") as person:
        person.submit_form(ALL_OF_A_NODE)
        person.await_server(timeout_s=120)
        where = person.run_cell(WHERE)
        since = time.time()
        cluster.head.put("/usr/local/bin/squeue", NONSENSE, mode=0o755)
        try:
            cluster.await_journal(since, "is taken to be running: squeue prints 'slurm_load_jobs:")
            assert person.run_cell(WHERE) == where
        finally:
            cluster.head.run(["rm", "/usr/local/bin/squeue"])
        cluster.cancel(where.split()[1])
        eventually(lambda: not person.has_server(), 180, "the hub to notice")


def test_a_job_that_waits_survives_a_reload_and_a_hub_that_is_killed(
    cluster: Cluster, hub: Hub
) -> None:
    with cluster.person(hub, "calm") as person, cluster.filled() as filler:
        person.submit_form(ALL_OF_A_NODE)
        assert any("waits in the queue" in text for text in messages(person))
        (job,) = cluster.jobs("calm")
        hub.reload()
        assert cluster.jobs("calm") == {job: "PENDING"}
        hub.machine.systemctl("kill", "--signal=KILL", "littlest-hub")
        restart(hub)
        cluster.cancel(filler)
        person.await_server(timeout_s=120)
        assert person.run_cell(WHERE).split()[1] == job
        assert cluster.jobs("calm") == {job: "RUNNING"}


def test_a_job_of_somebody_who_may_not_use_the_hub_any_more_is_canceled(
    cluster: Cluster, hub: Hub
) -> None:
    blocked = 'c.Authenticator.blocked_users = {"banned"}\n'
    with cluster.person(hub, "banned") as person, cluster.filled():
        person.submit_form(ALL_OF_A_NODE)
        assert any("waits in the queue" in text for text in messages(person))
        assert len(cluster.jobs("banned")) == 1
        with hub.fragment("60-blocked.py", blocked):
            eventually(lambda: cluster.jobs("banned") == {}, 60, "the job to be canceled")


def test_a_named_server_is_a_job_of_its_own(cluster: Cluster, hub: Hub) -> None:
    named = "c.JupyterHub.allow_named_servers = True\n"
    with hub.fragment("60-named.py", named), cluster.person(hub, "busy") as person:
        person.start_server(timeout_s=120)
        person.start_server(timeout_s=120, server="second")
        assert len(cluster.jobs("busy")) == 2
        person.stop_server(server="second")
        eventually(lambda: len(cluster.jobs("busy")) == 1, 60, "its job to end")
        assert person.run_cell("6 * 7") == "42"


def test_a_job_that_waits_can_be_canceled_from_outside(cluster: Cluster, hub: Hub) -> None:
    with cluster.person(hub, "undecided") as person, cluster.filled():
        person.submit_form(ALL_OF_A_NODE)
        assert any("waits in the queue" in text for text in messages(person))
        (job,) = cluster.jobs("undecided")
        cluster.cancel(job)
        heard: list[dict[str, Any]] = []
        person.progress(heard, timeout_s=60)
        assert "failed" in heard[-1]
        message = str(heard[-1]["message"])
        assert f"Job {job}: somebody cancelled it, or Slurm did" in message
        assert "What it printed" not in message  # it had no node


def test_the_time_limit_of_a_job_ends_the_server(cluster: Cluster, hub: Hub) -> None:
    with cluster.person(hub, "slow") as person:
        person.submit_form({"partition": "main", "hours": "0.02"})
        person.await_server(timeout_s=120)
        job = person.run_cell(WHERE).split()[1]
        since = time.time()
        eventually(lambda: not person.has_server(), 240, "the end of the job's minute")
        cluster.await_journal(since, f"Job {job} of slow: its time limit was reached")


def test_a_job_that_ends_early_names_its_log_at_once(cluster: Cluster, hub: Hub) -> None:
    wrong = 'c.SlurmSpawner.python = "/no/such/python3"\n'
    with cluster.person(hub, "early") as person, hub.fragment("60-wrong.py", wrong):
        assert "What it printed is in /home/early/.jupyterhub.log" in refusal(person)
        assert "/no/such/python3" in hub.machine.read("/home/early/.jupyterhub.log")
        assert cluster.jobs("early") == {}
