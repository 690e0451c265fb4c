"""`littlest-hub course`: courses made, shown, changed and removed by an administrator."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.courses import administration, place, records, sharing
from littlest_hub.stacks.courses.course import Course, Student, number_of, plain_text
from littlest_hub.stacks.courses.grading import command as grading
from littlest_hub.stacks.courses.lti import command as lti
from littlest_hub.stacks.courses.roster import change
from littlest_hub.stacks.courses.roster.columns import students_of
from littlest_hub.stacks.courses.roster.table import MAX_BYTES
from littlest_hub.stacks.courses.sources import repository, transfer
from littlest_hub.system.progress import Progress, to_stderr

_EXAMPLES = """\
examples:
  {command} course create ps131 --instructors alice,bob --roster roster.csv
  {command} course create ps131 --instructors alice --repo https://example.org/ps131.git
  {command} course copy ps131 ps131-spring --instructors carol
  {command} course roster ps131 canvas-export.csv --login-column 'SIS Login ID'
  {command} course nbgrader ps131 -- generate_assignment ps1
  {command} course autograde ps131 ps1
  {command} course extend ps131 ps1 dave 2d
  {command} course feedback ps131 ps1
  {command} course grades ps131 > grades.csv
  {command} course lti roster ps131
  {command} course lti grades ps131 ps1
  {command} course export ps131 ps131.tar.gz
  {command} course import ps131.tar.gz
"""
_ROSTER = (
    "CSV with a column of logins, such as exports of Canvas, Moodle and Blackboard have, and"
    " perhaps names and addresses"
)


def after_enable(layout: Layout, stack: EnabledStack) -> Iterator[str]:
    """Yield the next steps for the person who has enabled the stack."""
    yield f"Make a course: {layout.command} course create NAME --instructors ALICE,BOB"
    if not sharing.is_shared(layout):
        yield f"If servers are jobs of Slurm, let them show courses: {layout.command} course nodes"


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Run a command about courses."""
    parser = argparse.ArgumentParser(
        prog=f"{layout.command} course",
        description="Make and look after courses with assignments, which nbgrader hands out,"
        " collects and grades.",
        epilog=_EXAMPLES.format(command=layout.command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_making(commands)
    _add_showing(commands)
    _add_changing(commands)
    grading.add(commands)
    lti.add(commands)
    return verbs.run(parser, layout, arguments)


def _add_making(commands: Verbs) -> None:
    create = verbs.add(
        commands,
        "create",
        _create,
        "make a course: grader, groups, exchange, formgrader",
        "Make a course. It is there whole, or not at all. Running servers go on; people see the"
        " course in servers that start from now on.",
    )
    create.add_argument("name", metavar="NAME", help="such as ps131")
    create.add_argument(
        "--repo",
        metavar="URL",
        help="https address of a git repository with the sources: its directory source/, or all of"
        " it if there is none. Links and submodules are left out",
    )
    create.add_argument(
        "--branch", default="", help="a branch of the repository; default: its own choice"
    )
    _add_people(create)
    copy = verbs.add(
        commands,
        "copy",
        _copy,
        "make a course with the sources of another one",
        "Make a course with the sources of another one, such as last term's, which may be archived."
        " People, submissions, grades and the gradebook are not copied.",
    )
    copy.add_argument("old", metavar="OLD", help="the course that has the sources")
    copy.add_argument("name", metavar="NEW", help="the course to be made")
    _add_people(copy)
    export = verbs.add(
        commands,
        "export",
        _export,
        "write a course into one file: sources, submissions, gradebook, grades",
        "Write a course into one file, which only root can read: its record and roster, sources,"
        " what was collected and graded, feedback, a consistent copy of the gradebook, grades as"
        " CSV, and what students see of it. Submissions that are not collected are not in it. The"
        " file is there whole or not at all; no file is replaced.",
        needs=["NAME"],
    )
    export.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", help="default: NAME-DATE.tar.gz"
    )
    imported = verbs.add(
        commands,
        "import",
        _import,
        "make a course from such a file",
        "Make the course that `export` has written into a file, with its people, sources,"
        " submissions and grades. Students see the assignments and the feedback that were handed"
        " out.",
    )
    imported.add_argument("file", metavar="FILE", type=Path)


def _add_people(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--title", default="", help="for people; default: the name")
    parser.add_argument("--instructors", metavar="LOGINS", required=True, help="as in alice,bob")
    parser.add_argument("--roster", type=Path, metavar="FILE", help=_ROSTER)
    _add_columns(parser)


def _add_showing(commands: Verbs) -> None:
    listing = verbs.add(commands, "list", _list, "list the courses")
    show = verbs.add(commands, "show", _show, "show a course and its people", needs=["NAME"])
    for each in (listing, show):
        each.add_argument("--json", action="store_true", help="print JSON")


def _add_changing(commands: Verbs) -> None:
    roster = verbs.add(
        commands,
        "roster",
        _roster,
        "let exactly the students in a file take part",
        "Let exactly the students in a file take part. Those who are not in it any more lose"
        " access; their files and grades stay. Nothing changes if a line is wrong.",
        needs=["NAME"],
    )
    roster.add_argument("file", metavar="FILE", type=Path, help=_ROSTER)
    roster.add_argument("--dry-run", action="store_true", help="only say who comes and goes")
    _add_columns(roster)
    teaching = verbs.add(
        commands, "instructors", _instructors, "let exactly these people grade", needs=["NAME"]
    )
    teaching.add_argument("logins", metavar="LOGINS", help="as in alice,bob")
    for word, function, text in (
        ("archive", administration.archive, "close a course; all of its files stay"),
        ("reopen", administration.reopen, "open an archived course again"),
    ):
        verbs.add(commands, word, partial(_change_stage, function), text, needs=["NAME"])
    delete = verbs.add(
        commands,
        "delete",
        _delete,
        "delete a course with all submissions and grades; asks",
        needs=["NAME"],
    )
    delete.add_argument("--yes", action="store_true", help="do not ask")
    verbs.add(
        commands,
        "repair",
        _repair,
        "make again what is missing of a course, as after a restore",
        "Make again what is missing of an open course: the grader's account, directories, the"
        " formgrader's token, units. What is there stays as it is.",
        needs=["NAME"],
    )
    nodes = verbs.add(
        commands,
        "nodes",
        _nodes,
        "let servers on nodes of a cluster (jobs of Slurm) show courses",
        "Let each course in the exchange admit its people alone, by access control lists, so that"
        " nodes of a cluster may share it. Servers that are jobs show courses from then on.",
    )
    nodes.add_argument(
        "--off", action="store_true", help="go back; first, no node may share the exchange any more"
    )
    verbs.add(commands, "tidy", _tidy, "remove what an interrupted command has left")


def _add_columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--login-column", metavar="COLUMN", default="", help="the column with the logins"
    )
    parser.add_argument(
        "--strip-domain", action="store_true", help="logins are the parts before @ in the column"
    )


def _create(layout: Layout, options: argparse.Namespace) -> int:
    if options.branch and not options.repo:
        raise LittlestHubError("--branch needs a repository", "Name it: --repo URL")
    if not options.repo:
        return _make(layout, options, lambda course: None)
    found = repository.checked(options.repo, options.branch)

    def fill(course: Course) -> None:
        to_stderr(f"Fetching {found.url} ...")
        sys.stderr.write(transfer.fetch(layout, course, found))

    return _make(layout, options, fill)


def _copy(layout: Layout, options: argparse.Namespace) -> int:
    old = records.of_name(layout, options.old)

    def fill(course: Course) -> None:
        to_stderr(f"Copying the sources of {old.name} ...")
        transfer.copy(layout, old, course)

    return _make(layout, options, fill)


def _export(layout: Layout, options: argparse.Namespace) -> int:
    course = records.of_name(layout, options.name)
    file = options.file or Path(f"{course.name}-{datetime.now(UTC):%Y-%m-%d}.tar.gz")
    size_bytes = transfer.export(layout, course, file)
    print(f"{file} has {course.name} ({size_bytes / (1 << 20):.1f} MB). Only you can read it.")
    return 0


def _import(layout: Layout, options: argparse.Namespace) -> int:
    def fill(course: Course) -> None:
        to_stderr(f"Reading the files in {options.file} ...")
        transfer.restore(layout, course, options.file)

    administration.require_nbgrader(layout)
    return _made(layout, transfer.recorded(options.file), fill)


def _make(layout: Layout, options: argparse.Namespace, fill: Callable[[Course], None]) -> int:
    administration.require_nbgrader(layout)
    students = _students(options.roster, options) if options.roster else []
    teaching = tuple(options.instructors.split(","))
    wanted = Course(options.name, 0, plain_text(options.title), instructors=teaching)
    return _made(layout, wanted.with_roster(students), fill)


def _made(layout: Layout, wanted: Course, fill: Callable[[Course], None]) -> int:
    course = administration.create(layout, wanted, to_stderr, fill)
    print(f"{course.name} is ready, with {number_of(course.students, 'student')}.")
    print(f"Instructors grade at /services/{course.service}/ of the hub.")
    print(f"Its files are in {place.home_of(layout, course.name)}, which {course.account} owns.")
    return 0


def _students(file: Path, options: argparse.Namespace) -> list[Student]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise LittlestHubError(f"{file} cannot be read: {error.strerror}") from error
    return students_of(data, options.login_column, strips_domain=options.strip_domain)


def _list(layout: Layout, options: argparse.Namespace) -> int:
    courses = records.read(layout)
    if options.json:
        print(json.dumps([_summary(each) for each in courses.values()], indent=1))
        return 0
    for each in courses.values():
        people = ", ".join(
            (number_of(each.students, "student"), number_of(each.instructors, "instructor"))
        )
        print(f"{each.name:20}  {each.stage:9}  {people}  {each.title}".rstrip())
    if not courses:
        print(f"There is no course. Make one: {layout.command} course create --help")
    return 0


def _summary(course: Course) -> dict[str, object]:
    return {
        "name": course.name,
        "title": course.title,
        "stage": course.stage,
        "created": course.created,
        "instructors": [*course.instructors],
        "students": len(course.students),
        "former": len(course.former),
    }


def _show(layout: Layout, options: argparse.Namespace) -> int:
    course = records.of_name(layout, options.name)
    if options.json:
        print(json.dumps(course.to_json(), indent=1))
        return 0
    print(f"{course.name}  {course.title}".rstrip())
    print(f"  {course.stage}, made on {course.created}")
    print(f"  formgrader   /services/{course.service}/, as {course.account}")
    print(f"  files        {place.home_of(layout, course.name)}")
    print(f"  exchange     {place.exchange(layout) / course.name}")
    print(f"  instructors  {', '.join(course.instructors)}")
    print(f"  students     {len(course.students)}")
    for each in course.students.values():
        print(f"    {each.login:24}  {each.first_name} {each.last_name}".rstrip())
    if course.former:
        print(f"  dropped out  {', '.join(sorted(course.former))}")
    return 0


def _roster(layout: Layout, options: argparse.Namespace) -> int:
    students = _students(options.file, options)
    change.replace(layout, options.name, students, is_dry=options.dry_run)
    return 0


def _instructors(layout: Layout, options: argparse.Namespace) -> int:
    course = administration.set_instructors(
        layout, options.name, options.logins.split(","), to_stderr
    )
    print(f"Instructors of {course.name}: {', '.join(course.instructors)}")
    return 0


def _change_stage(
    stage: Callable[[Layout, str, Progress], None], layout: Layout, options: argparse.Namespace
) -> int:
    stage(layout, options.name, to_stderr)
    print(f"{options.name} is {records.of_name(layout, options.name).stage}")
    return 0


def _delete(layout: Layout, options: argparse.Namespace) -> int:
    course = records.of_name(layout, options.name)
    home = place.home_of(layout, course.name)
    print(f"All of {course.name} goes: {home}, the exchange, {course.account}, all grades.")
    if not options.yes:
        if not sys.stdin.isatty():
            raise LittlestHubError("Nothing was changed.", "Without a terminal, confirm: --yes")
        print(f"Type {course.name} to delete it: ", end="", flush=True)
        if sys.stdin.readline().strip() != course.name:
            raise LittlestHubError("Nothing was changed.")
    administration.delete(layout, course.name, to_stderr)
    print(f"{course.name} is deleted.")
    return 0


def _repair(layout: Layout, options: argparse.Namespace) -> int:
    made = administration.repair(layout, options.name, to_stderr)
    print(f"Made again: {', '.join(made)}" if made else "Nothing was missing.")
    return 0


def _nodes(layout: Layout, options: argparse.Namespace) -> int:
    administration.share(layout, to_stderr, with_nodes=not options.off)
    if options.off:
        print("Servers that are jobs show no courses.")
        return 0
    print(f"Each course in {place.exchange(layout)} admits its people alone.")
    print("Share this directory with the nodes, at the same path, and nothing else of courses.")
    return 0


def _tidy(layout: Layout, options: argparse.Namespace) -> int:
    administration.tidy(layout, "", to_stderr)
    return 0
