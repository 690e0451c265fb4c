"""Commands about grading: nbgrader as the grader, submissions graded in parallel, grades as CSV."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.courses import place, records
from littlest_hub.stacks.courses.course import Course, checked_login
from littlest_hub.stacks.courses.grading.extensions import length
from littlest_hub.stacks.courses.units import grader
from littlest_hub.system.systemctl import systemctl

_KILLED = 255
"""Exit code of systemd-run(1) if a signal has ended the program."""
_PROGRAM = "littlest_hub.stacks.courses.grading.program"


def add(commands: Verbs) -> None:
    """Add these commands to those of `littlest-hub course`."""
    nbgrader = verbs.add(
        commands,
        "nbgrader",
        _nbgrader,
        "run nbgrader as the grader of a course",
        "Run nbgrader as the grader of a course, with the exchange that its students see: NAME --"
        " generate_assignment ps1, then release_assignment and collect.",
        needs=["NAME"],
    )
    nbgrader.add_argument("words", nargs=argparse.REMAINDER, metavar="…", help="for nbgrader")
    autograde = verbs.add(
        commands,
        "autograde",
        _autograde,
        "grade the collected submissions of an assignment, several at a time",
        "Grade the collected submissions of an assignment. Each runs in a unit without rights,"
        " network and files of others, with limits of its own.",
        needs=["NAME", "ASSIGNMENT"],
    )
    _add_jobs(autograde)
    autograde.add_argument("--again", action="store_true", help="also submissions that are graded")
    autograde.add_argument("--student", metavar="LOGIN", default="", help="only this student's")
    feedback = verbs.add(
        commands,
        "feedback",
        _feedback,
        "generate and release feedback on an assignment",
        "Generate and release feedback on an assignment, for everybody whose submission is graded."
        " Those who are left out are named. Students see a page whole, or as it was before.",
        needs=["NAME", "ASSIGNMENT"],
    )
    _add_jobs(feedback)
    feedback.add_argument(
        "--unfinished",
        action="store_true",
        help="also on submissions with answers that somebody still has to grade",
    )
    _add_extend(commands)
    grades = verbs.add(
        commands,
        "grades",
        _grades,
        "print grades as CSV",
        "Print grades as CSV: one row for each student and assignment, or, for a learning platform,"
        " one row for each student.",
        needs=["NAME"],
    )
    grades.add_argument(
        "--for", dest="platform", choices=("plain", "canvas", "moodle"), default="plain"
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many at a time; default: as many as there are processors",
    )


def _add_extend(commands: Verbs) -> None:
    extend = verbs.add(
        commands,
        "extend",
        _extend,
        "give a student more time for an assignment",
        "Give a student more time for an assignment, in place of what they were given before. With"
        " NAME alone, list what was given.",
        needs=["NAME"],
    )
    extend.add_argument("assignment", metavar="ASSIGNMENT", nargs="?", default="")
    extend.add_argument("student", metavar="LOGIN", nargs="?", default="")
    extend.add_argument(
        "extension",
        metavar="EXTENSION",
        nargs="?",
        default="",
        help="after the due date of the assignment, as in 90m, 36h, 2d or 1w; 0: none",
    )


def run_as_grader(layout: Layout, course: Course, *words: str) -> int:
    """Run a program of ours as the grader of a course, with our terminal; return its exit code.

    Raises:
        LittlestHubError: the course is closed.
    """
    if not course.is_open:
        raise LittlestHubError(
            f"{course.name} is {course.stage}",
            f"Open it again: {layout.command} course reopen {course.name}",
        )
    unit = place.grader_unit(layout, course.name, secrets.token_hex(4))
    argv = grader_command(layout, course, *words, unit=unit)
    try:
        code = subprocess.run(argv, stdin=subprocess.DEVNULL).returncode
    except BaseException:
        # Without a terminal of its own, it does not notice Ctrl-C.
        systemctl("stop", unit, is_checked=False)
        raise
    if code == _KILLED:
        raise LittlestHubError(
            f"{words[0]} was killed before it ended; no submission and no grade is lost",
            "Run the same command again: it does what is left. Why it was killed:"
            f" {as_typed('journalctl -n 20')}",
        )
    return code


def grader_command(layout: Layout, course: Course, *words: str, unit: str = "") -> list[str]:
    """Return the command that runs a program of ours as the grader of a course."""
    argv = ["systemd-run", "--pipe", "--wait", "--quiet", "--collect"]
    argv += [f"--unit={unit or place.grader_unit(layout, course.name, secrets.token_hex(4))}"]
    argv += [f"--property={each.key}={each.value}" for each in grader(layout, course)]
    python = f"{layout.hub}/bin/python3"
    return [*argv, "--", python, "-I", "-m", _PROGRAM, course.name, *_escaped(words)]


def ask_grader(
    layout: Layout, course: Course, *words: str, text: str = "", timeout_s: float = 120
) -> Any:
    """Run a program of ours as the grader of a course, and return the JSON that it prints.

    Raises:
        LittlestHubError: it fails.
        SubprocessError: it takes too long.
        ValueError: it prints something else.
    """
    done = subprocess.run(
        grader_command(layout, course, *words),
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    if done.returncode:
        raise LittlestHubError(f"its gradebook cannot be used: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout or "[]")


def _escaped(words: Sequence[str]) -> list[str]:
    # systemd expands variables in arguments: systemd.service(5), "Command lines".
    return [word.replace("$", "$$") for word in words]


def _nbgrader(layout: Layout, options: argparse.Namespace) -> int:
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    return run_as_grader(layout, records.of_name(layout, options.name), "nbgrader", *words)


def _autograde(layout: Layout, options: argparse.Namespace) -> int:
    course = records.of_name(layout, options.name)
    words = [options.assignment, _jobs(options), options.student or "*"]
    return run_as_grader(layout, course, "again" if options.again else "autograde", *words)


def _feedback(layout: Layout, options: argparse.Namespace) -> int:
    course = records.of_name(layout, options.name)
    words = [options.assignment, _jobs(options), "all" if options.unfinished else "finished"]
    return run_as_grader(layout, course, "feedback", *words)


def _jobs(options: argparse.Namespace) -> str:
    if options.jobs < 1:
        raise LittlestHubError(f"--jobs {options.jobs}: expected 1 or more")
    return str(options.jobs)


def _extend(layout: Layout, options: argparse.Namespace) -> int:
    course = records.of_name(layout, options.name)
    if not options.assignment:
        return run_as_grader(layout, course, "extensions")
    if not options.extension:
        raise LittlestHubError(
            "expected an assignment, a login and an extension",
            f"As in: {layout.command} course extend {course.name} ps1 alice 2d",
        )
    login = checked_login(options.student)
    if login not in course.students:
        raise LittlestHubError(
            f"{login} takes no part in {course.name}",
            f"See who does: {layout.command} course show {course.name}",
        )
    length(options.extension)
    return run_as_grader(layout, course, "extend", options.assignment, login, options.extension)


def _grades(layout: Layout, options: argparse.Namespace) -> int:
    sys.stdout.flush()
    course = records.of_name(layout, options.name)
    return run_as_grader(layout, course, "grades", options.platform)
