"""The views of courses that running servers have, and how root takes one away.

A server sees the exchange of a course as a mount of its own, or, if it is a job on another machine,
because the course admits its user. People come and go while it runs.
"""

from __future__ import annotations

from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place, sharing
from littlest_hub.stacks.courses.course import Course
from littlest_hub.system import json_file
from littlest_hub.system.namespaces import seen_by, unmount_for
from littlest_hub.system.progress import Progress


def close(layout: Layout, course: Course, progress: Progress) -> None:
    """Take a course away from running servers of everybody who takes no part in it.

    The caller has seen to it that servers that start from now on do not show it to them.

    Raises:
        LittlestHubError: its people cannot be admitted, or the others not be kept out.
    """
    if not layout.is_live:
        return
    if sharing.is_shared(layout):
        sharing.admit(layout, course)
    directory = place.exchange(layout) / course.name
    others = _others(layout, course)
    if not others or not (number := unmount_for(others, directory)):
        return
    progress(f"{number} running servers of people who take no part in {course.name} see it no more")
    if left := seen_by(others, directory):
        progress(f"In {left} servers it cannot be unmounted: stop these servers")


def _others(layout: Layout, course: Course) -> set[int]:
    """Return the accounts of people who take no part in a course."""
    found = json_file.read_object(place.accounts(layout))
    known = {str(login): int(uid) for login, uid in found.items()}
    people = course.people
    # Two logins may have one account.
    return {*known.values()} - {uid for login, uid in known.items() if login in people}
