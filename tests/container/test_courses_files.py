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
from pathlib import Path

import httpx
import pytest

from tests.client import Person
from tests.courses import ASSIGNMENT, COURSES, EXCHANGE, PASSWORD, ROSTER, Campus, Instructor
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


@pytest.fixture(scope="module")
def campus(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    """A hub with the course ps131, in which bob and carol have handed in ps1; it has git."""
    with Machine("bookworm", packages=("git",)) as machine:
        hub = Hub.install(machine, installer)
        campus = Campus.enabled(hub, tmp_path_factory.mktemp("courses"))
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
    campus.nbgrader(name, "release_assignment", "ps1")
    with campus.student("bob") as bob:
        assert "moved ps1" in bob.shell("nbgrader list")
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
    released = f"{EXCHANGE}/ps131/outbound/many"

    def look() -> None:
        if campus.machine.run(["test", "-e", released], check=False).returncode == 0:
            assert same(campus, f"{LAST}/release/many", released)

    words = ("nbgrader", "ps131", "--", "release_assignment", "many")
    assert killed_at_random_moments(campus, words, f"rm -rf {released}", look)
    assert same(campus, f"{LAST}/release/many", released)
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


def test_a_formgrader_that_is_killed_at_work_loses_nothing_and_does_it_when_asked_again(
    campus: Campus,
) -> None:
    random.seed(int(os.environ.get("SEED", "0")))
    generate_many(campus)
    many = f"{LAST}/release/many"
    released, submitted = f"{EXCHANGE}/ps131/outbound/many", f"{LAST}/submitted/bob/ps1"
    listing = f"ls -d {EXCHANGE}/ps131/inbound/bob+ps1+*"
    sent = campus.machine.run(["sh", "-c", listing]).stdout.splitlines()[-1]
    # The collection of one notebook would be over before anything can kill it.
    more = 'cd "$0"; for i in $(seq 800); do echo $i >$i.csv; done; chown --reference=. *.csv'
    campus.machine.run(["sh", "-ec", more, sent])
    buttons = {
        "assignment/many/release": (f"rm -rf {released}", many, released),
        "assignment/ps1/collect": (f"rm -rf {submitted}", sent, submitted),
        "submission/ps1/bob/autograde": ("true", submitted, submitted),
    }
    with campus.hub.logged_in("alice", PASSWORD, timeout_s=120) as alice:
        for button, (prepare, original, copy) in buttons.items():
            assert pressed_and_killed(campus, alice, button, prepare, original, copy)
    assert {login for login, _ in campus.grades("ps131")} == {"bob", "carol"}
    campus.course("autograde", "ps131", "ps1")
    assert campus.grades("ps131")["bob", "ps1"]["score"] == "3.0"
    assert "0 of 2 submissions" in campus.course("autograde", "ps131", "ps1").stdout
    kernels = ["list-units", "--plain", "--no-legend", "littlest-hub.courses-kernels-ps131-*"]
    eventually(lambda: campus.machine.systemctl(*kernels).stdout == "", 30, "no kernel goes on")


def pressed_and_killed(
    campus: Campus, person: Person, button: str, prepare: str, original: str, copy: str
) -> int:
    """Press a button of the formgrader KILLS times, and each time kill it at a random moment.

    Args:
        campus: the machine.
        person: an instructor, who is logged in.
        button: what it asks the formgrader's API for.
        prepare: a shell command before each run.
        original: a directory.
        copy: another one, of which the button makes a copy, whole or not at all.

    Returns:
        How many were killed before they had ended.
    """
    number = 0
    campus.machine.run(["sh", "-c", prepare])
    formgrader = Instructor(person, "ps131")
    began = time.monotonic()
    formgrader.press(button)
    took_s = time.monotonic() - began
    for _ in range(KILLS):
        campus.machine.run(["sh", "-c", prepare])
        with ThreadPoolExecutor(1) as pool:
            pressed = pool.submit(formgrader.press, button)
            if wait([pressed], timeout=random.uniform(0, took_s)).done:
                pressed.result()
            else:
                campus.machine.systemctl("kill", "--signal=KILL", FORMGRADER)
                # The proxy answers for a formgrader that was killed.
                failure = pressed.exception()
                assert failure is None or isinstance(failure, (AssertionError, httpx.HTTPError))
                number += failure is not None
        if campus.machine.run(["test", "-e", copy], check=False).returncode == 0:
            assert same(campus, original, copy)
        # systemd starts it again for the next visitor.
        formgrader = Instructor(person, "ps131")
        done = formgrader.ask("POST", button)
        assert done["success"] or "released already" in str(done), done
        assert same(campus, original, copy)
    return number


def test_who_interrupts_grading_leaves_nothing_that_goes_on(campus: Campus) -> None:
    command = [campus.hub.path("hub/bin/littlest-hub"), "course", "autograde", "ps131", "ps1"]
    interrupted = ["timeout", "--signal=INT", "2", *command, "--again"]
    assert campus.machine.run(interrupted, check=False).returncode == 124
    listing = ["list-units", "--plain", "--no-legend", GRADER_UNITS]
    assert campus.machine.systemctl(*listing).stdout == ""
    campus.course("autograde", "ps131", "ps1", "--again")
    assert campus.grades("ps131")["bob", "ps1"]["score"] == "3.0"
