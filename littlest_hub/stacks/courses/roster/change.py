"""A roster of a course replaced by a command: who comes, who goes."""

from __future__ import annotations

from collections.abc import Sequence

from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import administration, records
from littlest_hub.stacks.courses.course import Student, named, number_of
from littlest_hub.system.progress import to_stderr


def replace(layout: Layout, name: str, students: Sequence[Student], *, is_dry: bool) -> None:
    """Let exactly these students take part, and print what that changes.

    Args:
        layout: the installation.
        name: of the course.
        students: who are to take part.
        is_dry: print it only.

    Raises:
        LittlestHubError: the hub refuses it; then the roster is as it was.
    """
    before = records.of_name(layout, name)
    wanted = {each.login for each in students}
    new, gone = sorted(wanted - before.students.keys()), sorted(before.students.keys() - wanted)
    if not is_dry:
        administration.set_roster(layout, name, students, to_stderr)
    present = number_of(wanted, "student")
    print(f"{present}; new: {named(new)}; dropped out: {named(gone)}")
    if is_dry:
        print("Nothing was changed: --dry-run")
