"""The submissions of an assignment graded in parallel, with progress.

Each is graded by a process of its own, a copy of this one, which has loaded nbgrader. A failed one
is tried again alone, since the gradebook may have been busy; what fails then is listed, and the
others are graded.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter
from littlest_hub.stacks.courses.grading import begun
from littlest_hub.system import locks

_LOCK = Path(".autograde.lock")
_EXCEPTION = re.compile(r"[A-Za-z_.]+(Error|Exception)\b: ")


def run(assignment: str, jobs: int, student: str, *, is_again: bool) -> int:
    """Grade what is collected of an assignment; return the exit code.

    Args:
        assignment: its name.
        jobs: how many submissions are graded at a time.
        student: only this one's; "*": everybody's.
        is_again: also what is graded already, and not newer.

    Raises:
        LittlestHubError: nothing is collected, or another command grades.
    """
    held = locks.hold(_LOCK)
    if held is None:
        raise LittlestHubError(
            "another command grades submissions of this course, perhaps one whose terminal was"
            " closed; wait until it ends"
        )
    with held:
        return _run(assignment, jobs, student, is_again=is_again)


def _run(assignment: str, jobs: int, student: str, *, is_again: bool) -> int:
    found = sorted(path.parent.name for path in Path("submitted").glob(f"*/{_name(assignment)}"))
    found = [each for each in found if student in ("*", each)]
    if not found:
        course = os.environ[jupyter.COURSE]
        raise LittlestHubError(
            f"no submission of {assignment} is collected; collect them first:"
            f" littlest-hub course nbgrader {course} -- collect {assignment}"
        )
    todo = [each for each in found if is_again or not _is_graded(each, assignment)]
    began_s = time.monotonic()
    print(f"{len(todo)} of {len(found)} submissions to grade, {jobs} at a time", flush=True)
    to_repeat = []
    for number, (login, text) in enumerate(_graded(todo, assignment, jobs), 1):
        if text:
            to_repeat.append(login)
        print(f"{number}/{len(todo)} {login}{': again later' if text else ''}", flush=True)
    # The gradebook is a file that one process at a time writes to.
    failed = {login: text for login, text in _graded(to_repeat, assignment, 1) if text}
    for login, text in failed.items():
        print(f"{login}: not graded: {text}", file=sys.stderr)
    took_s = time.monotonic() - began_s
    print(f"{len(todo) - len(failed)} graded in {took_s:.0f} s, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def _graded(logins: Iterable[str], assignment: str, jobs: int) -> Iterator[tuple[str, str]]:
    """Grade submissions, and yield each login with why it failed, or ""."""
    import nbgrader.apps.nbgraderapp

    import littlest_hub.stacks.courses.grading.kernels  # noqa: F401

    assert nbgrader.apps.nbgraderapp
    # One process for each: nothing of a submission is left in the next one.
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(partial(_grade, assignment), logins)


def _grade(assignment: str, login: str) -> tuple[str, str]:
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        try:
            code = _autograde(assignment, login)
        except Exception as error:
            return login, f"{type(error).__name__}: {error}"
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if not code:
            return login, ""
        output.seek(0)
        # The last lines say only that it failed; an exception begins its line with its name.
        lines = [line.strip() for line in output.read().splitlines() if line.strip()]
        named = [line for line in lines if _EXCEPTION.match(line)]
        return login, (named or lines or [f"exit code {code}"])[-1]


def _autograde(assignment: str, login: str) -> object:
    """Run nbgrader's command in this process; return its exit code."""
    from nbgrader.apps.nbgraderapp import NbGraderApp

    try:
        NbGraderApp.launch_instance(["autograde", assignment, f"--student={login}", "--force"])
    except SystemExit as ended:
        return ended.code
    return 0


def _is_graded(login: str, assignment: str) -> bool:
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


def _name(assignment: str) -> str:
    if "/" in assignment or assignment.startswith((".", "*")) or not assignment:
        raise LittlestHubError(f"{assignment!r} is no name of an assignment")
    return assignment
