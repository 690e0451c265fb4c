"""A course and its people, as values; no input or output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from littlest_hub.errors import LittlestHubError

MAKING, READY, ARCHIVED, DELETING = "making", "ready", "archived", "deleting"
"""Stages of a course: perhaps incomplete; in use; read-only for graders; perhaps gone in part."""

# It becomes part of names of an account (at most 32 characters), groups, units and paths.
_NAME = re.compile(r"[a-z](-?[a-z0-9]){0,19}")
# nbgrader splits names of submissions at "+" and uses logins as names of directories.
_LOGIN = re.compile(r"[a-z0-9_][a-z0-9._@-]{0,63}")
_TEXT_LENGTH = 200


@dataclass(frozen=True)
class Student:
    """A student, as the roster names them."""

    login: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_id: str = ""
    """The number that the learning platform uses in its lists of grades."""


@dataclass(frozen=True)
class Course:
    """A course."""

    name: str
    port: int
    """Port of its formgrader on 127.0.0.1."""
    title: str = ""
    stage: str = MAKING
    created: str = ""
    instructors: tuple[str, ...] = ()
    students: Mapping[str, Student] = field(default_factory=dict)
    """Those who take part, by login."""
    former: frozenset[str] = frozenset()
    """Logins of those who have dropped out: their grades stay in the gradebook."""

    @property
    def account(self) -> str:
        """The account of the machine that owns the course directory and grades."""
        return f"grader-{self.name}"

    @property
    def service(self) -> str:
        """The service of the hub that is the course's formgrader."""
        return f"course-{self.name}"

    @property
    def student_group(self) -> str:
        """The group of the hub whose members take part."""
        return f"nbgrader-{self.name}"

    @property
    def instructor_group(self) -> str:
        """The group of the hub whose members grade."""
        return f"formgrade-{self.name}"

    @property
    def is_open(self) -> bool:
        return self.stage == READY

    @property
    def people(self) -> set[str]:
        """Everybody whose server shows the exchange of the course."""
        return {*self.students, *self.instructors} if self.is_open else set()

    def with_roster(self, students: Iterable[Student]) -> Course:
        """Return the course with exactly these students; others have dropped out."""
        wanted = {each.login: each for each in students}
        gone = (self.former | self.students.keys()) - wanted.keys()
        return replace(self, students=wanted, former=frozenset(gone))

    def with_more(self, students: Iterable[Student]) -> Course:
        """Return the course with students who were added elsewhere, except former ones."""
        new = {
            each.login: each
            for each in students
            if each.login not in self.students and each.login not in self.former
        }
        return replace(self, students={**self.students, **new})

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        record["students"] = [asdict(each) for each in self.students.values()]
        record["former"] = sorted(self.former)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Course:
        """Return the course in a record.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        students = [Student(**each) for each in record["students"]]
        found = cls(
            **{
                **record,
                "instructors": tuple(record["instructors"]),
                "students": {each.login: each for each in students},
                "former": frozenset(record["former"]),
            }
        )
        checked_name(found.name)
        return found


def checked_name(name: str) -> str:
    """Return the name of a course.

    Raises:
        LittlestHubError: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise LittlestHubError(
            f"{name!r} cannot be the name of a course: expected at most 20 lower-case letters and"
            " digits, with single dashes between them, such as ps131 or physics-2026"
        )
    return name


def checked_login(login: str) -> str:
    """Return a login as the hub spells it.

    Raises:
        LittlestHubError: nbgrader cannot use it.
    """
    found = login.strip().lower()
    if not _LOGIN.fullmatch(found):
        raise LittlestHubError(
            f"{login[:80]!r} is no login: expected at most 64 letters, digits and . _ @ -"
        )
    return found


def plain_text(text: str) -> str:
    """Return a name or an address on one line, without characters that terminals obey."""
    return " ".join("".join(filter(str.isprintable, text)).split())[:_TEXT_LENGTH]


def number_of(people: Sized, noun: str) -> str:
    """Return how many people there are, as in "1 student" and "2 students"."""
    return f"{len(people)} {noun}{'' if len(people) == 1 else 's'}"


def named(logins: Sequence[str]) -> str:
    """Return a list of people, of whom the first 20 are named."""
    more = f" and {len(logins) - 20} more" if len(logins) > 20 else ""
    return f"{', '.join(logins[:20])}{more}" if logins else "nobody"
