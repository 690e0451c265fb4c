"""The course stack on a machine: from a roster to grades, and what students may try."""

import csv
import io
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.client import RefusedError
from tests.courses import COURSES, EXCHANGE, PASSWORD, ROSTER, Campus
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

# `make test-courses` runs all of them.
pytestmark = pytest.mark.long

INBOUND = f"{EXCHANGE}/ps131/inbound"
RIGHT = "def square(x): return x * x"
ENDLESS = "def square(x):\n    while True: pass"
BOMB = "def square(x):\n    a = []\n    while True: a.append(b'x' * (1 << 26))"
# Scripts for the browser of whoever grades.
MARKUP = (
    '<script>stolen()</script><img src=x onerror="stolen()">'
    "<iframe srcdoc='<script>stolen()</script>'></iframe>"
    "\n\n[x](javascript:stolen()) **fair** $a<b$"
)
SPY = """\
import glob, os, socket
from IPython.display import HTML, display
def tried(what):
    try:
        return str(what())[:60]
    except OSError as error:
        return type(error).__name__
def square(x):
    print('SPY', tried(lambda: open('/srv/littlest-hub-courses/ps131/gradebook.db').read()),
          tried(lambda: os.listdir('/home') + os.listdir('/srv')),
          tried(lambda: os.listdir('/opt/littlest-hub/state')),
          tried(lambda: socket.create_connection(('127.0.0.1', 80), 2)),
          len([p for p in os.listdir('/proc') if p.isdigit()]))
    display(HTML('<img src=x onerror="sto' 'len()"><table><tr><th>shown</th></tr></table>'))
    return x * x
"""
KILLS = int(os.environ.get("LITTLEST_HUB_KILLS", "5"))


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A hub with the courses ps131 of bob and carol, and chem1 of dave; alice teaches both."""
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        campus = Campus.enabled(hub, tmp_path_factory.mktemp("courses"))
        campus.create("ps131", ROSTER)
        campus.create("chem1", "username\ndave\n")
        yield campus


def test_a_course_goes_from_a_roster_to_feedback_and_grades(campus: Campus) -> None:
    campus.release("ps131", "ps1")
    with campus.student("bob") as bob:
        assert "ps131 ps1" in bob.shell("nbgrader list")
        assert "Fetched as: ps131 ps1" in bob.fetch("ps1")
        assert "49" not in bob.shell("cat ps131/ps1/work.ipynb")
        assert "failed" in bob.shell("nbgrader validate ps131/ps1/work.ipynb")
        bob.solve("ps1", RIGHT)
        assert "Success!" in bob.shell("nbgrader validate ps131/ps1/work.ipynb")
        assert "Submitted as: ps131 ps1" in bob.submit("ps1")
    with campus.student("carol") as carol:
        carol.fetch("ps1")
        assert "Submitted as: ps131 ps1" in carol.submit("ps1")
    assert "Processing 2 submissions" in campus.nbgrader("ps131", "collect", "ps1")
    assert "2 graded" in campus.course("autograde", "ps131", "ps1").stdout
    grades = campus.grades("ps131")
    assert grades["bob", "ps1"]["score"] == "3.0"
    assert grades["carol", "ps1"]["score"] == "0.0"
    assert grades["bob", "ps1"]["needs_grading"] == "yes"
    assert "0 of 2 submissions" in campus.course("autograde", "ps131", "ps1").stdout
    campus.nbgrader("ps131", "generate_feedback", "ps1")
    campus.nbgrader("ps131", "release_feedback", "ps1")
    with campus.student("bob") as bob:
        assert "Fetched feedback" in bob.shell("nbgrader fetch_feedback ps1 --course ps131")
        assert "square" in bob.shell("cat ps131/ps1/feedback/*/work.html")
        assert "No such file" in bob.shell("cat ps131/ps1/feedback/*/../../../carol*")


def test_rosters_are_in_gradebooks_and_no_cell_of_grades_is_a_formula(campus: Campus) -> None:
    unit = "littlest-hub.courses-rosters.service"
    campus.machine.systemctl("start", unit)
    text = campus.course("grades", "ps131", "--for=moodle").stdout
    rows = {row["Username"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["bob"]["Email address"] == "bob@x.org"
    assert rows["carol"]["First name"] == "'=1+1"


def test_students_see_nothing_of_other_courses_and_of_the_grader(campus: Campus) -> None:
    with campus.student("dave") as dave:
        assert dave.shell(f"ls {EXCHANGE}").split() == ["chem1"]
        assert "Permission denied" in dave.shell(f"ls {COURSES}")
        # A course that a student makes is in the view of that student alone.
        dave.shell(f"mkdir {EXCHANGE}/ps131")
        assert "Permission denied" in dave.shell(f"ls {EXCHANGE}/chem1/inbound")
        answer = dave.person.browser.get("/services/course-chem1/formgrader")
        assert answer.status_code == 403
    with pytest.raises(RefusedError), campus.hub.logged_in("erin", PASSWORD):
        pass  # nobody in a roster
    listed = campus.machine.run(["ls", EXCHANGE]).stdout.split()
    assert listed == ["chem1", "ps131"]
    assert campus.machine.run(["stat", "-c%U%a", f"{EXCHANGE}/ps131"]).stdout.split() == [
        "grader-ps131755"
    ]


def test_what_fills_the_exchange_is_the_students_own(campus: Campus) -> None:
    file = f"{EXCHANGE}/chem1/inbound/large"
    with campus.student("dave") as dave:
        said = dave.shell(f"head -c 2000000 /dev/zero >{EXCHANGE}/large")
        assert "No space left on device" in said
        dave.shell(f"head -c 2000000 /dev/zero >{file}")
    # So a quota of the file system for users counts it.
    assert campus.machine.run(["stat", "-c%U %s", file]).stdout.split() == ["dave", "2000000"]
    campus.machine.run(["rm", file])


def test_an_instructor_grades_by_hand_in_the_formgrader(campus: Campus) -> None:
    with campus.hub.logged_in("alice", PASSWORD, timeout_s=60) as alice:
        page = alice.browser.get("/hub/courses")
        assert "Grade ps131" in page.text
        assert "Grade chem1" in page.text
        page = alice.browser.get("/services/course-ps131/formgrader")
        assert page.url.path.endswith("/formgrader/manage_assignments")
        answer = alice.browser.get("/services/course-ps131/formgrader/api/students")
        assert {each["id"] for each in answer.json()} >= {"bob", "carol"}


def test_a_submission_in_the_name_of_another_is_ignored(campus: Campus) -> None:
    campus.release("ps131", "forged")
    with campus.student("bob") as bob:
        bob.fetch("forged")
        bob.solve("forged", RIGHT)
        bob.submit("forged")
    with campus.student("carol") as carol:
        carol.fetch("forged")
        late = "bob+forged+2099-01-01 00:00:00.000000 UTC+AAAA"
        carol.shell(f"cp -r ps131/forged '{INBOUND}/{late}'")
        early = "carol+forged+2020-01-01 00:00:00.000000 UTC+AAAA"
        carol.shell("umask 022; echo mine >ps131/forged/submission_secret.txt")
        carol.shell(
            f"ln -s /etc/passwd ps131/forged/stolen; cp -a ps131/forged '{INBOUND}/{early}'"
        )
        assert "Permission denied" in carol.shell(f"ls {INBOUND}")
    said = campus.nbgrader("ps131", "collect", "forged")
    assert "who is not bob" in said
    assert "stolen" in said
    assert "claims an earlier time" in said
    place = f"{COURSES}/ps131/submitted"
    assert "x * x" in campus.machine.read(f"{place}/bob/forged/work.ipynb")
    assert "2020" not in campus.machine.read(f"{place}/carol/forged/timestamp.txt")
    assert "stolen" not in campus.machine.run(["ls", f"{place}/carol/forged"]).stdout


@pytest.mark.row(43)
def test_submissions_that_spy_loop_or_eat_memory_cost_only_themselves(campus: Campus) -> None:
    campus.release("ps131", "hostile")
    for name, solution in (("bob", SPY), ("carol", ENDLESS)):
        with campus.student(name) as student:
            student.fetch("hostile")
            student.solve("hostile", solution, MARKUP)
            student.submit("hostile")
    campus.nbgrader("ps131", "collect", "hostile")
    campus.course("autograde", "ps131", "hostile")
    grades = campus.grades("ps131")
    assert grades["bob", "hostile"]["score"] == "3.0"
    assert grades["carol", "hostile"]["score"] == "0.0"
    place = f"{COURSES}/ps131/autograded"
    seen = campus.machine.read(f"{place}/bob/hostile/work.ipynb")
    assert "SPY FileNotFoundError [] PermissionError ConnectionRefusedError 1" in seen
    assert "CellTimeoutError" in campus.machine.read(f"{place}/carol/hostile/work.ipynb")
    with campus.instructor("ps131") as alice:
        page = alice.page_of("hostile", "bob")
        # It would run what bob has handed in there, as the grader.
        other = f"?path={COURSES}/ps131/submitted/bob/hostile"
        refused = alice.person.browser.get(f"/services/course-ps131/formgrader{other}")
        assert refused.status_code == 403
    assert "stolen" not in page
    assert "<strong>fair</strong> $a&lt;b$" in page
    assert "<th>shown</th>" in page
    assert '<input class="score' in page
    with campus.student("carol") as carol:
        carol.solve("hostile", BOMB)
        carol.submit("hostile")
    campus.nbgrader("ps131", "collect", "hostile", "--update")
    campus.course("autograde", "ps131", "hostile")
    # These machines have no memory controller, so LimitDATA= ends it, and no OOM killer.
    assert "MemoryError" in campus.machine.read(f"{place}/carol/hostile/work.ipynb")
    assert campus.grades("ps131")["bob", "hostile"]["score"] == "3.0"
    assert kernels(campus) == []


def kernels(campus: Campus) -> Sequence[str]:
    pattern = "littlest-hub.courses-kernels-ps131-*.service"
    listed = campus.machine.systemctl("list-units", "--plain", "--no-legend", pattern)
    return listed.stdout.splitlines()


def test_who_drops_out_loses_access_and_who_is_added_in_the_formgrader_gets_it(
    campus: Campus,
) -> None:
    campus.create("math", "username\nbob\ncarol\n")
    campus.machine.put("/root/math.csv", "username\nbob\n")
    said = campus.course("roster", "math", "/root/math.csv").stdout
    assert "dropped out: carol" in said
    with campus.student("carol") as carol:
        assert "math" not in carol.shell(f"ls {EXCHANGE}").split()
    campus.nbgrader("math", "db", "student", "add", "erin")
    campus.nbgrader("math", "db", "student", "add", "carol")
    campus.machine.systemctl("start", "littlest-hub.courses-rosters.service")
    shown = json.loads(campus.course("show", "math", "--json").stdout)
    assert [each["login"] for each in shown["students"]] == ["bob", "erin"]
    assert shown["former"] == ["carol"]
    with campus.student("erin") as erin:
        assert erin.shell(f"ls {EXCHANGE}").split() == ["math"]


def test_an_archived_course_is_seen_by_nobody_and_a_deleted_one_leaves_nothing(
    campus: Campus,
) -> None:
    before = campus.hub.snapshot()
    campus.create("spring9", "username\nbob\n")
    campus.course("archive", "spring9")
    with campus.student("bob") as bob:
        assert "spring9" not in bob.shell(f"ls {EXCHANGE}").split()
    assert campus.course("nbgrader", "spring9", "--", "list", check=False).returncode == 1
    campus.course("reopen", "spring9")
    refused = campus.course("delete", "spring9", check=False)
    assert "Nothing was changed" in refused.stderr
    campus.course("delete", "spring9", "--yes")
    assert campus.left_of("spring9") == ""
    after = campus.hub.snapshot()
    assert {each for each in after if "spring9" in each} == set()
    assert {each for each in before if each not in after} == set()


def test_a_wrong_roster_or_name_changes_nothing(campus: Campus) -> None:
    campus.machine.put("/root/wrong.csv", "username\nbob\n../x\n")
    before = campus.course("list", "--json").stdout
    options = ("--instructors=alice", "--roster=/root/wrong.csv")
    refused = campus.course("create", "wrong", *options, check=False)
    assert "line 3, column 'username': '../x' is no login" in refused.stderr
    refused = campus.course("create", "ps131", "--instructors=alice", check=False)
    assert "there is a course ps131 already" in refused.stderr
    assert campus.course("list", "--json").stdout == before
    assert campus.left_of("wrong") == ""


def test_a_course_whose_making_is_killed_is_there_whole_or_not_at_all(campus: Campus) -> None:
    random.seed(int(os.environ.get("SEED", "0")))
    command = [campus.hub.path("hub/bin/littlest-hub"), "course", "create", "killed"]
    for _ in range(KILLS):
        after_s = random.uniform(0.2, 6)
        making = subprocess.Popen(
            campus.machine.enter([*command, "--instructors=alice"]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            making.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(making.pid, signal.SIGKILL)
            making.wait()
        began = time.monotonic()
        eventually(lambda: campus.course("tidy").returncode == 0, 60, "the lock to be free")
        assert time.monotonic() - began < 60
        is_there = "killed" in campus.course("list").stdout
        if is_there:
            campus.course("nbgrader", "killed", "--", "--version")
            campus.course("delete", "killed", "--yes")
        assert campus.left_of("killed") == ""
    with campus.student("bob") as bob:
        assert "ps131" in bob.shell(f"ls {EXCHANGE}").split()


LOGIN = f"""\
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {PASSWORD!r}
"""


def test_students_may_have_accounts_and_the_environment_of_the_class_stack(
    installer: Path, tmp_path: Path
) -> None:
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, installer)
        hub.write_fragment("41-login.py", LOGIN)
        command = [hub.path("hub/bin/littlest-hub"), "enable", "class", "--yes"]
        machine.run([*command, "--set", "login=other"])
        campus = Campus.enabled(hub, tmp_path)
        campus.create("ps131", "username\nzoe\n", "yves")
        campus.release("ps131", "ps1")
        with campus.student("zoe") as zoe:
            assert zoe.shell("id --user --name").strip() == "jupyter-zoe"
            zoe.fetch("ps1")
            zoe.solve("ps1", RIGHT + "\nimport sys; print('in', sys.prefix)")
            assert "Success!" in zoe.shell("nbgrader validate ps131/ps1/work.ipynb")
            assert "Submitted as" in zoe.submit("ps1")
        campus.nbgrader("ps131", "collect", "ps1")
        campus.course("autograde", "ps131", "ps1")
        # The login, and not the account, is in the gradebook.
        assert campus.grades("ps131")["zoe", "ps1"]["score"] == "3.0"
        graded = machine.read(f"{COURSES}/ps131/autograded/zoe/ps1/work.ipynb")
        assert f"in {hub.path('environments')}" in graded
