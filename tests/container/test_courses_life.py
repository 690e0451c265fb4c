"""A course while the stack is examined, disabled and enabled, and the hub restored and removed."""

import json
from pathlib import Path

import pytest

from tests.courses import COURSES, ROSTER, Campus
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
    listed = found if isinstance(found, list) else found["findings"]
    return {each["subject"]: each for each in listed if "course" in each["subject"]}


def test_a_course_survives_disabling_a_restore_and_says_what_uninstalling_leaves(
    installer: Path, tmp_path: Path
) -> None:
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        campus = Campus.enabled(hub, tmp_path)
        campus.create("ps131", ROSTER)
        campus.release("ps131", "ps1")
        assert findings(campus)["course ps131"]["status"] == "ok"

        # The unit of rosters works in its sandbox.
        campus.nbgrader("ps131", "db", "student", "add", "erin")
        machine.systemctl("start", ROSTERS)
        shown = json.loads(campus.course("show", "ps131", "--json").stdout)
        assert {each["login"] for each in shown["students"]} == {"bob", "carol", "erin"}

        # Disabled: no page, no unit, and all files.
        said = command(campus, "disable", "courses", "--yes")
        assert f"{COURSES}/ps131 stays" in said
        units = ["list-units", "--all", "--plain", "--no-legend", "littlest-hub.courses-*"]
        assert machine.systemctl(*units).stdout == ""
        assert findings(campus) == {}
        command(campus, "enable", "courses", "--yes")
        with campus.student("bob") as bob:
            assert "ps131 ps1" in bob.shell("nbgrader list")

        # Restored after it was deleted: the roster is there, and doctor says what is missing.
        command(campus, "backup", "/root/hub.tar")
        campus.course("delete", "ps131", "--yes")
        print("RESTORE", command(campus, "restore", "/root/hub.tar", "--yes", check=False))
        print("LIST", campus.course("list", check=False))
        print("FINDINGS", findings(campus))
        print("UNITS", machine.systemctl(*units).stdout)
        print("HUB", hub.answers())
        print("UNINSTALL", command(campus, "uninstall", "--purge", "--yes", check=False))
        left = "ls -la /srv /etc/systemd/system /run | grep littlest; getent passwd | grep grader"
        print("LEFT", machine.run(["sh", "-c", left], check=False).stdout)
        raise AssertionError
