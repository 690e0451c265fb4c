"""Extensions, lateness, answers that are the same as before, and what is made whole."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.grading import answers, extensions, generating, lateness

pytestmark = pytest.mark.unit


def cell(kind: str, name: str, source: str, **more: Any) -> dict[str, Any]:
    marks = {"grade_id": name, "grade": True, "solution": kind == "markdown"}
    return {"cell_type": kind, "source": source, "metadata": {"nbgrader": marks}, **more}


NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "source": "x = 1", "metadata": {}, "outputs": []},
        cell("code", "test", "assert x == 1", outputs=[{"output_type": "stream", "text": "1"}]),
        cell("markdown", "essay", "Because."),
    ]
}


def changed(number: int, **parts: Any) -> set[str]:
    """Return the cells whose grade needs another look after a change."""
    notebook = copy.deepcopy(NOTEBOOK)
    notebook["cells"][number].update(parts)
    before, after = answers.fingerprints(NOTEBOOK), answers.fingerprints(notebook)
    assert before.keys() == after.keys() == {"test", "essay"}
    return {name for name in before if before[name] != after[name]}


def test_a_text_is_the_same_whatever_the_code_does_and_code_depends_on_all_cells() -> None:
    assert changed(0, source="x = 2") == {"test"}
    assert changed(2, source="Therefore.") == {"test", "essay"}
    assert changed(2, attachments={"a.png": {"image/png": "AAAA"}}) == {"essay"}
    assert changed(1, outputs=[{"output_type": "stream", "text": "2"}]) == {"test"}


def test_another_traceback_of_the_same_error_is_no_change() -> None:
    error = {"output_type": "error", "ename": "NameError", "evalue": "x"}
    notebooks = []
    for traceback in (["/tmp/1.py"], ["/tmp/2.py"]):
        notebook = copy.deepcopy(NOTEBOOK)
        notebook["cells"][1]["outputs"] = [{**error, "traceback": traceback}]
        notebooks.append(answers.fingerprints(notebook))
    assert notebooks[0] == notebooks[1] != answers.fingerprints(NOTEBOOK)


def test_what_is_not_known_of_a_former_grading_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert answers.last("ps1", "bob", "work") == {}
    answers.keep("ps1", "bob", "work", {"essay": "a"})
    assert answers.last("ps1", "bob", "work") == {"essay": "a"}
    (damaged,) = tmp_path.rglob("work.json")
    damaged.write_text("[")
    assert answers.last("ps1", "bob", "work") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", timedelta(minutes=90)),
        ("36h", timedelta(hours=36)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
        ("0", timedelta(0)),
    ],
)
def test_an_extension_is_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert extensions.length(text) == expected


@pytest.mark.parametrize("text", ["", "2", "-1d", "2 d", "1y", "99999d", "1.5h", "2d\n", "٣d"])
def test_another_text_is_no_extension(text: str) -> None:
    with pytest.raises(LittlestHubError, match="is no extension"):
        extensions.length(text)


def test_the_last_extension_of_a_student_counts(tmp_path: Path) -> None:
    file = tmp_path / "extensions.csv"
    assert extensions.read(file) == {}
    extensions.grant("ps1", "bob", "2d", file)
    extensions.grant("ps1", "carol", "1w", file)
    extensions.grant("ps1", "bob", "0", file)
    assert extensions.read(file) == {("ps1", "bob"): "0", ("ps1", "carol"): "1w"}
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_instructor_may_write_the_file_with_a_spreadsheet(tmp_path: Path) -> None:
    file = tmp_path / "extensions.csv"
    file.write_bytes(b"\xef\xbb\xbfassignment,login,extension\r\n ps1 , Bob ,2d\r\n,,\r\n\r\n")
    assert extensions.read(file) == {("ps1", "bob"): "2d"}


@pytest.mark.parametrize("line", ["ps1,bob", "ps1,bob,soon", "ps1,bob,2d,", "nonsense"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "extensions.csv"
    file.write_text(f"assignment,login,extension\nps1,carol,1w\n{line}\n")
    with pytest.raises(LittlestHubError, match="line 3: expected an assignment"):
        extensions.read(file)


def test_what_is_made_takes_its_place_whole_and_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "feedback" / "bob" / "ps1"
    made = tmp_path / ".feedback.half" / "bob" / "ps1"
    for text in ("first", "second"):
        made.mkdir(parents=True)
        (made / "work.html").write_text(text)
        # Left by a run that was killed after its last step but one.
        (made.with_name(".ps1.old") / "images").mkdir(parents=True)
        generating._put(made, place)
        assert (place / "work.html").read_text() == text
        assert [each.name for each in tmp_path.iterdir()] == ["feedback"]
    other = tmp_path / ".feedback.half" / "carol" / "ps1"
    other.mkdir(parents=True)
    made.mkdir(parents=True)
    generating._put(made, place)
    assert other.is_dir()
    assert [*place.iterdir()] == []


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(hours=26, minutes=3), "1 d 2 h"),
        (timedelta(days=2, minutes=3), "2 d"),
    ],
)
def test_a_length_of_time_has_two_units(time: timedelta, words: str) -> None:
    assert lateness.in_words(time) == words
