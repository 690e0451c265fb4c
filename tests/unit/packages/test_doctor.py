"""Findings of doctor about packages that are not as they were added, with their commands."""

import shutil

import pytest

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.packages import packages
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.packages import changes
from tests import wheels
from tests.unit.packages.here import Installation

pytestmark = pytest.mark.unit


@pytest.fixture
def shy(here: Installation) -> Installation:
    """An active release with one package."""
    (here.prefix / "bin").mkdir()
    (here.prefix / "bin/python3").touch()
    wheels.make(here.wheels, "shy")
    here.add("shy")
    assert found(here).severity == OK
    return here


def found(here: Installation) -> Finding:
    (finding,) = packages(Snapshot(here.layout))
    return finding


def rebuild(here: Installation) -> None:
    changes.rebuild(here.layout, here.prefix, lambda _: None)


@pytest.mark.parametrize("content", [None, "altered = True\n"])
def test_a_file_that_is_missing_or_altered_is_named(shy: Installation, content: str | None) -> None:
    module = shy.overlay / "hub/shy.py"
    module.unlink()
    if content:
        module.write_text(content)
    finding = found(shy)
    assert (finding.severity, finding.text) == (PROBLEM, f"not as in their wheels: {module}")
    assert finding.command.endswith(" packages rebuild")
    rebuild(shy)
    assert found(shy).severity == OK


def test_an_overlay_that_is_gone_is_a_problem_until_it_is_built_again(shy: Installation) -> None:
    shutil.rmtree(shy.overlay)
    finding = found(shy)
    assert finding.severity != OK
    assert finding.command.endswith(" packages rebuild")
    rebuild(shy)
    assert found(shy).severity == OK
    assert (shy.overlay / "hub/shy.py").is_file()


def test_a_list_that_is_not_applied_is_named(shy: Installation) -> None:
    (shy.layout.packages / "hub.txt").write_text("")
    finding = found(shy)
    assert (finding.severity, finding.command[-17:]) == (WARNING, " packages rebuild")
    assert "shy is no longer asked for" in finding.text
