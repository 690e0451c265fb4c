"""nbgrader's students' versions and pages of feedback: they are there whole, or as they were.

nbgrader removes what was there, and writes anew in its place. If it is killed meanwhile, a part of
an assignment looks like a whole one: the next release would hand it out.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from pathlib import Path
from typing import Any


@functools.cache
def replace_in_one_step() -> None:
    """Let nbgrader in this process make both beside their places, and then put them there."""
    from nbgrader.converters import GenerateAssignment, GenerateFeedback

    _make_beside(GenerateAssignment, "release_directory")
    _make_beside(GenerateFeedback, "feedback_directory")


def _make_beside(converter: Any, name: str) -> None:
    """Change a class of nbgrader.

    Args:
        converter: the class.
        name: the setting of the course that says into which directory it writes.
    """
    finish = converter.set_permissions

    def output_directory(self: Any) -> str:
        directory = str(getattr(self.coursedir, name))
        return _half(directory) if _is_whole(self) else directory

    def set_permissions(self: Any, assignment: str, student: str) -> None:
        finish(self, assignment, student)
        if _is_whole(self):
            made = Path(self._format_dest(assignment, student))
            directory = getattr(self.coursedir, name)
            _put(made, Path(self.coursedir.format_path(directory, student, assignment)))

    converter._output_directory = property(output_directory)
    converter.set_permissions = set_permissions


def _half(directory: str) -> str:
    return f".{directory}.half"


def _is_whole(converter: Any) -> bool:
    """Return whether all notebooks are made, and not one, which is added to the others."""
    return bool(converter.coursedir.notebook_id == "*")


def _put(made: Path, place: Path) -> None:
    """Put a directory in the place of another one; remove that."""
    old = made.with_name(f".{made.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        place.replace(old)
    made.replace(place)
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are being made there
        os.removedirs(made.parent)
