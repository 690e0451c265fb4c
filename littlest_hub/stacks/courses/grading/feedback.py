"""Feedback on an assignment, generated and released in one go."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter
from littlest_hub.stacks.courses.grading import autograding, gradebook, parallel


def run(assignment: str, jobs: int, *, has_unfinished: bool) -> int:
    """Give students feedback on an assignment; return the exit code.

    It is made anew for everybody, since grades by hand may have changed. A page that was released
    before stays until a whole one takes its place.

    Args:
        assignment: its name.
        jobs: number of students at a time.
        has_unfinished: submissions that somebody still has to grade by hand get feedback, too.

    Raises:
        LittlestHubError: nothing is graded, or another command grades.
    """
    with autograding.alone():
        found = autograding.students_of("autograded", assignment)
        if not found:
            course = os.environ[jupyter.COURSE]
            raise LittlestHubError(
                f"no submission of {assignment} is graded; grade them first:"
                f" littlest-hub course autograde {course} {assignment}"
            )
        newer = {each for each in found if not autograding.is_graded(each, assignment)}
        by_hand = set() if has_unfinished else {*gradebook.unfinished(assignment)} - newer
        todo = [each for each in found if each not in newer | by_hand]
        _print_left_out(newer, "was collected again, and is not graded so far")
        reason = "has answers to grade by hand (--unfinished: nevertheless)"
        _print_left_out(by_hand & {*found}, reason)
        return _run(assignment, todo, jobs)


def _print_left_out(logins: set[str], reason: str) -> None:
    for login in sorted(logins):
        print(f"{login}: no feedback: {reason}", file=sys.stderr, flush=True)


def _run(assignment: str, todo: list[str], jobs: int) -> int:
    # Loaded once for all students: their processes are copies of this one.
    import nbgrader.apps.api  # noqa: F401

    began_s = time.monotonic()
    failed = parallel.do(_give, assignment, todo, jobs)
    for login, text in failed.items():
        print(f"{login}: no feedback: {text}", file=sys.stderr)
    took_s = time.monotonic() - began_s
    number = len(todo) - len(failed)
    print(f"{number} have feedback, in {took_s:.0f} s; {len(failed)} failed", flush=True)
    return 1 if failed else 0


def _give(assignment: str, login: str) -> int:
    """Generate and release feedback for one student, as the formgrader does; return 0 or 1."""
    api = _api()
    for step in (api.generate_feedback, api.release_feedback):
        done = step(assignment, login)
        if not done["success"]:
            print(done.get("error", ""), flush=True)
            return 1
    return 0


def _api() -> Any:
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.apps.baseapp import NbGrader

    app = NbGrader()
    app.initialize([])
    return NbGraderAPI(app.coursedir, parent=app)
