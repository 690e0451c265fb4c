"""The gradebook of a course, as its grader reads and writes it through nbgrader's API."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.grading.cells import safe

FILE = Path("gradebook.db")
_COLUMNS = ("login", "assignment", "score", "max_score", "late_s", "needs_grading")
_COLUMNS_OF_PLATFORMS = {
    "canvas": ("Student", "ID", "SIS User ID", "SIS Login ID", "Section"),
    "moodle": ("Username", "First name", "Last name", "ID number", "Email address"),
}
"""The columns by which a learning platform recognizes students."""


def opened(file: Path = FILE) -> Any:
    """Return a gradebook, which a `with` block closes."""
    from nbgrader.api import Gradebook

    return Gradebook(f"sqlite:///{file.absolute()}")


def students() -> list[dict[str, str]]:
    """Return the students in the gradebook."""
    if not FILE.exists():
        return []
    with opened() as gradebook:
        return [
            {
                "login": str(each.id),
                "first_name": each.first_name or "",
                "last_name": each.last_name or "",
                "email": each.email or "",
                "lms_id": each.lms_user_id or "",
            }
            for each in gradebook.students
        ]


def import_students(rows: Sequence[Mapping[str, str]]) -> None:
    """Add students, or change what is known of them; nobody is removed, for the grades' sake."""
    with opened() as gradebook:
        for row in rows:
            gradebook.update_or_create_student(
                row["login"],
                first_name=row["first_name"],
                last_name=row["last_name"],
                email=row["email"],
                lms_user_id=row["lms_id"],
            )


def unfinished(assignment: str) -> list[str]:
    """Return the students with answers that somebody still has to grade."""
    with opened() as gradebook:
        found = gradebook.assignment_submissions(assignment)
        return sorted(str(each.student_id) for each in found if each.needs_manual_grade)


def grades(file: Path = FILE, platform: str = "plain") -> str:
    """Return all grades as CSV.

    Args:
        file: the gradebook.
        platform: `plain`: a row for each student and assignment; `canvas` or `moodle`: a row for
            each student, with the columns by which that platform recognizes them.
    """
    with opened(file) as gradebook:
        assignments = [each.name for each in gradebook.assignments]
        rows = [*_rows(gradebook, assignments)]
        if platform != "plain":
            rows = [*_rows_of_platform(platform, gradebook, assignments, rows)]
    columns = _COLUMNS if platform == "plain" else (*_COLUMNS_OF_PLATFORMS[platform], *assignments)
    text = io.StringIO()
    csv.writer(text).writerows([*map(safe, row)] for row in (columns, *rows))
    return text.getvalue()


def scores(assignment: str, file: Path = FILE) -> list[dict[str, Any]]:
    """Return the grades of an assignment.

    Raises:
        LittlestHubError: there is no such assignment.
    """
    from nbgrader.api import MissingEntry

    with opened(file) as gradebook:
        try:
            gradebook.find_assignment(assignment)
        except MissingEntry:
            raise unknown(assignment) from None
        columns = ("login", "score", "max_score", "needs_grading")
        return [
            dict(zip(columns, (login, score, maximum, needs == "yes"), strict=True))
            for login, _, score, maximum, _, needs in _rows(gradebook, [assignment])
        ]


def unknown(assignment: str) -> LittlestHubError:
    """Return the refusal of an assignment that is not in the gradebook."""
    return LittlestHubError(
        f"the gradebook has no assignment {assignment[:80]!r}; generate it first"
    )


def _rows_of_platform(
    platform: str, gradebook: Any, assignments: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Iterator[list[Any]]:
    scores = {(login, assignment): score for login, assignment, score, *_ in rows}
    for each in sorted(gradebook.students, key=lambda student: str(student.id)):
        login, first, last = str(each.id), each.first_name or "", each.last_name or ""
        number, mail = each.lms_user_id or "", each.email or ""
        student = {
            "canvas": [f"{last}, {first}".strip(", "), "", number, login, ""],
            "moodle": [login, first, last, number, mail],
        }[platform]
        yield [*student, *(scores.get((login, name), "") for name in assignments)]


def _rows(gradebook: Any, assignments: Sequence[str]) -> Iterator[list[Any]]:
    for assignment in assignments:
        for each in gradebook.assignment_submissions(assignment):
            yield [
                str(each.student_id),
                assignment,
                max(0.0, each.score - each.late_submission_penalty),
                each.max_score,
                int(each.total_seconds_late),
                "yes" if each.needs_manual_grade else "no",
            ]
