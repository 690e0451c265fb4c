"""What commands of the administrator run as the grader of a course.

The arguments are the course, the work (`nbgrader`, `autograde`, `again`, `grades`, `students`,
`import`), and its words.
"""

from __future__ import annotations

import json
import sys

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import jupyter


def main() -> int:
    """Do the work that the arguments name; return the exit code."""
    course, work, *words = sys.argv[1:]
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
            gradebook.print_grades(platform)
            return 0
        case "students", []:
            print(json.dumps(gradebook.students()))
            return 0
        case "import", []:
            gradebook.import_students(json.load(sys.stdin))
            return 0
    raise LittlestHubError(f"no such work: {work}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LittlestHubError as error:
        sys.exit(str(error))
