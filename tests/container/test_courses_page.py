"""The page of courses on a machine: a course is made and changed there, and the helper killed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import visible_text
from tests.courses import EXCHANGE, PAGE, PASSWORD, PEOPLE, ROSTER, Campus, send, settled
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

# `make test-courses` runs it.
pytestmark = pytest.mark.long

HELPER = "littlest-hub.courses-page"


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A hub without courses, which boss administers."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        directory = tmp_path_factory.mktemp("courses")
        yield Campus.enabled(hub, directory, people=("boss", *PEOPLE))


def test_an_administrator_makes_a_course_and_its_instructor_changes_the_roster(
    campus: Campus,
) -> None:
    # Only people in a roster may log in.
    campus.create("math", "username\ncarol\n", "erin")
    with campus.hub.logged_in("boss", PASSWORD) as boss:
        fields = {"course": "ps131", "title": "Physics", "instructors": "alice"}
        begun = send(boss, "create", roster=ROSTER, **fields)
        assert "Making ps131" in visible_text(begun)
        assert 'http-equiv="refresh"' in begun.text
        assert "ps131 is ready, with 2 students." in settled(boss)
        refused = send(boss, "create", roster=ROSTER, **fields)
        assert refused.status_code == 400
        assert "there is a course ps131 already" in visible_text(refused)
    made = json.loads(campus.course("show", "ps131", "--json").stdout)
    assert (made["stage"], made["title"], made["instructors"]) == ("ready", "Physics", ["alice"])
    with campus.student("carol") as carol, campus.instructor("ps131") as alice:
        assert carol.shell(f"ls {EXCHANGE}").split() == ["math", "ps131"]
        assert send(carol.person, "create", roster=ROSTER, **fields).status_code == 403
        assert send(carol.person, "roster", roster=ROSTER, course="ps131").status_code == 403
        assert send(alice.person, "roster", roster=ROSTER, course="math").status_code == 403
        asked = send(alice.person, "roster", roster="username\nbob\ndave\n", course="ps131")
        assert "would lose ps131: carol. New: dave." in visible_text(asked)
        assert carol.shell(f"ls {EXCHANGE}").split() == ["math", "ps131"]
        send(alice.person, "roster", roster="username\nbob\ndave\n", course="ps131", may_drop="1")
        assert "ps131 has 2 students. New: dave. Dropped out: carol." in settled(alice.person)
        # In a server that ran before, an empty directory stays.
        assert carol.shell(f"ls -A {EXCHANGE}/ps131").split() == []
        assert carol.shell(f"ls {EXCHANGE}/math").split()
    with campus.student("dave") as dave:
        assert dave.shell(f"ls {EXCHANGE}").split() == ["ps131"]


def test_an_administrator_changes_instructors_archives_opens_and_deletes_a_course(
    campus: Campus,
) -> None:
    campus.create("life", "username\nbob\n")
    listing = f"ls {EXCHANGE}/life; true"
    units = ["list-units", "--plain", "--no-legend", "littlest-hub.courses-*-life*"]
    with campus.hub.logged_in("boss", PASSWORD) as boss, campus.student("bob") as bob:
        assert "inbound" in bob.shell(listing)
        send(boss, "instructors", course="life", instructors="erin, carol")
        assert "Instructors of life: erin, carol." in settled(boss)
        with campus.instructor("life", "erin"):
            pass
        with campus.hub.logged_in("alice", PASSWORD) as alice:
            page = alice.browser.get("/services/course-life/formgrader")
            assert page.status_code == 403
            assert send(alice, "archive", course="life").status_code == 403

        send(boss, "archive", course="life")
        assert "life is archived" in settled(boss)
        assert bob.shell(listing).split() == []
        assert campus.machine.systemctl(*units).stdout == ""
        send(boss, "reopen", course="life")
        assert "life is open again" in settled(boss)
        campus.course("nbgrader", "life", "--", "--version")

        refused = send(boss, "delete", course="life", confirmation="yes")
        assert refused.status_code == 400
        assert "type its name, life." in visible_text(refused)
        assert campus.left_of("life")
        send(boss, "delete", course="life", confirmation="life")
        assert "life is deleted." in settled(boss)
    assert campus.left_of("life") == ""


@pytest.mark.parametrize("verb", ["archive", "delete"])
def test_a_course_is_closed_or_gone_although_the_helper_is_killed(
    campus: Campus, verb: str
) -> None:
    campus.create("ends", "username\nbob\n")
    with campus.hub.logged_in("boss", PASSWORD) as boss:
        settled(boss)
        send(boss, verb, course="ends", confirmation="ends")
        told = ["sh", "-c", f"cat /run/{HELPER}/*.json"]
        eventually(
            lambda: "Reloading" in campus.machine.run(told).stdout,
            60,
            "the reload",
            interval_s=0.01,
        )
        campus.machine.systemctl("kill", "--signal=KILL", f"{HELPER}@*.service", check=False)
        settled(boss)
    helpers = ["list-units", "--all", "--plain", "--no-legend", f"{HELPER}@*"]
    eventually(lambda: campus.machine.systemctl(*helpers).stdout == "", 60, "the end of helpers")
    units = ["list-units", "--plain", "--no-legend", "littlest-hub.courses-*-ends*"]
    assert campus.machine.systemctl(*units).stdout == ""
    if verb == "archive":
        assert "archived" in campus.course("show", "ends").stdout
        campus.course("delete", "ends", "--yes")
    assert campus.left_of("ends") == ""


def test_nobody_but_the_hub_reaches_the_helper(campus: Campus) -> None:
    code = f"import socket; socket.socket(socket.AF_UNIX).connect('/run/{HELPER}.sock')"
    for name in ("alice", "bob"):
        command = ["runuser", "-u", name, "--", campus.hub.path("hub/bin/python3"), "-c", code]
        refused = campus.machine.run(command, check=False)
        assert "PermissionError" in refused.stderr
    refused = campus.machine.run(["runuser", "-u", "bob", "ls", f"/run/{HELPER}"], check=False)
    assert "Permission denied" in refused.stderr


@pytest.mark.parametrize("moment", ["Making killed", "its directories", "Reloading"])
def test_a_course_whose_making_is_killed_is_there_whole_or_not_at_all(
    campus: Campus, moment: str
) -> None:
    with campus.hub.logged_in("boss", PASSWORD) as boss:
        settled(boss)
        send(boss, "create", roster=ROSTER, course="killed", instructors="alice")
        told = ["sh", "-c", f"cat /run/{HELPER}/*.json"]
        eventually(lambda: moment in campus.machine.run(told).stdout, 60, moment, interval_s=0.01)
        campus.machine.systemctl("kill", "--signal=KILL", f"{HELPER}@*.service", check=False)
        said = settled(boss)
    units = ["list-units", "--all", "--plain", "--no-legend", f"{HELPER}@*"]
    eventually(lambda: campus.machine.systemctl(*units).stdout == "", 60, "the end of helpers")
    courses = {e["name"]: e for e in json.loads(campus.course("list", "--json").stdout)}
    if "killed" in courses:
        assert courses["killed"]["stage"] == "ready"
        campus.course("nbgrader", "killed", "--", "--version")
        campus.course("delete", "killed", "--yes")
    else:
        assert "The change of killed was interrupted." in said
    assert campus.left_of("killed") == ""


def test_disabling_leaves_nothing_of_the_page(campus: Campus) -> None:
    command = campus.hub.path("hub/bin/littlest-hub")
    campus.machine.run([command, "disable", "courses"])
    assert HELPER not in campus.machine.run(["ls", "/run"]).stdout
    campus.machine.run([command, "enable", "courses", "--yes"])
    with campus.hub.logged_in("boss", PASSWORD) as boss:
        assert "Make a course" in boss.browser.get(PAGE).text
