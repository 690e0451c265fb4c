"""The exchange that other machines share: who may enter a course is up to the file system.

A server on this machine has a view of its own. A job of a cluster has none that could be relied on:
its user may run other jobs there, with no view. So each course admits its people by a list of their
accounts, which the machine that has the files enforces, wherever they are read.
"""

from __future__ import annotations

import pwd
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place, records
from littlest_hub.stacks.courses.course import Course
from littlest_hub.system import acl
from littlest_hub.system.files import write
from littlest_hub.system.ownership import loose_step

_TEXT = "Other machines share the exchange. `littlest-hub course nodes` has written this.\n"


def is_shared(layout: Layout) -> bool:
    """Return whether courses admit exactly their people, so that other machines may share them."""
    return layout.on_disk(place.shared(layout)).exists()


def begin(layout: Layout) -> None:
    """Let courses admit exactly their people, and record that. The caller holds the lock.

    Raises:
        LittlestHubError: a file system cannot do it; then all is as it was.
    """
    make_directory(place.exchange(layout), 0o711)
    try:
        admit_all(layout)
    except BaseException:
        if not is_shared(layout):
            admit_everybody(layout)
        raise
    write(layout.on_disk(place.shared(layout)), _TEXT, 0o644)


def forget(layout: Layout) -> None:
    """Let servers on other machines show no courses from now on."""
    layout.on_disk(place.shared(layout)).unlink(missing_ok=True)


def admit_everybody(layout: Layout) -> None:
    """Leave it to the views of servers what they see, as on this machine alone."""
    directory = place.exchange(layout)
    for course in records.read(layout):
        if (directory / course).is_dir():
            acl.admit_everybody(directory / course)
    make_directory(directory)


def make_directory(directory: Path, mode: int = 0o755) -> None:
    """Make a directory of root's with courses in it, if it is missing, and set its mode.

    Raises:
        LittlestHubError: others could put links there.
    """
    if loose := loose_step(directory):
        text = f"{directory} cannot have courses: {loose.reason}, so others could put links there"
        raise LittlestHubError(text, loose.repair)
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory.chmod(mode)


def admit(layout: Layout, course: Course) -> None:
    """Let exactly the people of a course, its grader and root enter its exchange.

    Raises:
        LittlestHubError: the file system cannot have such a list; then it is as it was.
    """
    directory = place.exchange(layout) / course.name
    users = accounts(course)
    # A restore may have brought the record alone.
    if not directory.is_dir() or acl.admitted(directory) == users:
        return
    try:
        acl.admit(directory, users)
    except OSError as error:
        reason = error.strerror
        if acl.is_unsupported(error):
            reason = "its file system has no access control lists (acl(5))"
        text = f"{directory} cannot be for {len(users)} people alone: {reason}"
        raise LittlestHubError(text, "On ext4, a list has about 500 people at most") from error


def admit_all(layout: Layout) -> None:
    """Let exactly the people of each course enter its exchange. The caller holds the lock.

    Raises:
        LittlestHubError: a file system cannot have such a list.
    """
    for course in records.read(layout).values():
        admit(layout, course)


def accounts(course: Course) -> set[int]:
    """Return the numbers of the accounts that people of a course have on this machine."""
    found = set()
    for login in course.people:
        try:
            found.add(pwd.getpwnam(login).pw_uid)
        except KeyError:
            continue
    return found
