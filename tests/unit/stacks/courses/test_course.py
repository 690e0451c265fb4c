"""Courses as values, their file, cells of CSV, and what a kernel of a submission may be."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.stacks.courses import place, records
from littlest_hub.stacks.courses.course import (
    READY,
    Course,
    Student,
    checked_login,
    checked_name,
    number_of,
)
from littlest_hub.stacks.courses.grading import isolation
from littlest_hub.stacks.courses.grading.cells import safe
from littlest_hub.stacks.courses.grading.copying import copy_tree

LAYOUT = Layout(DEFAULT_BASE)
PS131 = Course("ps131", 15010, stage=READY, instructors=("alice",)).with_roster(
    [Student("bob"), Student("carol")]
)


def test_one_student_is_no_students() -> None:
    assert number_of(PS131.students, "student") == "2 students"
    assert number_of(PS131.instructors, "instructor") == "1 instructor"


@pytest.mark.parametrize("name", ["ps131", "p", "physics-2026", "a" * 20])
def test_a_name_that_can_be_part_of_accounts_and_units_is_accepted(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "PS131", "1st", "a--b", "a-", "../etc", "a/b", "a b", "a" * 21, "ps%i", "a\n"]
)
def test_a_name_that_would_be_another_path_or_unit_is_refused(name: str) -> None:
    with pytest.raises(LittlestHubError, match="cannot be the name of a course"):
        checked_name(name)


@pytest.mark.parametrize("login", ["", ".", "../x", "a+b", "a*", "a/b", "-x", "ü", "a" * 65, "a b"])
def test_a_login_that_nbgrader_cannot_use_is_refused(login: str) -> None:
    with pytest.raises(LittlestHubError, match="is no login"):
        checked_login(login)


def test_who_is_not_in_a_new_roster_has_dropped_out_and_comes_back_with_a_later_one() -> None:
    after = PS131.with_roster([Student("bob")])
    assert after.former == {"carol"}
    assert after.people == {"alice", "bob"}
    # The gradebook still has the former student.
    assert after.with_more([Student("carol"), Student("dave")]).students.keys() == {"bob", "dave"}
    assert after.with_roster([Student("carol")]).former == {"bob"}


def test_nobody_sees_an_archived_course() -> None:
    assert replace(PS131, stage="archived").people == set()


def test_courses_are_read_as_they_were_written(tmp_path: Path) -> None:
    layout = Layout(DEFAULT_BASE, root=tmp_path)
    with records.changing(layout):
        records.put(layout, PS131)
    assert records.read(layout) == {"ps131": PS131}
    file = layout.on_disk(place.records(layout))
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    file.write_text(text.replace("ps131", "../etc"))
    with pytest.raises(LittlestHubError, match="is damaged"):
        records.read(layout)
    file.write_text(json.dumps({"format": 2}))
    with pytest.raises(LittlestHubError, match="is damaged"):
        records.read(layout)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", " =cmd|' /C calc'!A0", "\r=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe(text) == f"'{text}"


@pytest.mark.parametrize("cell", ["bob", "O'Neil", -1.5, 3, "", None])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert safe(cell) is cell


@pytest.mark.parametrize(
    "path",
    [
        "/run/littlest-hub.courses-formgrader-other/kernel-abc",
        "/run/littlest-hub.courses-formgrader-ps131/../kernel-abc",
        "/run/littlest-hub.courses-formgrader-ps131/kernel-a b",
        "/run/littlest-hub.courses-formgrader-ps131/kernel-a:/etc",
        "/run/littlest-hub.courses-formgrader-ps131/kernel-a/b",
        "/etc",
    ],
)
def test_a_grader_can_show_a_kernel_only_directories_of_its_own(path: str) -> None:
    with pytest.raises(LittlestHubError):
        isolation.checked_directory(LAYOUT, "ps131", path)


@pytest.mark.parametrize("command", [None, "x", [], ["sh"], [1], ["/bin/sh", "a\0b"]])
def test_a_kernel_is_a_program_with_a_path(command: object) -> None:
    with pytest.raises(LittlestHubError):
        isolation.checked_command(command)


def test_words_of_a_kernel_are_no_variables_of_systemd() -> None:
    directory = Path("/run/littlest-hub.courses-formgrader-ps131/kernel-a")
    argv = isolation.systemd_run(LAYOUT, "ps131", "x.service", directory, ["/bin/echo", "$HOME"])
    assert argv[-1] == "$$HOME"


@pytest.mark.parametrize(
    ("base", "is_bound"),
    [("/opt/littlest-hub", False), ("/srv/hub", True), ("/home/hub", True), ("/srvs/hub", False)],
)
def test_a_kernel_sees_its_programs_where_directories_look_empty(base: str, is_bound: bool) -> None:
    layout = Layout(Path(base))
    directory = Path("/run") / place.runtime_of(layout, "ps131") / "kernel-a"
    argv = isolation.systemd_run(layout, "ps131", "x.service", directory, ["/bin/true"])
    assert (f"--property=BindReadOnlyPaths={base}" in argv) == is_bound
    assert f"--property=InaccessiblePaths=-{base}/state" in argv


def test_links_pipes_and_more_than_the_limit_are_not_copied(tmp_path: Path) -> None:
    source = tmp_path / "submission"
    (source / "data").mkdir(parents=True)
    (source / "data" / "x.csv").write_text("1")
    (tmp_path / "secret").write_text("the gradebook")
    (source / "stolen").symlink_to(tmp_path / "secret")
    (source / "tree").symlink_to(tmp_path)
    os.mkfifo(source / "pipe")
    left_out, changed_s = copy_tree(source, tmp_path / "copy", 10)
    assert sorted(left_out) == ["pipe", "stolen", "tree"]
    assert changed_s >= (source / "data" / "x.csv").stat().st_ctime
    assert [each.name for each in (tmp_path / "copy").rglob("*")] == ["data", "x.csv"]
    with pytest.raises(LittlestHubError, match="MB together"):
        copy_tree(source, tmp_path / "other", 0)


def test_a_time_that_somebody_has_set_does_not_count(tmp_path: Path) -> None:
    source = tmp_path / "submission"
    source.mkdir()
    (source / "ps1.ipynb").write_text("{}")
    os.utime(source / "ps1.ipynb", (0, 0))
    os.utime(source, (0, 0))
    _, changed_s = copy_tree(source, tmp_path / "copy", 10)
    assert changed_s > 1_600_000_000
