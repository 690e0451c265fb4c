"""The output of Slurm's commands, as Slurm 22.05 printed it, and its meaning."""

import pytest

from littlest_hub.stacks.slurm.jobs import (
    Job,
    Partition,
    Phase,
    minutes,
    parse_number,
    parse_sinfo,
    parse_squeue,
)

# squeue and sinfo of a cluster of Slurm 22.05.8, with this module's formats.
SQUEUE = """\
31|RUNNING|c1|2026-11-29T10:00:00|2026-11-29T11:00:00|main|1:00:00|None
32|PENDING|n/a|2026-11-29T11:00:01|2026-11-29T12:00:01|main|1:00:00|Resources
33|PENDING|n/a|N/A|N/A|main|1:00:00|ReqNodeNotAvail, UnavailableNodes:c[1-2]
34|CANCELLED|c2|2026-11-29T09:00:00|2026-11-29T09:00:07|main|1:00:00|None
"""


def test_jobs_are_read_by_number() -> None:
    jobs = parse_squeue(SQUEUE)
    assert jobs["31"] == Job(
        "31", "RUNNING", "c1", "2026-11-29T10:00:00", "2026-11-29T11:00:00", "main", 60, "None"
    )
    assert jobs["32"].node == ""
    phases = [jobs[number].phase for number in ("31", "32", "33", "34")]
    assert phases == [Phase.RUNNING, Phase.WAITING, Phase.WAITING, Phase.ENDED]
    assert parse_squeue("") == {}


@pytest.mark.parametrize("limit", ["UNLIMITED", "Partition_Limit", "INVALID", ""])
def test_a_job_without_a_limit_that_is_a_number_has_none(limit: str) -> None:
    job = parse_squeue(f"31|RUNNING|c1|2026-11-29T10:00:00|N/A|main|{limit}|None")["31"]
    assert (job.limit_minutes, job.ends_at()) == (None, None)


def test_people_who_wait_read_why_and_until_when() -> None:
    jobs = parse_squeue(SQUEUE)
    assert jobs["32"].why_waiting() == (
        "Job 32 waits in the queue: all machines are in use."
        " It is expected to start at 2026-11-29 11:00:01"
    )
    assert jobs["33"].why_waiting() == (
        "Job 33 waits in the queue: a node that it needs is reserved or down"
    )
    reason = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority"
    assert Job("1", "PENDING", reason=reason).why_waiting() == (
        "Job 1 waits in the queue: the nodes that it needs are down or reserved"
    )
    assert Job("1", "PENDING", reason="NewReasonOfALaterSlurm").why_waiting() == (
        "Job 1 waits in the queue: NewReasonOfALaterSlurm"
    )


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("AssocMaxJobsLimit", "you have as many jobs as you may"),
        ("QOSMaxJobsPerUserLimit", "you have as many jobs as you may"),
        ("QOSMaxCpuPerUserLimit", "you use as much as you may"),
        ("QOSMaxMemoryPerUser", "you use as much as you may"),
        ("AssocMaxWallDurationPerJobLimit", "it asks for more than you may have"),
        ("QOSMaxCpuPerNode", "it asks for more than you may have"),
        ("AssocGrpJobsLimit", "your group uses as much as it may"),
        ("AssocGrpCPUMinutesLimit", "your group uses as much as it may"),
        ("MaxJobsPerAccount", "your group uses as much as it may"),
        ("MaxCpuPerAccount", "your group uses as much as it may"),
        ("QOSGrpCpuLimit", "all jobs of its quality of service (QOS) use as much as they may"),
        ("InvalidQOS", "its quality of service (QOS) does not exist any more"),
    ],
)
def test_limits_of_accounts_and_qualities_of_service_are_explained(reason: str, why: str) -> None:
    assert Job("1", "PENDING", reason=reason).why_waiting() == f"Job 1 waits in the queue: {why}"


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        ("COMPLETING", "TimeLimit", "its time limit was reached"),
        ("COMPLETING", "NonZeroExitCode", "the server ended with an error"),
        ("COMPLETING", "None", "it was cancelled, or the server ended by itself"),
        ("CANCELLED", "None", "somebody cancelled it, or Slurm did"),
    ],
)
def test_the_end_of_a_job_is_explained_while_its_last_processes_end_as_well(
    state: str, reason: str, why: str
) -> None:
    assert Job("1", state, "c1", reason=reason).why_ended() == why


@pytest.mark.parametrize("line", ["31", "x|RUNNING||||", "31|running||||", "slurm_load_jobs error"])
def test_an_answer_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="squeue prints"):
        parse_squeue(line)


def test_a_state_of_a_later_slurm_is_unknown_not_an_end() -> None:
    assert parse_squeue("1|HIBERNATING|c1|N/A|N/A|main|1:00:00|None")["1"].phase is Phase.UNKNOWN


@pytest.mark.parametrize(("text", "number"), [("31\n", "31"), ("31;cluster\n", "31")])
def test_the_number_of_a_submitted_job_is_read(text: str, number: str) -> None:
    assert parse_number(text) == number


def test_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="sbatch prints 'Submitted"):
        parse_number("Submitted batch job 31")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("infinite", None),
        ("UNLIMITED", None),
        ("1-00:00:00", 1440),
        ("8:00:00", 480),
        ("30:00", 30),
        ("0:30", 1),
    ],
)
def test_time_limits_are_minutes(text: str, expected: int | None) -> None:
    assert minutes(text) == expected


def test_partitions_are_as_large_as_their_largest_node_and_the_default_is_first() -> None:
    printed = """\
gpu|up|1-00:00:00|32|256000|gpu:a100:2(S:0-1),gpu:t4:1|gpu
main|up|1:00:00|4+|4000|(null)|main*
main|up|1:00:00|8|3000+|(null)|main*
old|inact|infinite|4|1000|(null)|old
"""
    assert parse_sinfo(printed) == [
        Partition("main", True, True, 60, 8, 4000, 0),
        Partition("gpu", False, True, 1440, 32, 256000, 3),
        Partition("old", False, False, None, 4, 1000, 0),
    ]
    with pytest.raises(ValueError, match="sinfo prints 'sinfo: error'"):
        parse_sinfo("sinfo: error\n")
