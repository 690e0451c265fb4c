"""The program that commands of the administrator run as the grader of a course.

The arguments are the course, the work (`nbgrader`, `autograde`, `again`, `grades`, `students`,
`import`, `fetch`, `pack`, `unpack`, `export`), and its words.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter


def main() -> int:
    """Do the work that the arguments name; return the exit code."""
    course, work, *words = sys.argv[1:]
    if work not in ("fetch", "pack", "unpack"):
        return _grade(course, work, words)
    _move_sources(work, words)
    return 0


def _grade(course: str, work: str, words: list[str]) -> int:
    """Do work that needs nbgrader."""
    jupyter.use_packages()
    jupyter.use_course(course)
    if work == "nbgrader":
        sys.argv[1:] = words
        jupyter.nbgrader()
        return 0
    from littlest_hub.stacks.courses.grading import autograding, gradebook

    match work, words:
        case (("autograde" | "again"), [assignment, jobs, student]):
            is_again = work == "again"
            return autograding.run(assignment, int(jobs), student, is_again=is_again)
        case "grades", [platform]:
            sys.stdout.write(gradebook.grades(platform=platform))
            return 0
        case "students", []:
            print(json.dumps(gradebook.students()))
            return 0
        case "import", []:
            gradebook.import_students(json.load(sys.stdin))
            return 0
        case "export", []:
            from littlest_hub.stacks.courses.sources import archive

            with _output() as stream:
                archive.export(stream, course, sys.stdin.buffer.read())
            return 0
    raise LittlestHubError(f"no such work: {work}")


def _move_sources(work: str, words: Sequence[str]) -> None:
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
