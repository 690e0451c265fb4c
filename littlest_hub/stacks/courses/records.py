"""All courses, in one file that root writes and the hub reads."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.course import Course
from littlest_hub.system import locks
from littlest_hub.system.files import write

_FORMAT = 1


def read(layout: Layout) -> dict[str, Course]:
    """Return the courses by name, in alphabetical order.

    Raises:
        LittlestHubError: the file is damaged.
    """
    file = layout.on_disk(place.records(layout))
    try:
        record: dict[str, Any] = json.loads(file.read_text())
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']!r}")
        courses = [Course.from_json(each) for each in record["courses"]]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, LittlestHubError) as error:
        raise LittlestHubError(
            f"{file} is damaged: {error!r}", "Restore it from a backup: it has all rosters"
        ) from error
    return {each.name: each for each in sorted(courses, key=lambda each: each.name)}


def of_name(layout: Layout, name: str) -> Course:
    """Return a course.

    Raises:
        LittlestHubError: there is none of this name.
    """
    found = read(layout)
    if name not in found:
        known = ", ".join(found) or "none"
        raise LittlestHubError(f"there is no course {name[:80]!r}; the courses are: {known}")
    return found[name]


def save(layout: Layout, courses: Mapping[str, Course]) -> None:
    """Replace the file in one step. The caller holds the lock (`changing`)."""
    record = {"format": _FORMAT, "courses": [each.to_json() for each in courses.values()]}
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    write(layout.on_disk(place.records(layout)), text, 0o600)


def put(layout: Layout, course: Course) -> None:
    """Add or replace one course. The caller holds the lock."""
    save(layout, {**read(layout), course.name: course})


def remove(layout: Layout, name: str) -> None:
    """Remove one course. The caller holds the lock."""
    save(layout, {key: each for key, each in read(layout).items() if key != name})


def at_stage(layout: Layout, name: str, stage: str) -> None:
    """Record another stage of a course. The caller holds the lock."""
    put(layout, replace(read(layout)[name], stage=stage))


@contextlib.contextmanager
def changing(layout: Layout) -> Iterator[None]:
    """Hold the lock of changes to courses, for which other processes wait."""
    directory = layout.on_disk(place.records(layout)).parent
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    held = locks.hold(directory / "courses.lock", is_patient=True)
    assert held is not None
    try:
        yield
    finally:
        held.close()
