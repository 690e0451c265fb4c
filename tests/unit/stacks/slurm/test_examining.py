"""The answers of `check` and `doctor` about the Slurm stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub import __version__
from littlest_hub.check import check_fragments
from littlest_hub.check.classes import missing_hint
from littlest_hub.doctor.findings import OK, PROBLEM, WARNING
from littlest_hub.layout import Layout
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.slurm import probes


@pytest.mark.parametrize(
    ("listed", "severity", "text"),
    [
        ("c1 idle\nc2 mix\n", OK, "2 run jobs"),
        ("c1 alloc\nc1 alloc\n", OK, "1 run jobs"),
        ("c1 idle\nc2 down*\n", WARNING, "1 of 2 run no jobs: c2"),
        ("c1 idle*\nc2 drng\n", PROBLEM, "2 of 2 run no jobs: c1, c2"),
        ("".join(f"c{n} down\n" for n in range(9)), PROBLEM, "c0, c1, c2, c3, c4, …"),
        ("", PROBLEM, "sinfo lists none"),
    ],
)
def test_nodes_that_run_no_jobs_are_named(listed: str, severity: str, text: str) -> None:
    (finding,) = probes.nodes(listed)
    assert finding.severity == severity
    assert text in finding.text


@pytest.mark.parametrize(
    ("pinged", "severity"),
    [
        ("Slurmctld(primary) at head is UP\n", OK),
        ("Slurmctld(primary) at one is DOWN\nSlurmctld(backup) at two is UP\n", OK),
        ("Slurmctld(primary) at head is DOWN\n", PROBLEM),
        ("", PROBLEM),
    ],
)
def test_a_controller_that_does_not_answer_is_a_problem(pinged: str, severity: str) -> None:
    assert [each.severity for each in probes.controller(pinged)] == [severity]


def test_a_machine_whose_munge_does_not_sign_is_a_problem() -> None:
    assert [each.severity for each in probes.munge("MUNGE:AwQFAAD:")] == [OK]
    assert [each.severity for each in probes.munge("")] == [PROBLEM]


# Without the call for which the interpreter has to be that of an installed release.
FRAGMENT = (
    (Path(__file__).parents[4] / "jupyterhub_config.d/50-slurm.py")
    .read_text()
    .replace('require_enabled("slurm")', "")
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation with the fragment, as somebody's own: nobody's rights are examined."""
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.state.mkdir()
    enabled.write_record(layout, {"slurm": EnabledStack("slurm", {"address": ""})})
    (layout.fragments / "50-slurm.py").write_text(FRAGMENT)
    return layout


def found(layout: Layout, more: str = "") -> list[str]:
    (layout.fragments / "60-more.py").write_text(more)
    return [str(problem) for problem in check_fragments(layout).problems]


@pytest.mark.parametrize(
    "more",
    [
        "",
        'c.SlurmSpawner.partitions = {"main": {"hours": 8, "gpus": 2}}',
        'c.SlurmSpawner.node_address = "{node}.cluster"',
    ],
)
def test_the_fragment_is_right_as_it_is(layout: Layout, more: str) -> None:
    assert found(layout, more) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ('c.SlurmSpawner.partitions = {"main": {"days": 1}}', "main: "),
        ('c.SlurmSpawner.partitions = {"main; id": {}}', "'main; id' cannot be a name in Slurm"),
        ('c.SlurmSpawner.node_address = "{name}"', "expected a name with {node} in it"),
        ("c.SlurmSpawner.req_partition = 'main'", "req_partition"),
        ('c.SlurmSpawner.sbatch_options = ["-q interactive"]', "found '-q interactive'"),
        ("c.SlurmSpawner.warn_minutes = 0", "warn_minutes"),
        (
            'c.SlurmSpawner.qos = ["high low"]; c.SlurmSpawner.partitions = {"main": {}}',
            "'high low' cannot be a name in Slurm",
        ),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(layout: Layout, more: str, text: str) -> None:
    (problem,) = found(layout, more)
    assert "60-more.py:1: " in problem
    assert text in problem


@pytest.mark.parametrize(
    ("python", "is_old"),
    [
        ("/software/hub/releases/2020.1.0/bin/python3", True),
        (f"/software/hub/releases/{__version__}/bin/python3", False),
        ("/software/hub/bin/python3", False),
    ],
    ids=["earlier", "same", "unknown"],
)
def test_servers_of_another_release_than_the_hub_are_reported_and_not_refused(
    layout: Layout, python: str, is_old: bool
) -> None:
    said = found(layout, f"c.SlurmSpawner.python = {python!r}\n")
    warning = "60-more.py:1: warning: SlurmSpawner.python: servers are of release 2020.1.0"
    assert [warning in each for each in said] == [True] * is_old


@pytest.mark.parametrize(
    ("more", "is_said"),
    [
        ("", True),
        ('c.SlurmSpawner.partitions = {"main": {}}\n', False),
        ('c.JupyterHub.spawner_class = "simple"\n', False),
    ],
    ids=["no form", "a form", "another spawner"],
)
def test_accounts_that_nobody_can_choose_are_reported(
    layout: Layout, more: str, is_said: bool
) -> None:
    said = found(layout, f'c.SlurmSpawner.accounts = ["physics"]\n{more}')
    text = "SlurmSpawner.accounts: nobody can choose them"
    assert any(text in each for each in said) == is_said


def test_a_setting_of_the_stack_names_it_if_it_is_not_enabled() -> None:
    assert "of the stack slurm, which is not enabled" in missing_hint("SlurmSpawner")
    assert "wrapspawner is not installed" in missing_hint("WrapSpawner")


def test_a_spawner_without_what_its_jobs_report_to_is_refused(layout: Layout) -> None:
    text = (layout.fragments / "50-slurm.py").read_text()
    (layout.fragments / "50-slurm.py").write_text(text.replace("configure(c)", "configure"))
    (problem,) = found(layout)
    assert "JupyterHub.spawner_class: jobs report to /api/slurm/port" in problem
