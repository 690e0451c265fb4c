"""The probe of `doctor` for courses."""

from __future__ import annotations

import pwd
from collections.abc import Iterator

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses import place, records, sharing
from littlest_hub.stacks.courses.course import DELETING, MAKING, number_of
from littlest_hub.system import json_file


def courses(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that each course has its account, directory and token, and that none is half made."""
    layout = snapshot.layout
    try:
        found = records.read(layout)
    except LittlestHubError as error:
        yield Finding(PROBLEM, "courses", error.message, error.hint or "")
        return
    published = json_file.read_object(place.published(layout) / place.ADDRESS)
    if found and published.get("has_jobs") and not sharing.is_shared(layout):
        text = "servers are jobs of a cluster, and show no courses"
        yield Finding(WARNING, "courses", text, f"{layout.command} course nodes")
    for course in found.values():
        subject = f"course {course.name}"
        if course.stage in (MAKING, DELETING):
            text = f"a command was interrupted while the course was {course.stage}"
            yield Finding(WARNING, subject, text, f"{layout.command} course tidy")
            continue
        missing = [
            str(path)
            for path in (
                place.home_of(layout, course.name),
                place.exchange(layout) / course.name,
                place.token_of(layout, course.name),
            )
            if not path.exists()
        ]
        try:
            pwd.getpwnam(course.account)
        except KeyError:
            missing.append(f"the account {course.account}")
        if missing and course.is_open:
            again = f"{layout.command} course repair {course.name}"
            yield Finding(PROBLEM, subject, f"missing: {', '.join(missing)}", again)
        else:
            students = number_of(course.students, "student")
            yield Finding(OK, subject, f"{course.stage}, {students}")
