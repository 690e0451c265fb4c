"""Answers of a submission, as they were when it was graded last; no nbgrader is needed.

Instructors who grade by hand look at answers and outputs. If a submission is graded again, and
these are the same, the grade needs no second look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littlest_hub.system import json_file
from littlest_hub.system.files import write

_DIRECTORY = Path(".answers")


def fingerprints(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Return for each graded cell a text that changes with what its grade depends on.

    For an answer in words this is the cell. For code it is the whole notebook and the output of the
    cell, since any other cell may change what the code does.
    """
    cells = notebook["cells"]
    whole = _digest([[each["cell_type"], each["source"]] for each in cells])
    found = {}
    for each in cells:
        marks = each["metadata"].get("nbgrader", {})
        if not marks.get("grade"):
            continue
        is_text = marks.get("solution") and each["cell_type"] == "markdown"
        seen = each.get("attachments", {}) if is_text else [whole, _outputs(each)]
        found[str(marks["grade_id"])] = _digest([each["cell_type"], each["source"], seen])
    return found


def _outputs(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Tracebacks name a temporary file.
    return [
        {key: value for key, value in each.items() if key != "traceback"}
        for each in cell.get("outputs", [])
    ]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def last(assignment: str, student: str, notebook: str) -> dict[str, str]:
    """Return the fingerprints when a notebook was graded last; {}: they are not known."""
    return json_file.read_object(_file(assignment, student, notebook))


def keep(assignment: str, student: str, notebook: str, found: Mapping[str, str]) -> None:
    """Record the fingerprints of a notebook whose grades are in the gradebook."""
    file = _file(assignment, student, notebook)
    write(file, json.dumps(dict(found)), 0o600, is_durable=False)


def _file(assignment: str, student: str, notebook: str) -> Path:
    return _DIRECTORY / assignment / student / f"{notebook}.json"
