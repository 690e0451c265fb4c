"""Changes that visitors of the page may have: who may do what, and how it is done.

A plan is made before anything is changed, and refuses what cannot be done.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import administration, records
from littlest_hub.stacks.courses.course import (
    ARCHIVED,
    DELETING,
    MAKING,
    READY,
    Course,
    Student,
    checked_login,
    checked_name,
    named,
    number_of,
    plain_text,
)
from littlest_hub.stacks.courses.lti import records as platforms
from littlest_hub.stacks.courses.lti import work
from littlest_hub.stacks.courses.page.request import Request, Verb
from littlest_hub.stacks.courses.roster.columns import students_of
from littlest_hub.stacks.courses.sources import repository, transfer
from littlest_hub.system.progress import Progress, to_stderr

_MOST_INSTRUCTORS = 100
_MOST_LEFT_OUT = 5
_ASKING_S = 45
"""Time limit of the learning platform while the visitor waits for the page."""
_SENDING_S = 600
NOTHING = "Nothing was changed"
Reply = dict[str, Any]


@dataclass(frozen=True)
class Visitor:
    """The person whom the hub has logged in."""

    name: str
    is_admin: bool


@dataclass(frozen=True)
class Plan:
    """A change that the visitor may have, and that nothing speaks against so far."""

    course: str
    begins: str
    """The work, as people read it."""
    carry_out: Callable[[Progress], str]
    """Does it; returns what people read at the end."""
    fails: str = NOTHING
    """The words before the reason if it fails."""


class RefusalError(Exception):
    """The refusal of a request.

    Args:
        text: for the visitor.
        field: the field of the form that is wrong.
        status: of HTTP.
    """

    def __init__(self, text: str, field: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.reply: Reply = {"refusal": text, "field": field, "status": status}


class PlainError(LittlestHubError):
    """A failure whose reason every visitor may read, as whole sentences."""


class UnsureError(Exception):
    """Students would lose the course, and the visitor has not agreed.

    Args:
        new: logins of those who come.
        gone: logins of those who would go.
    """

    def __init__(self, new: list[str], gone: list[str]) -> None:
        super().__init__()
        self.reply: Reply = {"new": new, "gone": gone}


def _making(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that makes a course.

    Raises:
        RefusalError: the visitor may not, or a field is wrong.
        LittlestHubError: there can be no courses now.
    """
    if not visitor.is_admin:
        raise RefusalError("Only administrators make courses.", status=403)
    with _field("course"):
        name = checked_name(request.course.strip())
        # A killed command may have left one that is not whole; making it removes that first.
        if (left := records.read(layout).get(name)) is None or left.stage not in (MAKING, DELETING):
            administration.refuse_taken(layout, name)
    teaching = _instructors(request)
    fill, said = _sources(layout, request)
    students = _students(request) if request.roster.strip() else []
    administration.require_nbgrader(layout)
    wanted = Course(name, 0, plain_text(request.title), instructors=teaching)

    def carry_out(progress: Progress) -> str:
        def filled(course: Course) -> None:
            fill(course, progress)

        whole = wanted.with_roster(students)
        course = administration.create(layout, whole, progress, filled)
        return " ".join([f"{name} is ready, with {number_of(course.students, 'student')}.", *said])

    return Plan(name, f"Making {name}", carry_out)


def _sources(
    layout: Layout, request: Request
) -> tuple[Callable[[Course, Progress], None], list[str]]:
    """Return a function that fetches a course's sources, and the list that gets what it reports.

    Raises:
        RefusalError: the repository or the branch is none.
    """
    said: list[str] = []
    url, branch = request.repo.strip(), request.branch.strip()
    if not url:
        if branch:
            raise RefusalError("A branch needs a repository.", "repo")
        return lambda course, progress: None, said
    with _field("repo"):
        repository.checked(url)
    with _field("branch"):
        found = repository.checked(url, branch)

    def fill(course: Course, progress: Progress) -> None:
        progress(f"Fetching {found.url} ...")
        lines = transfer.fetch(layout, course, found).splitlines()
        left_out, number_of_files = lines[:-1], lines[-1:]
        for each in (*number_of_files, *left_out[:_MOST_LEFT_OUT]):
            said.append(f"{plain_text(each)}.")
        if len(left_out) > _MOST_LEFT_OUT:
            said.append(f"and {len(left_out) - _MOST_LEFT_OUT} more lines.")

    return fill, said


def _instructors(request: Request) -> tuple[str, ...]:
    """Return the logins of instructors.

    Raises:
        RefusalError: there are none, too many, or one is no login.
    """
    with _field("instructors"):
        words = [each for each in re.split(r"[\s,;]+", request.instructors) if each]
        if not 0 < len(words) <= _MOST_INSTRUCTORS:
            raise LittlestHubError(f"expected 1 to {_MOST_INSTRUCTORS} logins, as in alice, bob")
        return tuple(dict.fromkeys(map(checked_login, words)))


def _changing_roster(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that replaces a roster.

    Raises:
        RefusalError: the visitor may not, or the roster is wrong.
        UnsureError: the visitor has to agree that students lose the course.
        LittlestHubError: the list of courses is damaged.
    """
    course = _taught(layout, request, visitor)
    if not request.roster.strip():
        raise RefusalError("Choose a file, or paste the roster.", "roster")
    return _replacing(layout, course, _students(request), may_drop=request.may_drop)


def _taking_roster(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that takes the roster from the learning platform, which is asked at once.

    Raises:
        RefusalError: the visitor may not.
        UnsureError: the visitor has to agree that students lose the course.
        LittlestHubError: the platform does not say who takes part.
    """
    course = _taught(layout, request, visitor)
    students = work.students(layout, course, to_stderr, _ASKING_S)
    return _replacing(layout, course, students, may_drop=request.may_drop)


def _sending_grades(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that sends the grades of an assignment to the learning platform.

    Raises:
        RefusalError: the visitor may not, or names no assignment.
        LittlestHubError: the course has no platform.
    """
    course = _taught(layout, request, visitor)
    platforms.of_course(layout, course.name)
    assignment = request.assignment.strip()
    if not assignment:
        raise RefusalError("Type the name of an assignment.", "assignment")

    def carry_out(progress: Progress) -> str:
        try:
            outcome = work.send(layout, course, assignment, progress, timeout_s=_SENDING_S)
        except LittlestHubError as error:
            # The reason is the platform's or the gradebook's, and nothing of fragments.
            raise PlainError(f"Not all grades are sent: {error.message}") from error
        said = " ".join([*outcome.notes(assignment, course), *outcome.failures()])
        if outcome.failed:
            raise PlainError(said)
        return said

    return Plan(course.name, f"Sending the grades of {plain_text(assignment)}", carry_out)


def _replacing(
    layout: Layout, course: Course, students: Sequence[Student], *, may_drop: bool
) -> Plan:
    """Return the plan that lets exactly these students take part.

    Raises:
        UnsureError: the visitor has to agree that students lose the course.
    """
    wanted = {each.login for each in students}
    new, gone = sorted(wanted - course.students.keys()), sorted(course.students.keys() - wanted)
    if gone and not may_drop:
        raise UnsureError(new, gone)

    def carry_out(progress: Progress) -> str:
        administration.set_roster(layout, course.name, students, progress)
        present = number_of(wanted, "student")
        return f"{course.name} has {present}. New: {named(new)}. Dropped out: {named(gone)}."

    return Plan(course.name, f"Changing the roster of {course.name}", carry_out)


def _changing_instructors(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that replaces the instructors.

    Raises:
        RefusalError: the visitor may not, or the logins are wrong.
        LittlestHubError: the list of courses is damaged.
    """
    course = _administered(layout, request, visitor, READY)
    teaching = _instructors(request)

    def carry_out(progress: Progress) -> str:
        administration.set_instructors(layout, course.name, teaching, progress)
        return f"Instructors of {course.name}: {named(teaching)}."

    return Plan(course.name, f"Changing the instructors of {course.name}", carry_out)


def _archiving(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that closes a course.

    Raises:
        RefusalError: the visitor may not, or it is closed.
        LittlestHubError: the list of courses is damaged.
    """
    course = _administered(layout, request, visitor, READY)
    said = f"{course.name} is archived: only administrators see it, and all of its files stay."
    return _applying(administration.archive, layout, course, "Archiving", said)


def _reopening(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that opens an archived course.

    Raises:
        RefusalError: the visitor may not, or it is not archived.
        LittlestHubError: the list of courses is damaged.
    """
    course = _administered(layout, request, visitor, ARCHIVED)
    said = f"{course.name} is open again, in servers that start from now on."
    return _applying(administration.reopen, layout, course, "Opening", said)


def _deleting(layout: Layout, request: Request, visitor: Visitor) -> Plan:
    """Return the plan that deletes a course.

    Raises:
        RefusalError: the visitor may not, or has not typed its name.
        LittlestHubError: the list of courses is damaged.
    """
    course = _administered(layout, request, visitor, READY, ARCHIVED)
    if request.confirmation.strip() != course.name:
        text = f"Nothing was changed: to delete it, type its name, {course.name}."
        raise RefusalError(text, "confirmation")
    said = f"{course.name} is deleted."
    fails = f"{course.name} is not deleted whole; the next change of a course tries it again"
    return _applying(administration.delete, layout, course, "Deleting", said, fails)


def _applying(
    change: Callable[[Layout, str, Progress], None],
    layout: Layout,
    course: Course,
    begins: str,
    said: str,
    fails: str = NOTHING,
) -> Plan:
    """Return the plan of a change that needs to know nothing but the course.

    Args:
        change: applies it.
        layout: the installation.
        course: the one that is changed.
        begins: the work, before the name of the course.
        said: what people read at the end.
        fails: the words before the reason if it fails.
    """

    def carry_out(progress: Progress) -> str:
        change(layout, course.name, progress)
        return said

    return Plan(course.name, f"{begins} {course.name}", carry_out, fails)


def _taught(layout: Layout, request: Request, visitor: Visitor) -> Course:
    """Return an open course that the visitor teaches or administers.

    Raises:
        RefusalError: there is none.
    """
    course = records.read(layout).get(request.course)
    if course is None or not (visitor.is_admin or visitor.name in course.instructors):
        # The same for both: others' courses are nobody's business.
        raise RefusalError("You teach no course of this name.", status=403)
    _require_stage(course, READY)
    return course


def _administered(layout: Layout, request: Request, visitor: Visitor, *stages: str) -> Course:
    """Return a course that the visitor administers, and that is at one of these stages.

    Raises:
        RefusalError: there is none.
    """
    if not visitor.is_admin:
        raise RefusalError("Only administrators do this.", status=403)
    course = records.read(layout).get(request.course)
    if course is None:
        raise RefusalError(f"There is no course {request.course[:80]!r}.", status=404)
    _require_stage(course, *stages)
    return course


def _require_stage(course: Course, *stages: str) -> None:
    if course.stage not in stages:
        raise RefusalError(f"{course.name} is {course.stage}.", status=409)


def _students(request: Request) -> list[Student]:
    with _field("roster"):
        return students_of(
            request.roster, request.login_column, strips_domain=request.strips_domain
        )


@contextlib.contextmanager
def _field(name: str) -> Iterator[None]:
    """Blame a field of the form for what is wrong; hints are about the command line."""
    try:
        yield
    except LittlestHubError as error:
        raise RefusalError(error.message, name) from error


PLANS: dict[Verb, Callable[[Layout, Request, Visitor], Plan]] = {
    Verb.CREATE: _making,
    Verb.ROSTER: _changing_roster,
    Verb.INSTRUCTORS: _changing_instructors,
    Verb.ARCHIVE: _archiving,
    Verb.REOPEN: _reopening,
    Verb.DELETE: _deleting,
    Verb.PLATFORM: _taking_roster,
    Verb.GRADES: _sending_grades,
}
