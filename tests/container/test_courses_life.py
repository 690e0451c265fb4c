"""A course while the stack is examined, disabled and enabled, and the hub restored and removed."""

import json
from pathlib import Path

import pytest

from tests.courses import COURSES, EXCHANGE, ROSTER, Campus
from tests.hub import Hub
from tests.machine import Machine

# `make test-courses` runs it.
pytestmark = pytest.mark.long

ROSTERS = "littlest-hub.courses-rosters.service"


def command(campus: Campus, *words: str, check: bool = True) -> str:
    """Run `littlest-hub …`, and return its output on both streams."""
    argv = [campus.hub.path("hub/bin/littlest-hub"), *words]
    done = campus.machine.run(argv, check=check, timeout_s=300)
    return done.stdout + done.stderr


def findings(campus: Campus) -> dict[str, dict[str, str]]:
    """Return what `doctor` finds about courses, by subject."""
    text = campus.machine.run(
        [campus.hub.path("hub/bin/littlest-hub"), "doctor", "--json"], check=False
    ).stdout
    found = json.loads(text)
    return {e["subject"]: e for e in found["findings"] if e["subject"].startswith("course")}


def test_a_course_survives_disabling_a_restore_and_says_what_uninstalling_leaves(
    installer: Path, tmp_path: Path
) -> None:
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        campus = Campus.enabled(hub, tmp_path)
        campus.create("ps131", ROSTER)
        campus.release("ps131", "ps1")
        assert findings(campus)["course ps131"]["severity"] == "ok"

        # The unit of rosters works in its sandbox.
        campus.nbgrader("ps131", "db", "student", "add", "erin")
        machine.systemctl("start", ROSTERS)
        shown = json.loads(campus.course("show", "ps131", "--json").stdout)
        assert {each["login"] for each in shown["students"]} == {"bob", "carol", "erin"}

        # Disabled: no page, no unit, and all files.
        said = command(campus, "disable", "courses")
        assert f"{COURSES}/ps131 stays" in said
        units = ["list-units", "--all", "--plain", "--no-legend", "littlest-hub.courses-*"]
        assert machine.systemctl(*units).stdout == ""
        assert findings(campus) == {}
        command(campus, "enable", "courses", "--yes")
        with campus.student("bob") as bob:
            assert "ps131 ps1" in bob.shell("nbgrader list")

        # Restored after it was deleted: the roster is there, and doctor says how to go on.
        command(campus, "backup", "/root/hub.tar")
        campus.course("delete", "ps131", "--yes")
        assert "There is no course" in campus.course("list").stdout
        command(campus, "restore", "/root/hub.tar", "--yes")
        finding = findings(campus)["course ps131"]
        assert finding["severity"] == "problem"
        assert finding["command"] == "littlest-hub course repair ps131"
        with campus.student("bob") as bob:
            assert "ps131" not in bob.shell(f"ls {EXCHANGE}").split()
        made = campus.course("repair", "ps131").stdout
        assert "the account grader-ps131" in made
        assert f"{COURSES}/ps131" in made
        assert "Nothing was missing" in campus.course("repair", "ps131").stdout
        assert findings(campus)["course ps131"]["severity"] == "ok"
        campus.release("ps131", "ps2")
        with campus.student("bob") as bob:
            assert "ps131 ps2" in bob.shell("nbgrader list")

        # Uninstalled: the files of courses stay, and that is said.
        said = command(campus, "uninstall", "--purge", "--yes")
        assert f"{COURSES}/ps131 stays" in said
        assert machine.systemctl(*units).stdout == ""
        left = "ls /etc/systemd/system /run | grep littlest-hub"
        assert machine.run(["sh", "-c", left], check=False).stdout == ""
        owner = machine.run(["stat", "-c%U", f"{COURSES}/ps131"]).stdout.strip()
        assert owner == "grader-ps131"
