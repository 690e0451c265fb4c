"""The program that commands of the administrator run as the grader of a course.

The arguments are the course, the work (`nbgrader`, `autograde`, `again`, `feedback`, `extend`,
`extensions`, `grades`, `scores`, `students`, `import`, `fetch`, `pack`, `unpack`, `export`,
`restore`), and its words.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from littlest_hub import installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter, place


def main() -> int:
    """Do the work that the arguments name; return the exit code."""
    course, work, *words = sys.argv[1:]
    if work not in ("fetch", "pack", "unpack", "restore"):
        return _grade(course, work, words)
    _move_files(course, work, words)
    return 0


def _grade(course: str, work: str, words: list[str]) -> int:
    """Do work that needs nbgrader."""
    # Otherwise, a mistake in the course's nbgrader_config.py would be one line among many, and
    # grades would be computed without it.
    os.environ.setdefault("TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR", "1")
    jupyter.use_packages()
    jupyter.use_course(course)
    if work == "nbgrader":
        sys.argv[1:] = words
        jupyter.nbgrader()
        return 0
    if work in ("autograde", "again", "feedback"):
        return _assess(work, words)
    _answer(course, work, words)
    return 0


def _assess(work: str, words: Sequence[str]) -> int:
    """Do work for all submissions of an assignment; return the exit code."""
    from littlest_hub.stacks.courses.grading import autograding, feedback, generating

    assignment, jobs, which = words
    if work == "feedback":
        generating.replace_in_one_step()
        return feedback.run(assignment, int(jobs), has_unfinished=which == "all")
    return autograding.run(assignment, int(jobs), which, is_again=work == "again")


def _answer(course: str, work: str, words: Sequence[str]) -> None:
    """Do work with the gradebook."""
    from littlest_hub.stacks.courses.grading import gradebook, lateness

    match work, words:
        case "extend", [assignment, login, extension]:
            print(lateness.extend(assignment, login, extension))
        case "extensions", []:
            sys.stdout.writelines(lateness.listed())
        case "grades", [platform]:
            lateness.update_penalties()
            sys.stdout.write(gradebook.grades(platform=platform))
        case "scores", [assignment]:
            lateness.update_penalties()
            print(json.dumps(gradebook.scores(assignment)))
        case "students", []:
            print(json.dumps(gradebook.students()))
        case "import", []:
            gradebook.import_students(json.load(sys.stdin))
        case "export", []:
            _export(course)
        case _:
            raise LittlestHubError(f"no such work: {work}")


def _export(course: str) -> None:
    from littlest_hub.stacks.courses.grading import lateness
    from littlest_hub.stacks.courses.sources import archive

    try:
        lateness.update_penalties()
    except LittlestHubError as error:
        print(f"grades.csv has the penalties of before: {error}", file=sys.stderr)
    with _output() as stream:
        archive.export(stream, course, sys.stdin.buffer.read(), _exchange_of(course))


def _move_files(course: str, work: str, words: Sequence[str]) -> None:
    """Do work for which nbgrader is not needed."""
    from littlest_hub.stacks.courses.sources import archive, fetching, repository

    match work, words:
        case "fetch", [url, branch]:
            fetching.fetch(repository.checked(url, branch), Path(archive.SOURCE))
        case "pack", []:
            with _output() as stream:
                archive.pack_sources(stream)
        case "unpack", []:
            archive.unpack_sources(sys.stdin.buffer)
        case "restore", []:
            archive.restore(sys.stdin.buffer, course, _exchange_of(course))


def _exchange_of(course: str) -> Path:
    return place.exchange(installation.of_this_release()) / course


def _output() -> IO[bytes]:
    """Return the standard output for an archive; what libraries print goes to the other one."""
    stream = open(os.dup(1), "wb")  # noqa: SIM115
    os.dup2(2, 1)
    return stream


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LittlestHubError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename or 'a file'}: {error.strerror or error}")
