"""Databases of users, each of whom may want that nobody gets a backup."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from littlest_hub.stacks.backups.backup import databases

pytestmark = pytest.mark.row(42)

NAME = "gradebook.db"
BOB, MALLORY = 4321, 4322


def make(directory: Path, owner: int | None = None) -> Path:
    """Make a database of somebody's."""
    directory.mkdir(parents=True)
    file = directory / NAME
    with closing(sqlite3.connect(file)) as made:
        made.execute("CREATE TABLE grade (score REAL)")
        made.execute("INSERT INTO grade VALUES (1.0)")
        made.commit()
    if owner is not None:
        os.chown(file, owner, owner)
    return file


def copies(
    homes: Path, of_an_owner_s: float = databases.OF_AN_OWNER_S
) -> tuple[int, list[str], list[Path]]:
    """Copy everything; return how many were copied, the problems, and the copies."""
    target = homes.parent / "copies"
    number, problems = databases.copy_all([str(homes)], [NAME], target, of_an_owner_s)
    return number, problems, [*target.rglob(NAME)]


@pytest.mark.needs("root")
def test_a_pipe_beside_a_database_holds_up_no_other_one(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    for each in ("a", "b", "c"):
        file = make(homes / "mallory" / each, MALLORY)
        os.mkfifo(file.with_name(f"{NAME}-journal"))
    make(homes / "bob", BOB)
    number, problems, found = copies(homes, 0.5)
    assert number == 1
    assert [each.parent.name for each in found] == ["bob"]
    assert sorted(each.partition(": ")[2] for each in problems) == [
        "it took too long",
        *["the databases of its owner have taken too long"] * 2,
    ]


@pytest.mark.needs("root")
def test_a_database_that_stays_locked_holds_up_no_other_one(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    file = make(homes / "mallory", MALLORY)
    make(homes / "bob", BOB)
    with closing(sqlite3.connect(file, isolation_level=None)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        number, problems, _ = copies(homes, 0.5)
    assert (number, len(problems)) == (1, 1)
    assert problems[0].endswith("it took too long")


def test_names_and_depths_that_no_program_expects_end_no_backup(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    make(homes / "bob" / os.fsdecode(b"caf\xe9"))
    deep = os.open(homes / "bob", os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=deep)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    number, problems, found = copies(homes)
    # Python's own function does not get that deep.
    subprocess.run(["rm", "-r", str(homes)], check=True)
    assert (number, problems) == (1, [])
    assert os.fsencode(found[0].parent.name) == b"caf\xe9"


def test_a_path_that_is_too_long_for_its_copy_ends_no_backup(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    file = make(homes / "bob")
    place = os.open(homes / "bob", os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=place)
        inner = os.open("d" * 250, os.O_RDONLY | os.O_DIRECTORY, dir_fd=place)
        os.close(place)
        place = inner
    os.rename(file, NAME, dst_dir_fd=place)
    os.close(place)
    make(homes / "carol")
    number, problems, _ = copies(homes)
    assert (number, len(problems)) == (1, 1)


def test_a_database_larger_than_the_disk_is_not_copied(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    file = make(homes / "mallory")
    free = os.statvfs(tmp_path)
    os.truncate(file, free.f_bavail * free.f_frsize)  # without a byte on the disk
    number, problems, found = copies(homes)
    assert (number, found) == (0, [])
    assert "more than half of the disk that is left" in problems[0]


def test_files_of_another_directory_than_the_databases_own_are_not_read(tmp_path: Path) -> None:
    # As for whoever puts a link in the place of a directory while SQLite opens what is in it.
    make(tmp_path / "elsewhere" / "alice")
    (tmp_path / "homes").symlink_to(tmp_path / "elsewhere")
    target = tmp_path / "copies"
    number, problems = databases.copy_all([str(tmp_path / "homes" / "alice")], [NAME], target)
    assert number == 0
    assert problems[0].endswith("its directory was replaced while it was opened")
    assert not [*target.rglob(NAME)]


def test_a_name_of_several_lines_is_one_line_for_the_administrator(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    directory = homes / "x\n  problem: run this\x1b[2J"
    directory.mkdir(parents=True)
    (directory / NAME).write_bytes(b"SQLite format 3\0 and nothing more")
    _, problems, _ = copies(homes)
    assert problems[0].isprintable()
    assert "problem: run this" in problems[0]
