"""The files of courses moved by root, which leaves each side to the grader of its course.

Root only connects these programs: it neither reads nor writes what instructors have made.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses.course import (
    ARCHIVED,
    READY,
    Course,
    Student,
    checked_login,
    checked_name,
    plain_text,
)
from littlest_hub.stacks.courses.grading.command import grader_command
from littlest_hub.stacks.courses.sources import archive
from littlest_hub.stacks.courses.sources.repository import Repository
from littlest_hub.system.files import new_file

_FETCH_S = 200
"""Time limit of fetching, somewhat longer than the program's own."""
_COPY_S = 1800


def fetch(layout: Layout, course: Course, repository: Repository) -> str:
    """Fill the sources of a new course from a repository; return lines about what was left out.

    Raises:
        LittlestHubError: why not.
    """
    argv = grader_command(layout, course, "fetch", repository.url, repository.branch)
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=_FETCH_S
        )
    except subprocess.TimeoutExpired:
        raise LittlestHubError(f"{repository.url} took more than {_FETCH_S} s") from None
    if done.returncode:
        raise LittlestHubError(
            f"{repository.url} cannot be fetched: {_last_line(done.stderr)}", "No course was made"
        )
    return done.stderr


def copy(layout: Layout, source: Course, course: Course) -> None:
    """Fill the sources of a new course with those of another one.

    Raises:
        LittlestHubError: why not.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        packing = subprocess.Popen(
            grader_command(layout, source, "pack"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        try:
            unpacking = subprocess.run(
                grader_command(layout, course, "unpack"),
                stdin=packing.stdout,
                stderr=subprocess.PIPE,
                text=True,
                timeout=_COPY_S,
            )
        except subprocess.TimeoutExpired:
            raise LittlestHubError(f"copying took more than {_COPY_S} s") from None
        finally:
            assert packing.stdout
            # The program ends if nobody reads it.
            packing.stdout.close()
            code = packing.wait()
        said.seek(0)
        packed = said.read()
    if code or unpacking.returncode:
        reason = _last_line(packed if code else unpacking.stderr)
        raise LittlestHubError(
            f"the sources of {source.name} cannot be copied: {reason}", "No course was made"
        )
    sys.stderr.write(packed + unpacking.stderr)


def export(layout: Layout, course: Course, file: Path) -> int:
    """Write the whole course into a new file that only root reads; return its size in bytes.

    Raises:
        LittlestHubError: the file exists, or the course cannot be read; then there is no file.
        OSError: it cannot be written.
    """
    if course.stage not in (READY, ARCHIVED):
        raise LittlestHubError(
            f"{course.name} is {course.stage}: a command was interrupted",
            f"Remove what it has left: {layout.command} course tidy",
        )
    with new_file(file) as opened:
        done = subprocess.run(
            grader_command(layout, course, "export"),
            input=json.dumps(course.to_json(), indent=1).encode(),
            stdout=opened,
        )
        if done.returncode:
            raise LittlestHubError(
                f"{course.name} cannot be exported, see above; {file} was not written"
            )
        size_bytes = opened.seek(0, 2)
    return size_bytes


def recorded(file: Path) -> Course:
    """Return the course in an export, with its people; graders may have written anything there.

    Raises:
        LittlestHubError: there is none.
    """
    try:
        with file.open("rb") as opened:
            found = json.loads(archive.record_in(opened))
        students = [_student(each) for each in found["students"]]
        return Course(
            checked_name(found["name"]),
            0,
            plain_text(found["title"]),
            instructors=tuple(map(checked_login, found["instructors"])),
            students={each.login: each for each in students},
            former=frozenset(map(checked_login, found["former"])),
        )
    except OSError as error:
        raise LittlestHubError(f"{file} cannot be read: {error.strerror or error}") from error
    except _NO_EXPORT as error:
        raise LittlestHubError(
            f"{file} is no export of a course: {str(error) or type(error).__name__}",
            "`course export` writes one",
        ) from error


_NO_EXPORT = (
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
    *(EOFError, zlib.error, tarfile.TarError, LittlestHubError),
)


def _student(record: dict[str, str]) -> Student:
    texts = {name: plain_text(record[name]) for name in _TEXTS}
    return Student(checked_login(record["login"]), **texts)


_TEXTS = ("first_name", "last_name", "email", "lms_id")


def restore(layout: Layout, course: Course, file: Path) -> None:
    """Fill a new course with the files in an export.

    Raises:
        LittlestHubError: why not.
        OSError: the file cannot be read.
    """
    with file.open("rb") as opened:
        done = subprocess.run(
            grader_command(layout, course, "restore"),
            stdin=opened,
            stderr=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        raise LittlestHubError(
            f"{file} cannot be read: {_last_line(done.stderr)}", "No course was made"
        )
    sys.stderr.write(done.stderr)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "it was ended"
