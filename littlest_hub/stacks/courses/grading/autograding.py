"""The submissions of an assignment graded in parallel, with progress.

Each is a process of nbgrader. A failed one is tried again alone, since the gradebook may have been
busy; what fails then is listed, and the others are graded.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter

_TIMEOUT_S = 3600
_EXCEPTION = re.compile(r"[A-Za-z_.]+(Error|Exception)\b: ")


def run(assignment: str, jobs: int, student: str, *, is_again: bool) -> int:
    """Grade what is collected of an assignment; return the exit code.

    Args:
        assignment: its name.
        jobs: how many submissions are graded at a time.
        student: only this one's; "*": everybody's.
        is_again: also what is graded already, and not newer.

    Raises:
        LittlestHubError: nothing is collected.
    """
    found = sorted(path.parent.name for path in Path("submitted").glob(f"*/{_name(assignment)}"))
    found = [each for each in found if student in ("*", each)]
    if not found:
        raise LittlestHubError(
            f"no submission of {assignment} is collected",
            f"Collect them: … course nbgrader {os.environ[jupyter.COURSE]} -- collect {assignment}",
        )
    todo = [each for each in found if is_again or not _is_graded(each, assignment)]
    began_s = time.monotonic()
    print(f"{len(todo)} of {len(found)} submissions to grade, {jobs} at a time", flush=True)
    to_repeat = _grade_all(todo, assignment, jobs)
    # The gradebook is a file that one process at a time writes to.
    failed = {each: text for each in to_repeat if (text := _grade(each, assignment))}
    for login, text in failed.items():
        print(f"{login}: not graded: {text}", file=sys.stderr)
    took = time.monotonic() - began_s
    print(f"{len(todo) - len(failed)} graded in {took:.0f} s, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def _grade_all(todo: list[str], assignment: str, jobs: int) -> list[str]:
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_grade, each, assignment): each for each in todo}
        for number, done in enumerate(as_completed(running), 1):
            login, text = running[done], done.result()
            if text:
                failed.append(login)
            print(f"{number}/{len(todo)} {login}{': again later' if text else ''}", flush=True)
    return failed


def _grade(login: str, assignment: str) -> str:
    """Grade one submission; return why it failed, or ""."""
    command = [jupyter.program("nbgrader"), "autograde", assignment, f"--student={login}"]
    try:
        done = subprocess.run(
            [*command, "--force"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_TIMEOUT_S} s"
    if done.returncode == 0:
        return ""
    # The last lines say only that it failed; an exception begins its line with its name.
    lines = [line.strip() for line in done.stderr.strip().splitlines() if line.strip()]
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or [f"exit code {done.returncode}"])[-1]


def _is_graded(login: str, assignment: str) -> bool:
    stamps = [
        Path(each, login, assignment, "timestamp.txt") for each in ("submitted", "autograded")
    ]
    try:
        submitted, graded = (each.read_text() for each in stamps)
    except OSError:
        return False
    return submitted == graded


def _name(assignment: str) -> str:
    if "/" in assignment or assignment.startswith((".", "*")) or not assignment:
        raise LittlestHubError(f"{assignment!r} is no name of an assignment")
    return assignment
