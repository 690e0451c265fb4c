"""Lateness of submissions, and its cost: due dates, extensions, penalties."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter
from littlest_hub.stacks.courses.grading import begun, extensions, gradebook


def extend(assignment: str, login: str, extension: str) -> str:
    """Record an extension; return what it means.

    Raises:
        LittlestHubError: it is none, or the assignment is not due.
    """
    more = extensions.length(extension)
    due = _due(assignment)
    if due is None:
        course = os.environ[jupyter.COURSE]
        raise LittlestHubError(
            f"{assignment} has no due date, so nothing of it is late; set one in the formgrader,"
            f" or: littlest-hub course nbgrader {course} -- db assignment add {assignment}"
            ' "--duedate=2026-12-24 18:00 UTC"'
        )
    extensions.grant(assignment, login, extension)
    said = f"{login} may hand in {assignment} until {due + more:%Y-%m-%d %H:%M} UTC."
    if Path("autograded", login, assignment).is_dir():
        # Its penalty is computed again as well.
        begun.begin(assignment, login)
        said += " It is graded already, and will be graded again by the next autograde."
    return said


def _due(assignment: str) -> datetime | None:
    from nbgrader.api import MissingEntry

    with gradebook.opened() as book:
        try:
            found: datetime | None = book.find_assignment(assignment).duedate
        except MissingEntry:
            raise gradebook.unknown(assignment) from None
    return found


def listed() -> Iterator[str]:
    """Yield a line for each extension.

    Raises:
        LittlestHubError: the file of extensions has a wrong line.
    """
    for (assignment, login), extension in sorted(extensions.read().items()):
        if extension != "0":
            yield f"{assignment}  {login}  {extension}\n"


def forget_pointless_extensions() -> None:
    """Remove extensions of assignments that are not due: nbgrader fails when it adds them."""
    if not gradebook.FILE.exists():
        return
    from nbgrader.api import SubmittedAssignment

    with gradebook.opened() as book:
        for each in book.db.query(SubmittedAssignment):
            if each.extension is not None and each.assignment.duedate is None:
                each.extension = None
        book.db.commit()


def update_penalties(assignment: str = "", login: str = "") -> None:
    """Compute what being late costs, as the course's settings say, from the present scores.

    nbgrader computes it when it runs the tests, before anybody has graded by hand.

    Args:
        assignment: the only one for which it is computed; "": all are.
        login: the only student for whom it is computed; "": all are.

    Raises:
        LittlestHubError: a setting of the course cannot be used.
    """
    forget_pointless_extensions()
    late = [
        each
        for each in _late()
        if assignment in ("", each["assignment"]) and login in ("", each["student"])
    ]
    if late:
        # Settings of the course may print, and the caller's output is for programs.
        with contextlib.redirect_stdout(sys.stderr):
            _update(late)


def _late() -> Iterator[dict[str, str]]:
    """Yield the notebooks that may have a penalty, or had one."""
    if not gradebook.FILE.exists():
        return
    from nbgrader.api import SubmittedAssignment

    with gradebook.opened() as book:
        for each in book.db.query(SubmittedAssignment):
            due, when = each.assignment.duedate, each.timestamp
            if (due and when and when > due) or each.late_submission_penalty:
                for part in each.notebooks:
                    names = {"assignment": each.name, "notebook": part.name}
                    yield {**names, "student": str(each.student_id)}


def _update(late: Sequence[dict[str, str]]) -> None:
    from nbgrader.apps.baseapp import NbGrader

    from littlest_hub.stacks.courses.grading.preprocessors import update_penalty

    app = NbGrader()
    # Otherwise, a mistake in the course's settings takes back all penalties.
    app.raise_config_file_errors = True
    try:
        app.initialize(["--log-level=ERROR"])
        for each in late:
            update_penalty(app, {**each, "db_url": app.coursedir.db_url})
    except LittlestHubError:
        raise
    except (Exception, SystemExit) as error:
        raise LittlestHubError(
            f"late penalties cannot be computed: {type(error).__name__}: {error}; see"
            " nbgrader_config.py of the course"
        ) from error


def notes(assignment: str, login: str = "") -> dict[str, str]:
    """Return what graders should know about the time of submissions, by the student's login.

    Args:
        assignment: its name.
        login: the only student; "": all of them.

    Raises:
        LittlestHubError: the file of extensions has a wrong line, or a setting cannot be used.
    """
    granted = {
        student: f"extension {extension}"
        for (name, student), extension in extensions.read().items()
        if name == assignment and extension != "0"
    }
    update_penalties(assignment, login)
    found = {}
    with gradebook.opened() as book:
        for each in book.assignment_submissions(assignment):
            late_s, cost = each.total_seconds_late, each.late_submission_penalty
            if late_s > 0 or cost:
                text = f"late by {in_words(timedelta(seconds=late_s))}, costs {cost:g} points"
                found[str(each.student_id)] = text
    return {
        each: ", ".join(filter(None, (granted.get(each), found.get(each))))
        for each in granted.keys() | found.keys()
    }


def in_words(time: timedelta) -> str:
    """Return a length of time in its two largest units, such as 2 d 3 h."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((at for at, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return (
        " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"
    )
