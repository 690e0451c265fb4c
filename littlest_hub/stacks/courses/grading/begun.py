"""Marks of submissions whose grading has begun: one that stays shows that it did not end.

nbgrader copies the time of a submission before it runs the cells. So that time does not tell
whether a submission is graded.
"""

from __future__ import annotations

from pathlib import Path

_DIRECTORY = Path(".grading")


def begin(assignment: str, student: str, **_: object) -> None:
    """Mark a submission; nbgrader calls it in the course's directory."""
    if mark := _mark(assignment, student):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def end(assignment: str, student: str, **_: object) -> None:
    """Remove the mark: the submission is graded."""
    if mark := _mark(assignment, student):
        mark.unlink(missing_ok=True)


def is_begun(assignment: str, student: str) -> bool:
    """Return whether the grading of a submission began and did not end."""
    mark = _mark(assignment, student)
    return mark is not None and mark.exists()


def _mark(assignment: str, student: str) -> Path | None:
    # "*" stands for all students.
    return None if "*" in student else _DIRECTORY / assignment / student
