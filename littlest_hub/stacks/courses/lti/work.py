"""The work with the learning platform of a course, as root does it for commands."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses.course import Course, Student
from littlest_hub.stacks.courses.grading.command import ask_grader
from littlest_hub.stacks.courses.lti import grades, keys, people, records, session
from littlest_hub.stacks.courses.lti.connection import Connection
from littlest_hub.stacks.courses.lti.grades import Grade, Outcome
from littlest_hub.stacks.courses.lti.records import Record, Sent
from littlest_hub.stacks.courses.units import PLATFORM_S
from littlest_hub.system.progress import Progress


def students(
    layout: Layout, course: Course, progress: Progress, timeout_s: int = PLATFORM_S
) -> list[Student]:
    """Return the active students of the platform's course.

    Args:
        layout: the installation.
        course: ours.
        progress: tells people how far it is.
        timeout_s: time limit.

    Raises:
        LittlestHubError: the platform does not name them, or somebody cannot be a student here.
    """
    _require_open(layout, course)
    connection = records.of_course(layout, course.name).connection
    with records.alone(layout, course.name):
        progress("Asking the platform ...")
        with _asking(layout, course, connection, [session.MEMBERS], timeout_s) as platform:
            members = platform.members()
    found = people.students_of(members, connection.login, strips_domain=connection.strips_domain)
    people.refuse_nobody(found, len(course.students))
    return found


def send(
    layout: Layout,
    course: Course,
    assignment: str,
    progress: Progress,
    *,
    is_again: bool = False,
    timeout_s: int = PLATFORM_S,
) -> Outcome:
    """Send the grades of an assignment, and record each that the platform has taken.

    Args:
        layout: the installation.
        course: ours.
        assignment: its name.
        progress: tells people how far it is.
        is_again: also grades that the platform has.
        timeout_s: time limit of the platform.

    Raises:
        LittlestHubError: there are none, or the platform refuses all of it.
    """
    _require_open(layout, course)
    with records.alone(layout, course.name):
        record = records.of_course(layout, course.name)
        if not record.connection.grades_url:
            raise LittlestHubError(
                f"{course.name} is connected without a grades URL",
                f"Name it: {layout.command} course lti connect {course.name} --help",
            )
        found = _graded(layout, course, assignment)
        if not found:
            return Outcome()
        progress("Asking the platform ...")
        scopes = [session.MEMBERS, session.COLUMNS, session.SCORES]
        with _asking(layout, course, record.connection, scopes, timeout_s) as platform:
            user_ids = _user_ids(record, platform)
            known = record.sent.get(assignment, Sent(""))
            maximum = max(each.maximum for each in found)
            resource = f"{course.name}/{assignment}"
            column = platform.column(resource, assignment, maximum, known.column)
            sent = Sent(column, {} if is_again or column != known.column else known.grades)
            keep = partial(_keep, layout, course, record, assignment)
            keep(sent)
            return grades.send(platform, sent, found, user_ids, keep, progress)


def _keep(layout: Layout, course: Course, record: Record, assignment: str, sent: Sent) -> None:
    records.save(layout, course.name, records.with_sent(record, assignment, sent))


def _user_ids(record: Record, platform: session.Platform) -> dict[str, str]:
    """Return the platform's names for its students by login."""
    connection = record.connection
    return people.user_ids_of(
        platform.members(), connection.login, strips_domain=connection.strips_domain
    )


def _graded(layout: Layout, course: Course, assignment: str) -> Sequence[Grade]:
    try:
        return grades.read(ask_grader(layout, course, "scores", assignment, timeout_s=600))
    except (ValueError, subprocess.SubprocessError) as error:
        raise LittlestHubError(f"the gradebook of {course.name} cannot be read: {error}") from error


def _require_open(layout: Layout, course: Course) -> None:
    if not course.is_open:
        raise LittlestHubError(
            f"{course.name} is {course.stage}",
            f"Open it again: {layout.command} course reopen {course.name}",
        )


def _asking(
    layout: Layout,
    course: Course,
    connection: Connection,
    scopes: Sequence[str],
    timeout_s: int = PLATFORM_S,
) -> AbstractContextManager[session.Platform]:
    sign = partial(keys.statement, keys.present(layout), connection)
    command = session.command_of(layout, course.name, timeout_s)
    return session.asking(connection, scopes, sign, command)
