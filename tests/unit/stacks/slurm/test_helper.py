"""Root's helper for jobs: what a hub that was taken over can make of it."""

from __future__ import annotations

import grp
import json
import os
import pwd
from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.slurm import units
from littlest_hub.stacks.slurm.helper import LIMIT_BYTES, answer, serve
from littlest_hub.stacks.slurm.options import Request
from tests.unit.stacks.slurm import test_spawner
from tests.unit.stacks.slurm.test_spawner import ME, Cluster

cluster = test_spawner.cluster
SCRIPT = "#!/bin/sh\nexit\n"
NOTHING = json.dumps(vars(Request()))
ALLOWED = "c.SlurmSpawner.prolong_hours = 2\n"


@pytest.fixture
def layout(cluster: Cluster) -> Layout:
    return Layout(cluster.directory / "hub")


def ask(layout: Layout, *words: str) -> dict[str, object]:
    return answer(layout, "\0".join(words).encode())


def submit(layout: Layout, *options: str, wanted: str = NOTHING) -> dict[str, object]:
    return ask(layout, "submit", ME, "", wanted, SCRIPT, *options)


def test_a_job_is_submitted_as_its_user_with_what_the_hub_may_choose(
    cluster: Cluster, layout: Layout
) -> None:
    wanted = Request("main", minutes=90, processors=2, memory_mb=512, account="physics")
    done = ask(layout, "submit", ME, "a/b c", json.dumps(vars(wanted)), SCRIPT, "--qos=interactive")
    assert done == {"printed": "31"}
    arguments = cluster.read("arguments")
    assert f"--job-name=jupyterhub-{ME} --chdir=" in arguments
    assert "/.jupyterhub-a-b-c.log " in arguments
    chosen = "--partition=main --time=90 --cpus-per-task=2 --mem=512M --account=physics"
    assert arguments.endswith(f"{chosen} --qos=interactive\n")
    assert cluster.read("script") == SCRIPT
    assert ask(layout, "cancel", ME, "31") == {"printed": "31"}
    assert cluster.state("31") == "CANCELLED"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["submit"],
        ["run", ME, "id"],
        ["submit", ME, "", NOTHING],
        ["cancel", ME],
        ["cancel", ME, "31", "32"],
        ["cancel", ME, "--user=root"],
        ["cancel", ME, "31_1"],
        ["cancel", ME, ""],
        ["cancel", ME, "0"],
        ["cancel", ME, "31\n"],
        ["prolong", ME, "31"],
        ["prolong", ME, "31", "-1"],
        ["prolong", ME, "31", "UNLIMITED"],
        ["prolong", ME, "31 UserId=0", "60"],
        ["submit", ME, "", NOTHING, "x" * LIMIT_BYTES],
    ],
)
def test_a_request_for_anything_else_is_refused(
    cluster: Cluster, layout: Layout, words: list[str]
) -> None:
    cluster.set("31", "RUNNING")
    refused = ask(layout, *words)
    assert str(refused["refusal"]).startswith("no such request")
    assert refused["is_silent"] is False
    assert cluster.jobs() == ["job-31"]
    assert cluster.state("31") == "RUNNING"
    assert not (cluster.directory / "updated").exists()


@pytest.mark.parametrize(
    "option",
    ["--wrap=id\nid", "-p", "main", "/etc/shadow", "--", "--Uid=0", "", "--a b", "--comment=\x1b"],
)
def test_only_long_options_of_sbatch_are_passed_on(
    cluster: Cluster, layout: Layout, option: str
) -> None:
    assert "expected options such as" in str(submit(layout, option)["refusal"])
    assert cluster.jobs() == []


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "[]",
        "null",
        '{"uid": 0}',
        '{"partition": "main --uid=0"}',
        '{"partition": "main\\n"}',
        '{"partition": 1}',
        '{"account": "--uid"}',
        '{"minutes": "60 --uid=0"}',
        '{"minutes": -1}',
        '{"minutes": true}',
        '{"minutes": 1e400}',
        '{"gpus": 1000000000000}',
        "[" * 100_000,
    ],
)
def test_only_values_that_a_request_may_have_are_passed_on(
    cluster: Cluster, layout: Layout, wanted: str
) -> None:
    assert str(submit(layout, wanted=wanted)["refusal"]).startswith("no such request")
    assert cluster.jobs() == []


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("root", "is an account of the system"),
        ("games", "is an account of the system"),
        ("--help", "is no name of a user"),
        ("../x", "is no name of a user"),
        ("Root", "is no name of a user"),
        ("", "is no name of a user"),
        ("no-such-user", "has no account"),
    ],
)
def test_only_people_have_jobs(
    cluster: Cluster,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    reason: str,
) -> None:
    monkeypatch.setattr("littlest_hub.helpers.hooks.FIRST_UID", 1000)
    (cluster.directory / "number").write_text("30")
    cluster.set("29", "RUNNING")
    for words in (["submit", user, "", NOTHING, SCRIPT], ["cancel", user, "29"]):
        assert str(ask(layout, *words)["refusal"]) == f"{user!r} {reason}"
    refused = ask(layout, "prolong", user, "29", "60")
    assert str(refused["refusal"]) == f"{user!r} {reason}"
    assert cluster.jobs() == ["job-29"]
    assert cluster.state("29") == "RUNNING"


def test_of_a_hub_that_is_not_root_only_members_of_its_group_have_jobs(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(cluster.directory / "hub", hub_user="games")
    # Groups that are there, in place of the one that the installer makes.
    monkeypatch.setattr(Layout, "users_group", "games")
    assert submit(layout) == {
        "refusal": f"{ME!r} is not a member of the group games",
        "is_silent": False,
    }
    assert cluster.jobs() == []
    own = grp.getgrgid(pwd.getpwnam(ME).pw_gid).gr_name
    monkeypatch.setattr(Layout, "users_group", own)
    assert submit(layout) == {"printed": "31"}


@pytest.mark.parametrize(
    ("fragment", "minutes", "owner", "refusal"),
    [
        (ALLOWED, "60", "31", ""),
        (ALLOWED, "61", "31", "61 minutes are more than main allows"),
        (ALLOWED, "60", "32", "job 32 is no server of"),
        ("", "60", "31", "has prolong_hours"),
        ("# c.SlurmSpawner.prolong_hours = 2\n", "60", "31", "has prolong_hours"),
    ],
)
def test_root_prolongs_only_servers_up_to_the_limit_of_the_partition(
    cluster: Cluster, layout: Layout, fragment: str, minutes: str, owner: str, refusal: str
) -> None:
    (layout.fragments / "60-mine.py").write_text(fragment)
    (cluster.directory / "partitions").write_text("main|up|1:00:00|2|4000||main*\n")
    cluster.set("31", "RUNNING")
    said = ask(layout, "prolong", ME, owner, minutes)
    assert refusal in str(said.get("refusal", ""))
    assert (cluster.directory / "updated").exists() == (not refusal)
    query = cluster.directory / "asked"
    if not refusal:
        assert f"--user={ME} --name=jupyterhub-{ME} " in query.read_text(), "nobody else's job"


@pytest.mark.parametrize("state", ["PENDING", "TIMEOUT", "HIBERNATING"])
def test_a_job_that_does_not_run_is_not_prolonged(
    cluster: Cluster, layout: Layout, state: str
) -> None:
    cluster.set("31", state)
    assert "is no server of" in str(ask(layout, "prolong", ME, "31", "60")["refusal"])
    assert not (cluster.directory / "updated").exists()


def test_what_slurm_prints_and_nobody_understands_is_no_refusal_of_slurms(
    cluster: Cluster, layout: Layout
) -> None:
    (cluster.directory / "bin/sbatch").write_text("#!/bin/sh\necho maintenance on Monday\n")
    assert submit(layout) == {
        "refusal": "sbatch prints 'maintenance on Monday\\n'",
        "is_silent": True,
    }


def test_a_job_of_which_the_hub_cannot_be_told_is_canceled(
    cluster: Cluster, layout: Layout
) -> None:
    request = "\0".join(["submit", ME, "", NOTHING, SCRIPT]).encode()
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError), os.fdopen(writing, "w") as hub:
        serve(layout, request, hub)  # and the file that is closed still has the reply
    assert cluster.state("31") == "CANCELLED"


def test_the_unit_of_the_helper_may_become_others_and_nothing_else(tmp_path: Path) -> None:
    socket, service = units.units(Layout(tmp_path, hub_user="lhub"), EnabledStack("slurm"))
    assert "SocketUser=lhub\n" in socket.text()
    assert "SocketMode=0600\n" in socket.text()
    assert service.text().count("CapabilityBoundingSet=") == 3
    assert service.text().index("CapabilityBoundingSet=\n") < service.text().index(
        "CapabilityBoundingSet=CAP_SETUID CAP_SETGID\n"
    )
