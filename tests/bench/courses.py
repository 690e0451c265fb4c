"""Measure an assignment of a course with 220 students (`make bench-courses`).

The roster is read. Each student logs in, starts a server, fetches the assignment, solves it and
hands it in, with the requests of JupyterLab's page. Then all submissions are collected, graded and
handed back. Some are wrong, some never end, some eat memory, and some end their kernel.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.bench import rounds
from tests.bench.figures import OURS
from tests.bench.sides import add_accounts
from tests.bench.usage import memory_mib
from tests.client import Person
from tests.courses import COURSES, EXCHANGE, PASSWORD, Campus
from tests.hub import Hub
from tests.machine import Machine

T = TypeVar("T")

COURSE, ASSIGNMENT = "ps131", "ps1"
TEACHER = "alice"
RIGHT = "def square(x): return x * x"
WRONG = "def square(x): return 0"
ENDLESS = "def square(x):\n    while True: pass"
BOMB = "def square(x):\n    a = []\n    while True: a.append(b'x' * (1 << 26))"
DEADLY = "import os\ndef square(x): os._exit(0)"
POINTS = 3
"""Points of a right solution; the text is for somebody to grade."""
READERS = 10
"""Every tenth student fetches the feedback."""
SAMPLES_S = 2
PATIENCE_S = 120
_PATIENCE_S = 3600
"""Time limit of a step of the course."""
UNITS = "littlest-hub.courses-*"
TITLES = {
    "created_s": "course made, with its roster, s",
    "booked_s": "the roster in the gradebook, s",
    "released_s": "assignment generated and handed out, s",
    "handed_in_s": "first login to the last submission, s",
    "student_s": "a student's login to the submission, median, s",
    "longest_s": "the same, the longest, s",
    "collected_s": "submissions collected, s",
    "graded_s": "submissions graded, s",
    "grading_mib": "memory of grading at most, MiB",
    "again_s": "the same command with nothing to grade, s",
    "list_s": "the formgrader's list of submissions, s",
    "grades_s": "grades as CSV, s",
    "feedback_s": "feedback made and handed out, s",
    "unsent": "students who could not hand in",
    "uncollected": "submissions that were not collected",
    "wrong": "submissions without the grade that they deserve",
    "unpublished": "pages of feedback that are missing",
    "unread": "readers who could not fetch their feedback",
    "unfinished": "rounds that ended early",
}
NONE = ("unsent", "uncollected", "wrong", "unpublished", "unread", "unfinished")
"""Figures that must be 0."""


def solution(place: int) -> str:
    """Return what the student at a place of the roster hands in."""
    if place % 50 == 10:
        return ENDLESS
    if place % 50 == 15:
        return BOMB
    if place % 50 == 18:
        return DEADLY
    return WRONG if place % 5 == 1 else RIGHT


def score(place: int) -> float:
    """Return the points that it deserves."""
    return POINTS if solution(place) == RIGHT else 0


def roster(names: Sequence[str]) -> str:
    """Return a roster as CSV."""
    lines = [f"{name},First {name},Last,{name}@example.org" for name in names]
    return "\n".join(["username,First name,Last name,Email", *lines, ""])


@dataclass
class Student:
    """One student, and how they got on."""

    name: str
    solution: str = field(repr=False)
    seconds: float = 0
    """From the login until the assignment is handed in."""
    failure: str = ""

    def hand_in(self, url: str) -> None:
        """Fetch the assignment, solve it, and hand it in."""
        begun = time.monotonic()
        with self._at_work(url) as person:
            _act(person, "fetch")
            file = f"/user/{self.name}/api/contents/{COURSE}/{ASSIGNMENT}/work.ipynb"
            model = person.browser.get(file).raise_for_status().json()
            model["content"]["cells"][0]["source"] = self.solution
            model["content"]["cells"][2]["source"] = f"{self.name} says why."
            _request(person, "PUT", file, model)
            listed = _act(person, "submit")
            if not any(each["status"] == "submitted" for each in listed["value"]):
                raise ValueError(f"nothing is handed in: {str(listed)[-300:]}")
            self.seconds = time.monotonic() - begun

    def read_feedback(self, url: str) -> None:
        """Fetch the feedback, and find one's own text in it."""
        with self._at_work(url) as person:
            listed = _act(person, "fetch_feedback")
            (own,) = [each for each in listed["value"] if each["status"] == "submitted"]
            (last,) = own["submissions"]
            page = f"{last['local_feedback_path']}/work.html"
            text = person.browser.get(f"/user/{self.name}/files/{page}").raise_for_status().text
            if f"{self.name} says why." not in text:
                raise ValueError("the page of feedback is another one")

    @contextlib.contextmanager
    def _at_work(self, url: str) -> Iterator[Person]:
        """Log in, start the server, and stop it at the end; note why it failed."""
        try:
            with Person(url, self.name, PASSWORD, timeout_s=PATIENCE_S) as person:
                person.log_in()
                person.start_server(timeout_s=PATIENCE_S)
                try:
                    yield person
                finally:
                    person.stop_server()
        except rounds.FAILURES as error:
            self.failure = f"{type(error).__name__}: {error}"


def _act(person: Person, action: str) -> Any:
    """Press a button of nbgrader's page Assignment List, and return the list that it shows."""
    path = f"/user/{person.name}/assignments/{action}"
    listed = _request(person, "POST", path, {"course_id": COURSE, "assignment_id": ASSIGNMENT})
    if not listed["success"]:
        raise ValueError(f"{action}: {str(listed)[-300:]}")
    return listed


def _request(person: Person, method: str, path: str, body: object) -> Any:
    cookies = person.browser.cookies.jar
    own = f"/user/{person.name}/"
    token = next((e.value for e in cookies if (e.name, e.path) == ("_xsrf", own)), None)
    headers = {"X-XSRFToken": token or ""}
    answer = person.browser.request(method, path, json=body, headers=headers)
    return answer.raise_for_status().json()


class Term:
    """A course, and the figures of one assignment."""

    def __init__(self, campus: Campus, names: Sequence[str], at_a_time: int) -> None:
        self.campus, self.names, self._at_a_time = campus, names, at_a_time
        self.students = [Student(name, solution(place)) for place, name in enumerate(names)]
        self.figures: dict[str, float] = {}

    def measure(self) -> None:
        """Measure everything, from the roster to feedback."""
        campus = self.campus
        self._timed("created_s", lambda: campus.create(COURSE, roster(self.names), TEACHER))
        rosters = "littlest-hub.courses-rosters.service"
        self._timed("booked_s", lambda: campus.machine.systemctl("start", rosters))
        self._timed("released_s", lambda: campus.release(COURSE, ASSIGNMENT))
        self._timed("handed_in_s", lambda: self._all(self.students, Student.hand_in))
        times = [each.seconds for each in self.students if not each.failure]
        self.figures |= {
            "student_s": statistics.median(times) if times else float("nan"),
            "longest_s": max(times, default=float("nan")),
            "unsent": sum(bool(each.failure) for each in self.students),
        }
        self._timed("collected_s", lambda: campus.nbgrader(COURSE, "collect", ASSIGNMENT))
        submitted = self._count(f"ls -d {COURSES}/{COURSE}/submitted/*/{ASSIGNMENT}")
        self.figures["uncollected"] = len(self.names) - submitted
        self._grade()
        self._hand_back()

    def _grade(self) -> None:
        campus = self.campus
        with _highest(lambda: memory_mib(campus.machine, UNITS)) as samples:
            words = ("autograde", COURSE, ASSIGNMENT)
            said = self._timed("graded_s", lambda: campus.course(*words, check=False))
        self.figures["grading_mib"] = max(samples)
        rounds.say(f"autograde: {said.returncode}: {(said.stdout + said.stderr)[-300:]}")
        self._timed("again_s", lambda: campus.course(*words))
        with campus.instructor(COURSE, TEACHER) as teacher:
            path = f"submissions/{ASSIGNMENT}"
            listed = self._timed("list_s", lambda: teacher.ask("GET", path))
        if len(listed) != len(self.names):
            rounds.say(f"the formgrader lists {len(listed)} submissions")
        grades = self._timed("grades_s", lambda: campus.grades(COURSE))
        wrong = {
            name: row and row["score"]
            for place, name in enumerate(self.names)
            if not (row := grades.get((name, ASSIGNMENT)))
            or row["score"] != str(float(score(place)))
        }
        if wrong:
            rounds.say(f"wrong grades: {wrong}")
        self.figures["wrong"] = len(wrong)

    def _hand_back(self) -> None:
        campus = self.campus
        words = ("feedback", COURSE, ASSIGNMENT, "--unfinished")
        self._timed("feedback_s", lambda: campus.course(*words))
        published = self._count(f"ls {EXCHANGE}/{COURSE}/feedback")
        self.figures["unpublished"] = len(self.names) - published
        readers = [each for each in self.students if not each.failure][::READERS]
        self._all(readers, Student.read_feedback)
        self.figures["unread"] = sum(bool(each.failure) for each in readers)

    def _all(self, students: Sequence[Student], work: Callable[[Student, str], None]) -> None:
        with ThreadPoolExecutor(self._at_a_time) as pool:
            list(pool.map(lambda each: work(each, self.campus.hub.url), students))
        for each in students:
            if each.failure:
                rounds.say(f"{each.name}: {each.failure[:300]}")

    def _timed(self, name: str, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        result = work()
        self.figures[name] = time.monotonic() - begun
        rounds.say(f"{TITLES[name]}: {self.figures[name]:.1f}")
        return result

    def _count(self, listing: str) -> int:
        return len(self.campus.machine.run(["sh", "-c", listing], check=False).stdout.splitlines())


@contextlib.contextmanager
def _highest(measure: Callable[[], float]) -> Iterator[list[float]]:
    """Measure every few seconds until the block ends, and yield the list of what was measured."""
    samples, is_over = [measure()], threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLES_S):
            samples.append(measure())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def turn(options: argparse.Namespace, installer: Path, packages: Path) -> rounds.Figures:
    """Set up a machine, and return its figures; if something fails, those that it has."""
    names = [f"student{number:03}" for number in range(options.students)]
    with Machine("bookworm") as machine:
        machine.patience_s = _PATIENCE_S
        hub = Hub.install(machine, installer)
        campus = Campus.enabled(hub, packages, people=(TEACHER,))
        add_accounts(machine, names)
        lines = "".join(f"{name}:{PASSWORD}\n" for name in names)
        machine.run(["chpasswd"], input=lines)
        term = Term(campus, names, options.at_a_time)
        try:
            term.measure()
        except rounds.FAILURES as error:
            rounds.say(f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}")
        term.figures["unfinished"] = int("unread" not in term.figures)
        return term.figures


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = rounds.parser(__doc__, "courses", 1, "bench-courses.json")
    add = made.add_argument
    add("--students", type=int, default=220, metavar="N", help="how many (%(default)s)")
    add(
        "--at-a-time",
        type=int,
        default=4,
        metavar="N",
        help="how many students work at the same time (%(default)s)",
    )
    return made


def main() -> int:
    """Measure, print, and write the figures; return 1 if anything failed."""
    options = parser().parse_args()
    installer = rounds.begin(options)
    with tempfile.TemporaryDirectory() as packages:
        found = rounds.take_turns(
            options, [OURS], lambda _: turn(options, installer, Path(packages))
        )
    print(rounds.table(f"a course of {options.students}", TITLES, found))
    return int(any(each.get(name) for each in found[OURS] for name in NONE))


if __name__ == "__main__":
    sys.exit(main())
