"""Courses on a machine: people, an assignment, and what instructors and students do."""

import csv
import io
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from construct import bundle
from construct.builder import ROOT
from construct.cache import Cache
from tests.client import Kernel, Person, visible_text
from tests.eventually import eventually
from tests.hub import Hub

EXCHANGE = "/srv/littlest-hub-exchange"
COURSES = "/srv/littlest-hub-courses"
ROSTER = "username,First name,Last name,Email\nbob,Bob,B,bob@x.org\ncarol,=1+1,C,c@x.org\n"
PASSWORD = "a password of all"
PAGE = "/hub/courses"
PEOPLE = ("alice", "bob", "carol", "dave", "erin")


def cell(kind: str, source: str, name: str, **more: Any) -> dict[str, Any]:
    marks = {"grade_id": name, "schema_version": 3, "task": False, **more}
    extra: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    metadata = {"nbgrader": marks}
    return {"cell_type": kind, "id": name, "metadata": metadata, "source": source, **extra}


ASSIGNMENT = {
    "cells": [
        cell(
            "code",
            "def square(x):\n    ### BEGIN SOLUTION\n    return x * x\n    ### END SOLUTION",
            "square",
            **{"grade": False, "solution": True, "locked": False},
        ),
        cell(
            "code",
            "assert square(2) == 4\n### BEGIN HIDDEN TESTS\nassert square(7) == 49"
            "\n### END HIDDEN TESTS",
            "test",
            **{"grade": True, "solution": False, "locked": True, "points": 3},
        ),
        cell(
            "markdown",
            "Why?",
            "essay",
            **{"grade": True, "solution": True, "locked": False, "points": 2},
        ),
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class Campus:
    """A machine with the stack, and accounts."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.machine = hub, hub.machine

    @classmethod
    def enabled(cls, hub: Hub, directory: Path, people: Sequence[str] = PEOPLE) -> "Campus":
        """Enable the stack on a hub without a network, and make accounts.

        Args:
            hub: the hub.
            directory: for the bundle of packages.
            people: who get accounts.
        """
        packages = bundle.build(ROOT, bundle.find(ROOT, "courses"), directory, Cache())
        target = hub.machine.copy(packages, f"/srv/{packages.name}")
        command = hub.path("hub/bin/littlest-hub")
        hub.machine.run([command, "packages", "add", f"--from={target}"])
        hub.machine.run([command, "enable", "courses", "--yes"])
        for name in people:
            hub.machine.add_user(name, PASSWORD)
        return cls(hub)

    def course(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `littlest-hub course …` as root."""
        command = [self.hub.path("hub/bin/littlest-hub"), "course", *words]
        return self.machine.run(command, check=check)

    def create(self, name: str, roster: str, instructors: str = "alice") -> None:
        self.machine.put(f"/root/{name}.csv", roster)
        self.course("create", name, f"--instructors={instructors}", f"--roster=/root/{name}.csv")

    def nbgrader(self, name: str, *words: str) -> str:
        done = self.course("nbgrader", name, "--", *words)
        return done.stdout + done.stderr

    def release(self, name: str, assignment: str) -> None:
        """Put an assignment into a course, and hand it out."""
        place = f"{COURSES}/{name}/source/{assignment}"
        self.machine.run(["mkdir", "-p", place])
        self.machine.put(f"{place}/work.ipynb", json.dumps(ASSIGNMENT))
        self.machine.run(["chown", "-R", f"grader-{name}:", place])
        self.nbgrader(name, "generate_assignment", assignment)
        self.nbgrader(name, "release_assignment", assignment)

    def grades(self, name: str) -> dict[tuple[str, str], dict[str, str]]:
        rows = csv.DictReader(io.StringIO(self.course("grades", name).stdout))
        return {(row["login"], row["assignment"]): row for row in rows}

    def left_of(self, name: str) -> str:
        """Return what is left of a course on the machine."""
        script = (
            f"ls -d {COURSES}/{name} {EXCHANGE}/{name} /run/*-{name}*"
            f" /etc/systemd/system/*-{name}*;"
            f" getent passwd grader-{name}; getent group grader-{name};"
            f" systemctl list-units --all --plain --no-legend '*courses-*-{name}*'"
        )
        return self.machine.run(["sh", "-c", f"{{ {script}; }} 2>/dev/null || true"]).stdout

    @contextmanager
    def instructor(self, course: str, name: str = "alice") -> Iterator["Instructor"]:
        """Log somebody in to the formgrader of a course."""
        with self.hub.logged_in(name, PASSWORD, timeout_s=120) as person:
            yield Instructor(person, course)

    @contextmanager
    def student(self, name: str) -> Iterator["Student"]:
        with self.hub.logged_in(name, PASSWORD, timeout_s=60) as person:
            person.start_server()
            with person.open_kernel() as kernel:
                yield Student(person, kernel)


class Student:
    """A student at work."""

    def __init__(self, person: Person, kernel: Kernel) -> None:
        self.person, self.kernel = person, kernel

    def shell(self, command: str) -> str:
        """Run a command as in a terminal, and return what it prints."""
        code = (
            "import subprocess\n"
            f"print(subprocess.run({command!r}, shell=True, text=True, stdout=subprocess.PIPE,"
            " stderr=subprocess.STDOUT).stdout)"
        )
        return self.kernel.run(code, timeout_s=120)

    def fetch(self, assignment: str) -> str:
        return self.shell(f"nbgrader fetch_assignment {assignment} --course ps131")

    def solve(self, assignment: str, solution: str, text: str = "Because.") -> None:
        """Write a solution into the first cell, and a text into the last one."""
        self.kernel.run(
            "import json, pathlib\n"
            f"file = pathlib.Path.home() / 'ps131/{assignment}/work.ipynb'\n"
            "notebook = json.loads(file.read_text())\n"
            f"notebook['cells'][0]['source'] = {solution!r}\n"
            f"notebook['cells'][2]['source'] = {text!r}\n"
            "file.write_text(json.dumps(notebook))\n"
        )

    def submit(self, assignment: str) -> str:
        return self.shell(f"nbgrader submit {assignment} --course ps131")


class Instructor:
    """Somebody who grades in the formgrader, as its pages do."""

    def __init__(self, person: Person, course: str) -> None:
        self.person = person
        self._base = f"/services/course-{course}/"
        page = person.browser.get(f"{self._base}formgrader")
        assert page.status_code == 200, page.text[:300]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request as a page of the formgrader does; return the answer."""
        xsrf = [
            each.value
            for each in self.person.browser.cookies.jar
            if each.name == "_xsrf" and each.path == self._base
        ]
        answer = self.person.browser.request(
            method,
            f"{self._base}formgrader/api/{path}",
            json=body,
            headers={"X-XSRFToken": (xsrf or [""])[0] or ""},
        )
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:500]}"
        return answer.json()

    def press(self, path: str) -> str:
        """Press a button of the formgrader that succeeds; return what it reports."""
        done = self.ask("POST", path)
        assert done["success"], done
        return str(done.get("log", ""))

    def is_due(self, assignment: str, when: datetime) -> None:
        """Set a due date, in UTC."""
        date = {"duedate_notimezone": f"{when:%Y-%m-%dT%H:%M:%S}", "duedate_timezone": "+0000"}
        self.ask("PUT", f"assignment/{assignment}", date)

    def page_of(self, assignment: str, student: str) -> str:
        """Return the page on which a submission is graded."""
        path = f"formgrader/submissions/{self._submission(assignment, student)}/"
        answer = self.person.browser.get(f"{self._base}{path}")
        assert answer.status_code == 200, answer.text[:500]
        return answer.text

    def _submission(self, assignment: str, student: str) -> str:
        found = self.ask("GET", f"submitted_notebooks/{assignment}/work")
        (submission,) = [str(each["id"]) for each in found if each["student"] == student]
        return submission

    def grade(self, assignment: str, student: str, points: float) -> None:
        """Give points for the text of a student."""
        submission = self._submission(assignment, student)
        grades = self.ask("GET", f"grades?submission_id={submission}")
        (essay,) = [each for each in grades if each["name"] == "essay"]
        given = self.ask("PUT", f"grade/{essay['id']}", {**essay, "manual_score": points})
        assert given["manual_score"] == points


def send(person: Person, decision: str, *, roster: str = "", **fields: str) -> httpx.Response:
    """Send a form of the page, and return the page that follows."""
    page = person.browser.get(PAGE)
    found = re.search(r'xsrf_token: "([^"]+)"', page.text)
    assert found, page.text
    data = {"_xsrf": found[1], "decision": decision, **fields}
    files = {"file": ("roster.csv", roster)}
    # httpx would send the type of this body with the next request, which has none.
    answer = person.browser.post(PAGE, data=data, files=files, follow_redirects=False)
    return person.browser.get(PAGE) if answer.is_redirect else answer


def settled(person: Person) -> str:
    """Look at the page again and again until no change goes on; return its words."""

    def look() -> str:
        page = person.browser.get(PAGE)
        if page.status_code != 200:
            raise RuntimeError(f"{page.status_code} during a reload: {page.text[:300]}")
        return "" if 'http-equiv="refresh"' in page.text else visible_text(page)

    return eventually(look, 120, "the end of a change")
