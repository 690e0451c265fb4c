"""The files of courses: from a repository, from last term, exported, and kept through kills."""

import csv
import io
import json
import os
import random
import sqlite3
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.client import Person
from tests.courses import (
    ASSIGNMENT,
    COURSES,
    EXCHANGE,
    PASSWORD,
    PEOPLE,
    ROSTER,
    Campus,
    Instructor,
    send,
    settled,
)
from tests.eventually import eventually
from tests.git_server import HOST, Repository
from tests.hub import Hub
from tests.launch_machine import serving
from tests.machine import Machine

# `make test-courses` runs all of them.
pytestmark = pytest.mark.long

KILLS = int(os.environ.get("LITTLEST_HUB_KILLS", "4"))
RIGHT = "def square(x): return x * x"
GRADER_UNITS = "littlest-hub.courses-grader-ps131_*.service"
FORMGRADER = "littlest-hub.courses-formgrader-ps131.service"
LAST = f"{COURSES}/ps131"
RELEASED = f"{EXCHANGE}/ps131/outbound/many"
FEEDBACK = f"{EXCHANGE}/ps131/feedback"


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A hub with the course ps131, in which bob and carol have handed in ps1; it has git."""
    with Machine("bookworm", packages=("git",)) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        directory = tmp_path_factory.mktemp("courses")
        campus = Campus.enabled(hub, directory, people=("boss", *PEOPLE))
        campus.create("ps131", ROSTER)
        campus.release("ps131", "ps1")
        for name, solution in (("bob", RIGHT), ("carol", "def square(x): return 0")):
            with campus.student(name) as student:
                student.fetch("ps1")
                student.solve("ps1", solution)
                assert "Submitted as" in student.submit("ps1")
        campus.nbgrader("ps131", "collect", "ps1")
        campus.course("autograde", "ps131", "ps1")
        yield campus


@pytest.fixture(scope="module")
def repositories(
    campus: Campus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The address of a git server that the machine trusts, and the directory of repositories."""
    directory = tmp_path_factory.mktemp("git") / "git"
    machine = campus.machine
    assert isinstance(machine, Machine)
    with serving(machine, "tests.git_server", str(directory), "127.0.0.1") as port:
        machine.copy(directory / "ca.pem", "/root/git-ca.pem")
        trusted = "/etc/ssl/certs/ca-certificates.crt"
        machine.run(["sh", "-c", f"mkdir -p /etc/ssl/certs; cat /root/git-ca.pem >>{trusted}"])
        machine.run(["sh", "-c", f"echo 127.0.0.1 {HOST} >>/etc/hosts"])
        yield f"https://{HOST}:{port}/", directory / "repositories"


def files_of(campus: Campus, directory: str) -> list[str]:
    """Return owners, permissions and paths of the files below a directory."""
    listed = campus.machine.run(["find", directory, "-not", "-type", "d", "-printf", "%u %m %P\n"])
    return sorted(listed.stdout.splitlines())


def test_a_course_takes_its_sources_from_a_repository(
    campus: Campus, repositories: tuple[str, Path]
) -> None:
    url, directory = repositories
    Repository(directory / "course").commit(
        {
            "README.md": "for people",
            "source/ps1/work.ipynb": json.dumps(ASSIGNMENT),
            "120000 source/ps1/stolen": "/etc/passwd",
            "source/.gitattributes": "* filter=evil",
        }
    )
    options = ("--instructors=alice", f"--repo={url}course")
    made = campus.course("create", "fetched", *options)
    assert "ps1/stolen is left out: it is a link" in made.stderr
    assert files_of(campus, f"{COURSES}/fetched/source") == [
        "grader-fetched 600 .gitattributes",
        "grader-fetched 600 ps1/work.ipynb",
    ]
    campus.nbgrader("fetched", "generate_assignment", "ps1")
    campus.nbgrader("fetched", "release_assignment", "ps1")
    assert files_of(campus, f"{EXCHANGE}/fetched/outbound") == ["grader-fetched 644 ps1/work.ipynb"]

    # On the page of courses.
    fields = {"course": "clicked", "instructors": "alice"}
    with campus.hub.logged_in("boss", PASSWORD) as boss:
        send(boss, "create", repo=f"{url}missing", **fields)
        assert f"Nothing was changed: {url}missing cannot be fetched" in settled(boss)
        assert campus.left_of("clicked") == ""
        send(boss, "create", repo=f"{url}course", **fields)
        said = settled(boss)
    assert "clicked is ready, with 0 students. 2 files of the commit" in said
    assert "ps1/stolen is left out: it is a link." in said
    assert files_of(campus, f"{COURSES}/clicked/source") == [
        "grader-clicked 600 .gitattributes",
        "grader-clicked 600 ps1/work.ipynb",
    ]


@pytest.mark.parametrize(
    ("repository", "why"),
    [
        ("{url}missing", "cannot be fetched: git fetch"),
        ("{url}empty", "cannot be fetched: git fetch"),
        ("http://example.org/a.git", "is no address of a repository"),
        ("/srv", "is no address of a repository"),
    ],
)
def test_no_course_is_made_of_what_cannot_be_fetched(
    campus: Campus, repositories: tuple[str, Path], repository: str, why: str
) -> None:
    url, directory = repositories
    if repository.endswith("empty"):
        Repository(directory / "empty")
    options = ("--instructors=alice", f"--repo={repository.format(url=url)}")
    refused = campus.course("create", "refused", *options, check=False)
    assert refused.returncode == 1
    assert why in refused.stderr
    assert "refused" not in campus.course("list").stdout
    assert not campus.machine.run(["find", COURSES, EXCHANGE, "-name", "refused"]).stdout


def test_a_copy_has_the_sources_of_an_archived_course_and_none_of_its_people(
    campus: Campus,
) -> None:
    campus.create("autumn", ROSTER)
    campus.release("autumn", "ps1")
    campus.course("archive", "autumn")
    made = campus.course("copy", "autumn", "spring", "--instructors=erin")
    assert "1 files copied" in made.stderr
    shown = json.loads(campus.course("show", "spring", "--json").stdout)
    assert (shown["instructors"], shown["students"], shown["former"]) == (["erin"], [], [])
    assert files_of(campus, f"{COURSES}/spring") == ["grader-spring 600 source/ps1/work.ipynb"]
    refused = campus.course("copy", "missing", "other", "--instructors=erin", check=False)
    assert "there is no course 'missing'" in refused.stderr
    refused = campus.course("copy", "spring", "autumn", "--instructors=erin", check=False)
    assert "there is a course autumn already" in refused.stderr


def test_an_export_has_the_course_and_is_never_there_in_part(campus: Campus) -> None:
    file = "/root/ps131.tar.gz"
    campus.course("export", "ps131", file)
    assert campus.machine.run(["stat", "-c%U %a", file]).stdout.strip() == "root 600"
    data = subprocess.run(
        campus.machine.enter(["cat", file]), stdout=subprocess.PIPE, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        contents = {each.name: found.read() for each in tar if (found := tar.extractfile(each))}
    submitted = campus.machine.read(f"{LAST}/submitted/bob/ps1/work.ipynb")
    assert contents["ps131/submitted/bob/ps1/work.ipynb"].decode() == submitted
    assert "ps131/source/ps1/work.ipynb" in contents
    rows = csv.DictReader(io.StringIO(contents["ps131/grades.csv"].decode()))
    assert {row["login"]: row["score"] for row in rows} == {"bob": "3.0", "carol": "0.0"}
    with sqlite3.connect(":memory:") as book:
        book.deserialize(contents["ps131/gradebook.db"])
        assert book.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert book.execute("SELECT count(*) FROM student").fetchone() == (2,)
    people = json.loads(contents["ps131/course.json"])["students"]
    assert {each["login"] for each in people} == {"bob", "carol"}
    refused = campus.course("export", "ps131", file, check=False)
    assert f"{file} exists" in refused.stderr
    random.seed(int(os.environ.get("SEED", "0")))
    command = [campus.hub.path("hub/bin/littlest-hub"), "course", "export", "ps131"]
    killed = f"{command[0]} course export ps131 /root/killed.tar.gz & sleep $0; kill -9 $!; wait"
    for _ in range(KILLS):
        campus.machine.run(["sh", "-c", killed, str(random.uniform(0.3, 4))], check=False)
        listed = campus.machine.run(["sh", "-c", "ls /root/killed.tar.gz || true"]).stdout
        if listed:
            campus.machine.run(["gzip", "--test", "/root/killed.tar.gz"])
            campus.machine.run(["rm", "/root/killed.tar.gz"])
    campus.course("export", "ps131", "/root/killed.tar.gz")
    campus.machine.run(["rm", "/root/killed.tar.gz", file])


def test_an_export_is_imported_with_people_files_and_grades(campus: Campus) -> None:
    file, name, home = "/root/moved.tar.gz", "moved", f"{COURSES}/moved"
    campus.create(name, ROSTER)
    campus.release(name, "ps1")
    copy = f"mkdir {home}/submitted; cp -r {LAST}/submitted/bob {home}/submitted"
    campus.machine.run(["sh", "-ec", f"{copy}; chown -R grader-{name}: {home}/submitted"])
    campus.course("autograde", name, "ps1")
    campus.course("export", name, file)
    before, grades = files_of(campus, home), campus.grades(name)
    assert grades["bob", "ps1"]["score"] == "3.0"
    people = json.loads(campus.course("show", name, "--json").stdout)["students"]
    refused = campus.course("import", file, check=False)
    assert "there is a course moved already" in refused.stderr
    campus.course("delete", name, "--yes")
    campus.machine.run(["sh", "-c", f"head -c -9 {file} >/root/cut.tar.gz"])
    for wrong in ("/root/cut.tar.gz", "/etc/passwd", "/root/none.tar.gz"):
        refused = campus.course("import", wrong, check=False)
        assert f"{wrong} " in refused.stderr
        assert campus.left_of(name) == ""
    assert "moved is ready, with 2 students." in campus.course("import", file).stdout
    after = files_of(campus, home)
    names = {each.split()[2] for each in before} - {".autograde.lock"}
    assert {each.split()[2] for each in after} == names
    assert {each.split()[0] for each in after} == {f"grader-{name}"}
    assert campus.grades(name) == grades
    assert json.loads(campus.course("show", name, "--json").stdout)["students"] == people
    with campus.student("bob") as bob:
        assert "moved ps1" in bob.shell("nbgrader list")
        assert "Fetched as: moved ps1" in bob.shell("nbgrader fetch_assignment ps1 --course moved")
    assert "0 of 1 submissions" in campus.course("autograde", name, "ps1").stdout
    campus.course("delete", name, "--yes")
    campus.machine.run(["rm", file, "/root/cut.tar.gz"])


def killed_at_random_moments(
    campus: Campus, words: tuple[str, ...], prepare: str, look: Callable[[], None]
) -> int:
    """Run a command of a course KILLS times, and each time kill what it runs at a random moment.

    Args:
        campus: the machine.
        words: of the command.
        prepare: shell commands before each run.
        look: examines what is there after a kill, and after the next run.

    Returns:
        How many runs were killed before they had ended.
    """
    random.seed(int(os.environ.get("SEED", "0")))
    command = [campus.hub.path("hub/bin/littlest-hub"), "course", *words]
    number = 0
    campus.machine.run(["sh", "-ec", prepare])
    began = time.monotonic()
    campus.course(*words)
    took_s = time.monotonic() - began
    for _ in range(KILLS):
        campus.machine.run(["sh", "-ec", prepare])
        running = subprocess.Popen(
            campus.machine.enter(command),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, said = running.communicate(timeout=random.uniform(0.1, took_s))
        except subprocess.TimeoutExpired:
            campus.machine.run(["systemctl", "kill", "--signal=KILL", GRADER_UNITS], check=False)
            _, said = running.communicate(timeout=120)
        if running.returncode:
            assert "was killed before it ended; no submission and no grade is lost" in said
            assert "Run the same command again" in said
            number += 1
        look()
        again = campus.course(*words, check=False)
        assert again.returncode == 0 or "released already" in again.stdout + again.stderr
        look()
    return number


def same(campus: Campus, one: str, other: str) -> bool:
    """Return whether two directories have the same files; times of submissions may differ."""
    command = ["diff", "--recursive", "--exclude=timestamp.txt", one, other]
    return campus.machine.run(command, check=False).returncode == 0


def generate_many(campus: Campus) -> None:
    """Make an assignment with many files, whose release takes a moment."""
    many = f"{LAST}/source/many"
    script = (
        f"mkdir -p {many}; cp {LAST}/source/ps1/work.ipynb {many};"
        f" for i in $(seq 800); do echo $i >{many}/$i.csv; done; chown -R grader-ps131: {many}"
    )
    campus.machine.run(["sh", "-ec", script])
    campus.nbgrader("ps131", "generate_assignment", "many")


def test_an_assignment_whose_release_is_killed_is_seen_whole_or_not_at_all(campus: Campus) -> None:
    generate_many(campus)

    def look() -> None:
        if campus.machine.run(["test", "-e", RELEASED], check=False).returncode == 0:
            assert same(campus, f"{LAST}/release/many", RELEASED)

    words = ("nbgrader", "ps131", "--", "release_assignment", "many")
    assert killed_at_random_moments(campus, words, f"rm -rf {RELEASED}", look)
    assert same(campus, f"{LAST}/release/many", RELEASED)
    hidden = campus.machine.run(["find", f"{EXCHANGE}/ps131/outbound", "-name", ".*"]).stdout
    assert hidden == ""


def test_no_submission_is_lost_if_its_collection_is_killed(campus: Campus) -> None:
    inbound = f"{EXCHANGE}/ps131/inbound"
    found = campus.machine.run(["find", inbound, "-mindepth", "1", "-maxdepth", "1"]).stdout
    sent = {Path(each).name.partition("+")[0]: each for each in found.splitlines()}
    assert sent.keys() == {"bob", "carol"}

    def look() -> None:
        for login, path in sent.items():
            place = f"{LAST}/submitted/{login}/ps1"
            if campus.machine.run(["test", "-e", place], check=False).returncode == 0:
                assert same(campus, path, place)

    words = ("nbgrader", "ps131", "--", "collect", "ps1")
    prepare = f"rm -rf {LAST}/submitted/*/ps1"
    assert killed_at_random_moments(campus, words, prepare, look)
    for login, path in sent.items():
        assert same(campus, path, f"{LAST}/submitted/{login}/ps1")
    assert campus.machine.run(["find", f"{LAST}/submitted", "-name", ".*.half"]).stdout == ""


def test_no_grade_is_lost_if_grading_is_killed_and_the_next_run_grades_the_rest(
    campus: Campus,
) -> None:
    def look() -> None:
        # Whatever was killed, the gradebook can be read, and has everybody.
        assert {login for login, _ in campus.grades("ps131")} == {"bob", "carol"}

    # A submission that was collected again counts as new.
    prepare = f"rm -rf {LAST}/autograded/*/ps1"
    assert killed_at_random_moments(campus, ("autograde", "ps131", "ps1"), prepare, look)
    grades = campus.grades("ps131")
    assert grades["bob", "ps1"]["score"] == "3.0"
    assert grades["carol", "ps1"]["score"] == "0.0"
    for login in ("bob", "carol"):
        graded = json.loads(campus.machine.read(f"{LAST}/autograded/{login}/ps1/work.ipynb"))
        assert any(cell.get("execution_count") for cell in graded["cells"])
    assert "0 of 2 submissions" in campus.course("autograde", "ps131", "ps1").stdout


def test_a_page_of_feedback_whose_release_is_killed_is_seen_whole_or_as_it_was(
    campus: Campus,
) -> None:
    released = f"{EXCHANGE}/ps131/feedback"
    words = ("feedback", "ps131", "ps1", "--unfinished")
    campus.course(*words)
    pages = campus.machine.run(["ls", released]).stdout.split()
    assert len(pages) == 2

    def look() -> None:
        broken = (
            f"cd {released}; for i in *.html; do tail -1 $i | grep -q '</html>' || echo $i; done"
        )
        assert campus.machine.run(["sh", "-c", broken]).stdout.strip() in ("", "*.html")

    assert killed_at_random_moments(campus, words, f"rm -f {released}/*", look)
    assert campus.machine.run(["ls", released]).stdout.split() == pages
    for login in ("bob", "carol"):
        made = f"{LAST}/feedback/{login}/ps1/work.html"
        same = f"for i in {released}/*; do cmp -s {made} $i && echo same; done; true"
        assert campus.machine.run(["sh", "-c", same]).stdout == "same\n"
    assert campus.machine.run(["find", released, "-name", ".*"]).stdout == ""


@dataclass(frozen=True)
class Button:
    """A button of the formgrader, and what it makes."""

    path: str
    """Its request to the formgrader's API."""
    units: str
    """A pattern of files and directories, each of which is made whole or not at all."""
    prepare: str = "true"
    """A shell command before each press."""
    is_quick: bool = False
    """Whether it may end each time before anything can kill it."""


BUTTONS = {
    "Generate": Button(
        "assignment/many/assign", f"{LAST}/release/many", f"rm -rf {LAST}/release/many"
    ),
    "Generate again": Button("assignment/many/assign", f"{LAST}/release/many"),
    "Release": Button("assignment/many/release", RELEASED, f"rm -rf {RELEASED}"),
    "Collect": Button(
        "assignment/ps1/collect", f"{LAST}/submitted/bob/ps1", f"rm -rf {LAST}/submitted/bob/ps1"
    ),
    "Autograde": Button("submission/ps1/bob/autograde", f"{LAST}/submitted/bob/ps1"),
    "Generate feedback": Button("assignment/ps1/generate_feedback", f"{LAST}/feedback/*/ps1"),
    "Release feedback": Button(
        "assignment/ps1/release_feedback",
        f"{FEEDBACK}/*.html",
        f"rm -f {FEEDBACK}/*.html",
        is_quick=True,
    ),
}
# Made by a press that was not killed.
REFERENCE = "/root/reference"
COMPARE = """
for each in $0; do
    if [ -e "$each" ]; then diff --recursive --exclude=timestamp.txt "$each" "$1$each" >&2; fi
done
"""
MISSING = """
cd "$1"
for each in .$0; do if [ ! -e "/$each" ]; then echo "$each"; fi; done
"""
IN_THE_BOOK = f"""
import sqlite3
book = sqlite3.connect("file:{LAST}/gradebook.db?mode=ro", uri=True)
assert book.execute("PRAGMA integrity_check").fetchone() == ("ok",)
for table in "base_cell", "grade", "submitted_assignment", "notebook":
    print(table, *book.execute(f"SELECT count(*) FROM {{table}}").fetchone())
"""


@pytest.fixture(scope="module")
def desk(campus: Campus) -> Iterator[Person]:
    """An instructor who has logged in, and enough work for each button to be killed at it."""
    random.seed(int(os.environ.get("SEED", "0")))
    generate_many(campus)
    listing = f"ls -d {EXCHANGE}/ps131/inbound/bob+ps1+*"
    sent = campus.machine.run(["sh", "-c", listing]).stdout.splitlines()[-1]
    # The collection of one notebook would be over before anything can kill it.
    more = 'cd "$0"; for i in $(seq 800); do echo $i >$i.csv; done; chown --reference=. *.csv'
    campus.machine.run(["sh", "-ec", more, sent])
    campus.course("feedback", "ps131", "ps1", "--unfinished")
    with campus.hub.logged_in("alice", PASSWORD, timeout_s=120) as alice:
        yield alice


@pytest.mark.parametrize("name", BUTTONS)
def test_a_formgrader_that_is_killed_at_work_loses_nothing_and_does_it_when_asked_again(
    campus: Campus, desk: Person, name: str
) -> None:
    button, number = BUTTONS[name], 0
    campus.machine.run(["sh", "-c", button.prepare])
    began = time.monotonic()
    Instructor(desk, "ps131").press(button.path)
    took_s = time.monotonic() - began
    keep = f"rm -rf {REFERENCE}; mkdir {REFERENCE}; cp -a --parents {button.units} {REFERENCE}"
    campus.machine.run(["sh", "-ec", keep])
    book = in_the_book(campus)
    for _ in range(KILLS):
        campus.machine.run(["sh", "-c", button.prepare])
        number += is_killed_at_work(campus, desk, button, random.uniform(0, took_s))
        assert in_the_book(campus) == book
        campus.machine.run(["sh", "-ec", COMPARE, button.units, REFERENCE])
        # systemd starts it again for the next visitor.
        done = Instructor(desk, "ps131").ask("POST", button.path)
        assert done["success"] or "released already" in str(done), done
        assert in_the_book(campus) == book
        campus.machine.run(["sh", "-ec", COMPARE, button.units, REFERENCE])
        left_out = campus.machine.run(["sh", "-ec", MISSING, button.units, REFERENCE]).stdout
        assert left_out == ""
    assert number or button.is_quick
    halves = ["find", LAST, EXCHANGE, "-name", ".*.half*", "-o", "-name", ".*.old"]
    assert campus.machine.run(halves).stdout == ""


def is_killed_at_work(campus: Campus, person: Person, button: Button, after_s: float) -> bool:
    """Press a button, and kill the formgrader; return whether that was before the end."""
    formgrader = Instructor(person, "ps131")
    with ThreadPoolExecutor(1) as pool:
        pressed = pool.submit(formgrader.press, button.path)
        if wait([pressed], timeout=after_s).done:
            pressed.result()
            return False
        campus.machine.systemctl("kill", "--signal=KILL", FORMGRADER)
        # The proxy answers for a formgrader that was killed.
        failure = pressed.exception()
        assert failure is None or isinstance(failure, (AssertionError, httpx.HTTPError))
        return failure is not None


def in_the_book(campus: Campus) -> str:
    """Return how many cells and grades the gradebook has."""
    return campus.machine.run([campus.hub.path("hub/bin/python3"), "-c", IN_THE_BOOK]).stdout


def test_after_all_kills_of_the_formgrader_the_grades_are_whole(
    campus: Campus, desk: Person
) -> None:
    campus.course("autograde", "ps131", "ps1")
    grades = campus.grades("ps131")
    assert {login for login, _ in grades} == {"bob", "carol"}
    assert grades["bob", "ps1"]["score"] == "3.0"
    assert "0 of 2 submissions" in campus.course("autograde", "ps131", "ps1").stdout
    kernels = ["list-units", "--plain", "--no-legend", "littlest-hub.courses-kernels-ps131-*"]
    eventually(lambda: campus.machine.systemctl(*kernels).stdout == "", 30, "no kernel goes on")


def test_who_interrupts_grading_leaves_nothing_that_goes_on(campus: Campus) -> None:
    command = [campus.hub.path("hub/bin/littlest-hub"), "course", "autograde", "ps131", "ps1"]
    interrupted = ["timeout", "--signal=INT", "2", *command, "--again"]
    assert campus.machine.run(interrupted, check=False).returncode == 124
    listing = ["list-units", "--plain", "--no-legend", GRADER_UNITS]
    assert campus.machine.systemctl(*listing).stdout == ""
    campus.course("autograde", "ps131", "ps1", "--again")
    assert campus.grades("ps131")["bob", "ps1"]["score"] == "3.0"
