"""Autograding of an assignment: its submissions in parallel, with progress."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter
from littlest_hub.stacks.courses.grading import begun, lateness, parallel
from littlest_hub.system import locks

_LOCK = Path(".autograde.lock")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep other commands from grading submissions of this course.

    Raises:
        LittlestHubError: one does.
    """
    held = locks.hold(_LOCK)
    if held is None:
        raise LittlestHubError(
            "another command grades submissions of this course, perhaps one whose terminal was"
            " closed; wait until it ends"
        )
    with held:
        yield


def run(assignment: str, jobs: int, student: str, *, is_again: bool) -> int:
    """Grade what is collected of an assignment; return the exit code.

    Args:
        assignment: its name.
        jobs: number of submissions that are graded at a time.
        student: the only one whose submission is graded; "*": everybody's is.
        is_again: submissions are graded that were graded already, and have not changed.

    Raises:
        LittlestHubError: nothing is collected, or another command grades.
    """
    with alone():
        lateness.forget_pointless_extensions()
        return _run(assignment, jobs, student, is_again=is_again)


def _run(assignment: str, jobs: int, student: str, *, is_again: bool) -> int:
    found = students_of("submitted", assignment)
    found = [each for each in found if student in ("*", each)]
    if not found:
        course = os.environ[jupyter.COURSE]
        raise LittlestHubError(
            f"no submission of {assignment} is collected; collect them first:"
            f" littlest-hub course nbgrader {course} -- collect {assignment}"
        )
    todo = [each for each in found if is_again or not is_graded(each, assignment)]
    began_s = time.monotonic()
    print(f"{len(todo)} of {len(found)} submissions to grade, {jobs} at a time", flush=True)
    # Loaded once for all submissions: their processes are copies of this one.
    import nbgrader.apps.nbgraderapp  # noqa: F401

    import littlest_hub.stacks.courses.grading.kernels  # noqa: F401

    failed = parallel.do(_autograde, assignment, todo, jobs)
    for login, text in failed.items():
        print(f"{login}: not graded: {text}", file=sys.stderr)
    took_s = time.monotonic() - began_s
    print(f"{len(todo) - len(failed)} graded in {took_s:.0f} s, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def _autograde(assignment: str, login: str) -> object:
    """Run nbgrader's command in this process; return its exit code."""
    from nbgrader.apps.nbgraderapp import NbGraderApp

    try:
        NbGraderApp.launch_instance(["autograde", assignment, f"--student={login}", "--force"])
    except SystemExit as ended:
        return ended.code
    return 0


def students_of(step: str, assignment: str) -> list[str]:
    """Return the students with a submission of an assignment in a directory of nbgrader's.

    Raises:
        LittlestHubError: it is no name of an assignment.
    """
    if "/" in assignment or assignment.startswith((".", "*")) or not assignment:
        raise LittlestHubError(f"{assignment!r} is no name of an assignment")
    return sorted(path.parent.name for path in Path(step).glob(f"*/{assignment}"))


def is_graded(login: str, assignment: str) -> bool:
    """Return whether what is collected of a student is graded."""
    if begun.is_begun(assignment, login):
        return False
    directories = ("submitted", "autograded")
    try:
        submitted, graded = (
            Path(each, login, assignment, "timestamp.txt").read_text() for each in directories
        )
    except OSError:
        return False
    return submitted == graded
