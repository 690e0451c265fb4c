"""Rosters and gradebooks brought together, by root, each minute.

Students who are added in a formgrader take part from then on, and those of the roster are in the
gradebook. Gradebooks belong to graders, so a program of theirs reads and writes them. If other
machines share the exchange, people of a course who have got an account since are admitted to it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import administration, place, records, sharing
from littlest_hub.stacks.courses.course import Course, Student, checked_login, plain_text
from littlest_hub.stacks.courses.grading.command import ask_grader
from littlest_hub.system import json_file
from littlest_hub.system.files import fingerprint, write
from littlest_hub.system.progress import to_stderr

_MAX_STUDENTS = 20_000
_TEXTS = ("first_name", "last_name", "email", "lms_id")


def main() -> int:
    """Bring all open courses together; return the exit code."""
    layout = installation.of_this_release()
    failed = False
    seen = _seen(layout)
    for course in records.read(layout).values():
        if course.is_open and seen.get(course.name) != _state(layout, course):
            try:
                # Changes during the reconciliation are seen at the next run.
                before = _state(layout, course)
                reconcile(layout, course)
                seen[course.name] = before
            except (LittlestHubError, subprocess.SubprocessError, ValueError) as error:
                print(f"{course.name}: {error}", file=sys.stderr)
                failed = True
    write(_seen_file(layout), json.dumps(seen), 0o600, is_durable=False)
    return 1 if not _admit(layout) or failed else 0


def _admit(layout: Layout) -> bool:
    """Let people enter the exchange of their courses, if it is shared; return whether they may."""
    if not sharing.is_shared(layout):
        return True
    try:
        with records.changing(layout):
            sharing.admit_all(layout)
    except LittlestHubError as error:
        print(error, file=sys.stderr)
        return False
    return True


def _seen_file(layout: Layout) -> Path:
    return layout.on_disk(layout.stack_cache(place.STACK)) / "rosters.json"


def _seen(layout: Layout) -> dict[str, str]:
    """Return the state of each course when it was brought together last."""
    return json_file.read_object(_seen_file(layout))


def _state(layout: Layout, course: Course) -> str:
    """Return a text that changes with the roster or the gradebook."""
    book = fingerprint(place.home_of(layout, course.name) / "gradebook.db")
    roster = hashlib.sha256(json.dumps(course.to_json()).encode()).hexdigest()
    return f"{book} {roster}"


def reconcile(layout: Layout, course: Course) -> None:
    """Bring the roster of a course and its gradebook together.

    Raises:
        LittlestHubError: the hub refuses it.
        SubprocessError, ValueError: the gradebook cannot be read.
    """
    known = [student for each in _ask(layout, course, "students") if (student := _student(each))]
    in_gradebook = {each.login: each for each in known}
    new = [
        asdict(each) for each in course.students.values() if in_gradebook.get(each.login) != each
    ]
    if new:
        _ask(layout, course, "import", json.dumps(new))
    if course.with_more(known) != course:
        administration.add_students(layout, course.name, known, to_stderr)


def _ask(layout: Layout, course: Course, work: str, text: str = "") -> list[dict[str, str]]:
    found = ask_grader(layout, course, work, text=text)
    if not isinstance(found, list) or len(found) > _MAX_STUDENTS:
        raise ValueError("its gradebook has no list of students")
    return found


def _student(row: object) -> Student | None:
    """Return a student whom an instructor has added; None: the login cannot be one."""
    if not isinstance(row, dict):
        return None
    try:
        login = checked_login(str(row["login"]))
    except (LittlestHubError, KeyError):
        return None
    texts = {key: plain_text(str(row.get(key, ""))) for key in _TEXTS}
    return Student(login, **texts)


if __name__ == "__main__":
    sys.exit(main())
