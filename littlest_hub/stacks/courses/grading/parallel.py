"""Work for the submissions of an assignment, several at a time, with progress.

Each is done by a process of its own, a copy of this one, which has loaded nbgrader. A failed one
is tried again alone, since the gradebook may have been busy. Those that fail again are returned,
and the others are done.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

_EXCEPTION = re.compile(r"[A-Za-z_.]+(Error|Exception)\b: ")
_VAGUE = "NbGraderException: "
"""The exception with which nbgrader ends after others."""

Work = Callable[[str, str], object]
"""A function of an assignment and a student; it returns an exit code, or raises."""


def do(work: Work, assignment: str, logins: Sequence[str], jobs: int) -> dict[str, str]:
    """Do work for students, and print the progress.

    Args:
        work: a function of a module.
        assignment: its name.
        logins: of the students.
        jobs: number of students at a time.

    Returns:
        The reasons of failures, by login.
    """
    to_repeat = []
    for number, (login, text) in enumerate(_done(work, assignment, logins, jobs), 1):
        if text:
            to_repeat.append(login)
        print(f"{number}/{len(logins)} {login}{': again later' if text else ''}", flush=True)
    # The gradebook is a file that one process at a time writes to.
    return {login: text for login, text in _done(work, assignment, to_repeat, 1) if text}


def _done(
    work: Work, assignment: str, logins: Iterable[str], jobs: int
) -> Iterator[tuple[str, str]]:
    """Do work, and yield each login with the reason why it failed, or ""."""
    # A process for each one: nothing of a submission is left in the next one.
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(partial(_outcome, work, assignment), logins)


def _outcome(work: Work, assignment: str, login: str) -> tuple[str, str]:
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        try:
            code = work(assignment, login)
        except Exception as error:
            return login, f"{type(error).__name__}: {error}"
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if not code:
            return login, ""
        output.seek(0)
        # The last lines say only that it failed; an exception begins its line with its name.
        lines = [line.strip() for line in output.read().splitlines() if line.strip()]
        named = [line for line in lines if _EXCEPTION.match(line) and _VAGUE not in line]
        return login, (named or lines or [f"exit code {code}"])[-1]
