"""Grading for a second time, being late, feedback, and submissions that nobody wants."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.courses import COURSES, EXCHANGE, ROSTER, Campus, Instructor
from tests.hub import Hub
from tests.machine import Machine

# `make test-courses` runs all of them.
pytestmark = pytest.mark.long

COURSE = f"{COURSES}/ps131"
INBOUND = f"{EXCHANGE}/ps131/inbound"
RIGHT = "def square(x): return x * x"
WRONG = "def square(x): return 0"
DEADLY = "import os\ndef square(x):\n    print('first')\n    os._exit(0)"
CONFIGURATION = """\
c = get_config()
c.AssignLatePenalties.plugin_class = "late.Half"
"""
PENALTY = """\
from pathlib import Path
from nbgrader.plugins import BasePlugin

class Half(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        print("not part of a CSV file")
        Path("asked").write_text(student_id)
        return score / 2
"""

NOW = "$(date -u '+%F %T.%6N UTC')"
UNWANTED = f"""\
cp -r ps131/large "{INBOUND}/bob+large+{NOW}+AAAA"
cp -r ps131/large "{INBOUND}/bob+large+no time+AAAA"
cp -r ps131/large "{INBOUND}/bob+large+2020-01-01 00:00:00 99999999999+AAAA"
cp -r ps131/large "{INBOUND}/bob+large+"
cp -r done "{INBOUND}/bob+large+{NOW}+CCCC"
closed="{INBOUND}/bob+large+{NOW}+BBBB"; mkdir "$closed"; chmod 0 "$closed"
"""


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A hub with the course ps131 of bob and carol, which alice teaches; 1 MB may be handed in."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        campus = Campus.enabled(hub, tmp_path_factory.mktemp("courses"))
        fragment = str(hub.layout.fragments / "62-courses.py")
        text = machine.read(fragment)
        assert "MAX_SUBMISSION_MB = 100\n" in text
        machine.put(fragment, text.replace("MAX_SUBMISSION_MB = 100\n", "MAX_SUBMISSION_MB = 1\n"))
        campus.create("ps131", ROSTER)
        yield campus


def hand_in(campus: Campus, name: str, assignment: str, solution: str, text: str = "So.") -> None:
    """Let a student fetch, solve and hand in an assignment."""
    with campus.student(name) as student:
        student.fetch(assignment)
        student.solve(assignment, solution, text)
        assert "Submitted as" in student.submit(assignment)


def put(campus: Campus, name: str, text: str) -> None:
    """Let the grader of the course have a file."""
    campus.machine.put(f"{COURSE}/{name}", text)
    campus.machine.run(["chown", "grader-ps131:", f"{COURSE}/{name}"])


def test_a_submission_that_ends_its_kernel_is_graded_without_points_for_the_rest(
    campus: Campus,
) -> None:
    campus.release("ps131", "deadly")
    hand_in(campus, "bob", "deadly", DEADLY)
    hand_in(campus, "carol", "deadly", RIGHT)
    campus.nbgrader("ps131", "collect", "deadly")
    assert "2 graded" in campus.course("autograde", "ps131", "deadly").stdout
    grades = campus.grades("ps131")
    assert [grades[name, "deadly"]["score"] for name in ("bob", "carol")] == ["0.0", "3.0"]
    seen = campus.machine.read(f"{COURSE}/autograded/bob/deadly/work.ipynb")
    assert "The kernel ended in this cell" in seen
    with campus.instructor("ps131") as alice:
        alice.press("submission/deadly/bob/autograde")
        assert "The kernel ended in this cell" in alice.page_of("deadly", "bob")
    assert "0 of 2 submissions" in campus.course("autograde", "ps131", "deadly").stdout


def test_a_newer_submission_is_graded_again_and_only_changed_answers_need_another_look(
    campus: Campus,
) -> None:
    campus.release("ps131", "again")
    hand_in(campus, "bob", "again", WRONG, "Because.")
    campus.nbgrader("ps131", "collect", "again")
    campus.course("autograde", "ps131", "again")
    with campus.instructor("ps131") as alice:
        alice.grade("again", "bob", 1.5)
        row = campus.grades("ps131")["bob", "again"]
        assert (row["score"], row["needs_grading"]) == ("1.5", "no")

        # In the formgrader: the code is another one, the text is the same.
        hand_in(campus, "bob", "again", RIGHT, "Because.")
        assert "Updating submission: bob again" in alice.press("assignment/again/collect")
        alice.press("submission/again/bob/autograde")
        row = campus.grades("ps131")["bob", "again"]
        assert (row["score"], row["needs_grading"]) == ("4.5", "no")

    # On the command line: the text is another one. Its points stay until somebody looks.
    hand_in(campus, "bob", "again", RIGHT, "I have thought again.")
    assert "Updating submission: bob again" in campus.nbgrader("ps131", "collect", "again")
    assert "1 of 1 submissions" in campus.course("autograde", "ps131", "again").stdout
    row = campus.grades("ps131")["bob", "again"]
    assert (row["score"], row["needs_grading"]) == ("4.5", "yes")
    assert "No newer submission" in campus.nbgrader("ps131", "collect", "again")
    assert "0 of 1 submissions" in campus.course("autograde", "ps131", "again").stdout


def test_late_submissions_cost_what_the_course_says_and_extensions_count(campus: Campus) -> None:
    put(campus, "nbgrader_config.py", CONFIGURATION)
    put(campus, "late.py", PENALTY)
    campus.release("ps131", "late")
    refused = campus.course("extend", "ps131", "late", "carol", "1w", check=False)
    assert "late has no due date" in refused.stderr
    with campus.instructor("ps131") as alice:
        alice.is_due("late", datetime.now(UTC) - timedelta(days=2))
        for words, why in (
            (("late", "dave", "1w"), "dave takes no part in ps131"),
            (("late", "carol", "soon"), "'soon' is no extension"),
            (("other", "carol", "1w"), "no assignment 'other'"),
        ):
            refused = campus.course("extend", "ps131", *words, check=False)
            assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
        said = campus.course("extend", "ps131", "late", "carol", "1w").stdout
        assert said.startswith("carol may hand in late until ")
        assert campus.course("extend", "ps131").stdout == "late  carol  1w\n"

        for name in ("bob", "carol"):
            hand_in(campus, name, "late", RIGHT)
        campus.nbgrader("ps131", "collect", "late")
        campus.course("autograde", "ps131", "late")
        grades = campus.grades("ps131")
        assert grades["bob", "late"]["score"] == "1.5"
        assert int(grades["bob", "late"]["late_s"]) > 86400
        assert (grades["carol", "late"]["score"], grades["carol", "late"]["late_s"]) == ("3.0", "0")

        assert late_in_the_formgrader(alice) == {
            "bob": "late by 2 d, costs 1.5 points",
            "carol": "extension 1w",
        }

        # Points that are given by hand afterwards are late as well.
        alice.grade("late", "bob", 2)
        assert late_in_the_formgrader(alice)["bob"] == "late by 2 d, costs 2.5 points"
        assert campus.grades("ps131")["bob", "late"]["score"] == "2.5"
        # The course's code has run, and as its grader.
        owner = campus.machine.run(["stat", "-c%U", f"{COURSE}/asked"]).stdout
        assert owner == "grader-ps131\n"

    # An extension that is taken back, and one that comes after grading.
    said = campus.course("extend", "ps131", "late", "carol", "0").stdout
    assert "will be graded again" in said
    campus.course("extend", "ps131", "late", "bob", "3d")
    assert "2 of 2 submissions" in campus.course("autograde", "ps131", "late").stdout
    grades = campus.grades("ps131")
    assert grades["carol", "late"]["score"] == "1.5"
    assert (grades["bob", "late"]["score"], grades["bob", "late"]["needs_grading"]) == ("5.0", "no")

    # A mistake in the settings takes back no penalty.
    put(campus, "nbgrader_config.py", "c = get_config(\n")
    refused = campus.course("grades", "ps131", check=False)
    with campus.instructor("ps131") as alice:
        assert "nbgrader_config.py" in late_in_the_formgrader(alice)["carol"]
    put(campus, "nbgrader_config.py", CONFIGURATION)
    assert (refused.returncode, "nbgrader_config.py" in refused.stderr) == (1, True)
    assert campus.grades("ps131")["carol", "late"]["score"] == "1.5"


def late_in_the_formgrader(alice: Instructor) -> dict[str, str]:
    """Return what the list of submissions says about their times; minutes since the test began."""
    found = {}
    for each in alice.ask("GET", "submissions/late"):
        _, _, note = each["display_timestamp"].partition("; ")
        found[each["student"]] = re.sub(r"(?<= d) [0-9]+ (h|min|s)", "", note)
    return found


def test_collecting_what_came_before_the_due_date_heeds_extensions(campus: Campus) -> None:
    campus.release("ps131", "due")
    for name in ("bob", "carol"):
        hand_in(campus, name, "due", WRONG)
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    campus.nbgrader("ps131", "db", "assignment", "add", "due", f"--duedate={now}")
    campus.course("extend", "ps131", "due", "carol", "1h")
    for name in ("bob", "carol"):
        hand_in(campus, name, "due", RIGHT)
    campus.nbgrader("ps131", "collect", "due", "--before-duedate")
    work = {
        name: campus.machine.read(f"{COURSE}/submitted/{name}/due/work.ipynb")
        for name in ("bob", "carol")
    }
    assert "x * x" not in work["bob"]
    assert "x * x" in work["carol"]


def test_feedback_is_given_on_what_is_graded_and_the_others_are_named(campus: Campus) -> None:
    campus.release("ps131", "back")
    for name in ("bob", "carol"):
        hand_in(campus, name, "back", RIGHT)
    refused = campus.course("feedback", "ps131", "back", check=False)
    assert "no submission of back is graded" in refused.stderr
    campus.nbgrader("ps131", "collect", "back")
    campus.course("autograde", "ps131", "back")
    with campus.instructor("ps131") as alice:
        alice.grade("back", "bob", 1)
    done = campus.course("feedback", "ps131", "back")
    assert "carol: no feedback: has answers to grade by hand" in done.stderr
    assert "1 have feedback" in done.stdout
    fetch = "nbgrader fetch_feedback back --course ps131"
    with campus.student("carol") as carol:
        carol.shell(fetch)
        assert "No such file" in carol.shell("cat ps131/back/feedback/*/work.html")
        # Pages are named after the secret; one that cannot be used must not stop others' feedback.
        carol.shell("cp -r ps131/back new && mkdir new/timestamp.txt")
        carol.shell("head -c 2000 /dev/zero | tr '\\0' x >new/submission_secret.txt")
        carol.shell(f'cp -r new "{INBOUND}/carol+back+{NOW}+AAAA"')
    assert "Updating submission: carol" in campus.nbgrader("ps131", "collect", "back")
    done = campus.course("feedback", "ps131", "back", "--unfinished")
    assert "carol: no feedback: was collected again" in done.stderr
    campus.course("autograde", "ps131", "back")
    failed = campus.course("feedback", "ps131", "back", "--unfinished", check=False)
    assert failed.returncode == 1
    assert "submission_secret.txt of the submission is missing" in failed.stderr
    with campus.student("bob") as bob:
        assert "Fetched feedback" in bob.shell(fetch)
        assert "Score: 4.0 / 5.0" in bob.shell("cat ps131/back/feedback/*/work.html")


def test_a_submission_that_nobody_can_take_keeps_no_other_from_being_collected(
    campus: Campus,
) -> None:
    campus.release("ps131", "large")
    hand_in(campus, "bob", "large", RIGHT)
    with campus.student("bob") as bob:
        bob.shell("cp -r ps131/large done; head -c 2000000 /dev/zero >ps131/large/more.bin")
        assert "Directory size is too big" in bob.submit("large")
        bob.shell(UNWANTED)
    hand_in(campus, "carol", "large", RIGHT)
    said = campus.nbgrader("ps131", "collect", "large")
    assert "its files have more than 1 MB together" in said
    assert "it was not handed in whole" in said
    assert "Collecting submission: bob large" in said
    assert "Collecting submission: carol large" in said
    assert "1 graded" in campus.course("autograde", "ps131", "large", "--student=carol").stdout
    files = campus.machine.run(["ls", f"{COURSE}/submitted/bob/large"]).stdout.split()
    assert files == ["submission_secret.txt", "timestamp.txt", "work.ipynb"]


def test_who_drops_out_loses_a_course_in_a_running_server_at_once(campus: Campus) -> None:
    campus.create("drop", "username\nbob\ncarol\n")
    listing = f"ls {EXCHANGE}/drop 2>&1; true"
    with ExitStack() as servers:
        bob, carol = (servers.enter_context(campus.student(name)) for name in ("bob", "carol"))
        for each in (bob, carol):
            assert each.shell(listing).split() == ["feedback", "inbound", "outbound"]
        campus.machine.put("/root/drop.csv", "username\nbob\n")
        said = campus.course("roster", "drop", "/root/drop.csv")
        assert "1 running servers" in said.stderr
        assert carol.shell(listing).split() == []
        assert "outbound" in bob.shell(listing)
        campus.course("archive", "drop")
        assert bob.shell(listing).split() == []
        assert carol.shell(f"ls {EXCHANGE}/ps131").split() == ["feedback", "inbound", "outbound"]
    # The exchange itself is whole.
    kept = campus.machine.run(["ls", f"{EXCHANGE}/drop"]).stdout.split()
    assert kept == ["feedback", "inbound", "outbound"]
    campus.course("delete", "drop", "--yes")
