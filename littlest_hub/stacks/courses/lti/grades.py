"""Grades of an assignment on their way to the learning platform: which are sent, and which were."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import Course, checked_login, named, plain_text
from littlest_hub.stacks.courses.lti.records import Sent
from littlest_hub.stacks.courses.lti.session import Platform, PlatformRefusalError
from littlest_hub.system.progress import Progress

_MOST_FAILURES = 10
"""After so many refusals one after the other, the platform is left alone."""
_TOLD = 25
_SHOWN = 50


@dataclass(frozen=True)
class Grade:
    """The grade of a student, as the course's gradebook has it."""

    login: str
    score: float
    maximum: float
    needs_grading: bool = False
    """Whether somebody still has to grade an answer."""

    @property
    def fingerprint(self) -> str:
        """A text that differs for different grades."""
        return f"{self.score!r} of {self.maximum!r}"


@dataclass
class Outcome:
    """The result of sending the grades of an assignment."""

    sent: int = 0
    unchanged: int = 0
    unfinished: list[str] = field(default_factory=list)
    """Students who have answers that somebody still has to grade."""
    strangers: list[str] = field(default_factory=list)
    """Students whom the platform does not name as such."""
    failed: dict[str, str] = field(default_factory=dict)
    """The platform's refusals, by student."""
    left: int = 0
    """How many were not tried, since the platform refuses all."""

    def notes(self, assignment: str, course: Course) -> Iterator[str]:
        """Yield what people read about it, except refusals of the platform."""
        name = plain_text(assignment)
        yield f"{name}: {self.sent} sent, {self.unchanged} as the platform has them."
        if self.unfinished:
            names = named(self.unfinished)
            yield f"Not sent, since answers have to be graded by hand: {names}."
        if strangers := [each for each in self.strangers if each in course.students]:
            names = named(strangers)
            yield f"Not sent, since the platform has no such active student: {names}."

    def failures(self) -> Iterator[str]:
        """Yield what people read about refusals of the platform."""
        for login, problem in [*self.failed.items()][:_SHOWN]:
            yield f"{login}: {problem}."
        if len(self.failed) > _SHOWN:
            yield f"and {len(self.failed) - _SHOWN} more."
        if self.left:
            yield f"The platform refuses all; {self.left} were not tried."
        if self.failed:
            yield "Do the same again: it sends what is left."


def read(rows: object) -> list[Grade]:
    """Return the grades that a program of the course's grader has printed.

    Raises:
        LittlestHubError: there are none; instructors decide what a grader's program prints.
    """
    found: dict[str, Grade] = {}
    try:
        if not isinstance(rows, list):
            raise ValueError("no list")
        for row in rows:
            score, maximum = float(row["score"]), float(row["max_score"])
            if not (math.isfinite(score) and math.isfinite(maximum) and score >= 0):
                raise ValueError(f"a score of {score}")
            login = checked_login(str(row["login"]))
            found[login] = Grade(login, score, maximum, bool(row["needs_grading"]))
    except (ValueError, KeyError, TypeError) as error:
        raise LittlestHubError(f"the gradebook has no grades: {error!r}") from error
    if maxima := [each.maximum for each in found.values() if each.maximum <= 0]:
        raise LittlestHubError(
            f"an assignment with {maxima[0]:g} points has no grade on a learning platform"
        )
    return [*found.values()]


def send(
    platform: Platform,
    sent: Sent,
    grades: Iterable[Grade],
    user_ids: Mapping[str, str],
    record: Callable[[Sent], None],
    progress: Progress,
) -> Outcome:
    """Send the grades that the platform does not have.

    Args:
        platform: gets them.
        sent: what it has, and the column.
        grades: of the assignment.
        user_ids: the platform's names of students by login.
        record: keeps what the platform has, after each grade.
        progress: tells people how far it is.
    """
    outcome = Outcome()
    wanted: list[tuple[str, Grade]] = []
    for each in grades:
        user = user_ids.get(each.login)
        if each.needs_grading:
            outcome.unfinished.append(each.login)
        elif user is None:
            outcome.strangers.append(each.login)
        elif sent.grades.get(user) == each.fingerprint:
            outcome.unchanged += 1
        else:
            wanted.append((user, each))
    present = dict(sent.grades)
    failures = 0
    for number, (user, each) in enumerate(wanted, 1):
        if failures >= _MOST_FAILURES:
            outcome.left = len(wanted) - number + 1
            break
        try:
            platform.send(sent.column, _score(user, each))
        except PlatformRefusalError as error:
            outcome.failed[each.login] = error.message
            failures += 1
            continue
        failures = 0
        outcome.sent += 1
        present[user] = each.fingerprint
        record(Sent(sent.column, dict(present)))
        if number % _TOLD == 0 and number < len(wanted):
            progress(f"{number} of {len(wanted)} grades are sent")
    return outcome


def _score(user: str, grade: Grade) -> dict[str, object]:
    """Return a score as LTI Assignment and Grade Services 2.0 has it."""
    return {
        "userId": user,
        "scoreGiven": grade.score,
        "scoreMaximum": grade.maximum,
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
        # A platform ignores a score that is older than the one that it has.
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
