"""Files of a backup, restored as their owner, who controls everything in the home."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.backup import databases
from littlest_hub.stacks.backups.restore import people
from littlest_hub.stacks.backups.restore.people import Person
from littlest_hub.stacks.backups.restore.source import Count, Source
from littlest_hub.system.restic import Snapshot
from tests.unit.stacks.backups.conftest import UID, Scene

# Each makes a repository of its own, which takes seconds.
pytestmark = [pytest.mark.needs("restic", "root"), pytest.mark.long]


def source(scene: Scene, snapshot: Snapshot, given: str = "", **more: bool) -> Source:
    path = scene.person.path_of(given)
    nodes = people.look(scene.repository, snapshot.id, scene.person, path)
    node = people.reached(scene.person, nodes, path)
    return Source(scene.repository, scene.place, snapshot, node, scene.person, **more)


def restored(scene: Scene, snapshot: Snapshot, given: str = "") -> tuple[Path, Count]:
    where, count = source(scene, snapshot, given).restored(lambda _: None)
    return Path(where), count


def listed(scene: Scene, snapshot: Snapshot, given: str = "") -> list[str]:
    path = scene.person.path_of(given)
    nodes = people.look(scene.repository, snapshot.id, scene.person, path)
    people.reached(scene.person, nodes, path)
    return [node.name for node in people.readable(scene.person, nodes.values(), path)]


def test_a_deleted_notebook_comes_back_beside_what_is_there_now(scene: Scene) -> None:
    file = scene.write("work/plan.ipynb", "yesterday", 0o640)
    os.utime(file, (1_700_000_000, 1_700_000_000))
    scene.own(file.parent)
    snapshot = scene.back_up()
    file.write_text("today")
    where, count = restored(scene, snapshot, "work/plan.ipynb")
    found = where / "plan.ipynb"
    assert where.parent == scene.home / "restored"
    assert (found.read_text(), file.read_text()) == ("yesterday", "today")
    assert (count.files, count.left_out) == (1, 0)
    status = found.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (UID, 0o640)
    assert status.st_mtime == 1_700_000_000
    again, _ = restored(scene, snapshot, "work")
    assert again.name == f"{where.name} (2)"
    assert (again / "work/plan.ipynb").read_text() == "yesterday"


def test_a_whole_home_comes_without_what_was_restored_earlier(scene: Scene) -> None:
    scene.write("plan", "mine")
    scene.write("work/restored/plan", "of the person")
    for directory in (scene.home / "work", scene.home / "work/restored"):
        scene.own(directory)
    first, count = restored(scene, scene.back_up())
    assert count.files == 2
    snapshot = scene.back_up()
    again, count = restored(scene, snapshot)
    assert {each.name for each in again.iterdir()} == {"plan", "work"}
    assert (count.files, count.left_out) == (2, 0)
    assert (again / "work/restored/plan").read_text() == "of the person"
    # It is in the backup all the same.
    chosen, _ = restored(scene, snapshot, "restored")
    assert (chosen / "restored" / first.name / "plan").read_text() == "mine"
    scene.home.rename(scene.homes / "away")
    source(scene, snapshot, is_filtered=False).home_made(lambda _: None)
    assert (scene.home / "restored" / first.name / "plan").read_text() == "mine"


def test_names_that_are_hostile_or_no_text_stay_files(scene: Scene) -> None:
    names = ["a b*?[x]", "-rf", "back\\slash", "new\nline", "ü", ";id #$(id)", ".hidden"]
    for name in names:
        scene.write(f"odd/{name}", name)
    (scene.home / "odd" / os.fsdecode(b"no \xff text")).write_text("bytes")
    scene.own(scene.home / "odd")
    os.chown(scene.home / "odd" / os.fsdecode(b"no \xff text"), UID, UID)
    snapshot = scene.back_up()
    assert sorted(listed(scene, snapshot, "odd")) == sorted([*names, "no \ufffd text"])
    where, count = restored(scene, snapshot, "odd")
    assert count.files == len(names) + 1
    assert {f"{each.name}" for each in (where / "odd").iterdir()} == {
        *names,
        os.fsdecode(b"no \xff text"),
    }
    for name in names:
        one, _ = restored(scene, snapshot, f"odd/{name}")
        assert (one / name).read_text() == name


@pytest.mark.parametrize("given", ["..", "../bob", "work/../../bob", "/etc/passwd", "a\0b"])
def test_a_path_that_leads_out_of_the_home_is_refused(scene: Scene, given: str) -> None:
    with pytest.raises(LittlestHubError, match="is not in"):
        scene.person.path_of(given)


def test_what_others_have_in_the_home_is_neither_listed_nor_restored(scene: Scene) -> None:
    scene.write("open", "for all", 0o644, uid=UID + 1)
    scene.write("secret", "of bob", 0o600, uid=UID + 1)
    scene.write("closed/readable", "in a directory of bob's", 0o644, uid=UID + 1)
    closed = scene.home / "closed"
    scene.own()
    os.chown(closed, UID + 1, UID + 1)
    closed.chmod(0o700)
    snapshot = scene.back_up()
    assert listed(scene, snapshot) == ["open"]
    for given in ("secret", "closed", "closed/readable", "missing"):
        with pytest.raises(LittlestHubError, match="is not in this backup, or you may not read"):
            source(scene, snapshot, given)
    where, count = restored(scene, snapshot)
    assert [each.name for each in where.iterdir()] == ["open"]
    assert (count.files, count.left_out) == (1, 3)


def test_the_home_of_a_former_user_of_the_same_name_is_nobodys(scene: Scene) -> None:
    scene.write("diary", "of the former alice", 0o644)
    scene.own()
    os.chown(scene.home, UID + 7, UID + 7)
    scene.home.chmod(0o755)
    snapshot = scene.back_up()
    with pytest.raises(LittlestHubError, match="no home directory of yours"):
        source(scene, snapshot, "diary")


def test_a_link_in_place_of_restored_leads_nowhere(scene: Scene, tmp_path: Path) -> None:
    scene.write("work", "mine")
    scene.own()
    snapshot = scene.back_up()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o777)
    elsewhere.chmod(0o777)
    (scene.home / "restored").symlink_to(elsewhere)
    with pytest.raises(LittlestHubError, match="is a link or a file"):
        restored(scene, snapshot)
    assert list(elsewhere.iterdir()) == []
    (scene.home / "restored").unlink()
    (scene.home / "restored").write_text("a file")
    with pytest.raises(LittlestHubError, match="is a link or a file"):
        restored(scene, snapshot)


def test_links_and_programs_come_back_without_rights(scene: Scene) -> None:
    scene.write("tools/run", "#!/bin/sh", 0o4755)
    (scene.home / "tools/passwords").symlink_to("/etc/shadow")
    os.mkfifo(scene.home / "tools/pipe")
    for each in ("passwords", "pipe"):
        os.chown(scene.home / "tools" / each, UID, UID, follow_symlinks=False)
    (scene.home / "tools/closed").mkdir()
    scene.write("tools/closed/file", "in a directory that one may not write to")
    scene.own(scene.home / "tools", scene.home / "tools/closed")
    (scene.home / "tools/closed").chmod(0o500)
    snapshot = scene.back_up()
    where, count = restored(scene, snapshot, "tools")
    assert (where / "tools/run").stat().st_mode & 0o7777 == 0o755
    assert (where / "tools/passwords").readlink() == Path("/etc/shadow")
    # restic hands over what is no file as an empty one.
    assert (where / "tools/pipe").is_file()
    assert (where / "tools/closed/file").read_text()
    assert (where / "tools/closed").stat().st_mode & 0o777 == 0o500
    assert count.left_out == 0
    assert source(scene, snapshot, "tools/passwords").node.kind == "symlink"


def test_a_database_in_use_comes_back_as_one_moment_of_it(scene: Scene) -> None:
    scene.write("course/gradebook.db", "")
    file = scene.home / "course/gradebook.db"
    scene.own(file.parent)
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE grade (student TEXT, score REAL)")
        connection.execute("INSERT INTO grade VALUES ('alice', 1.0)")
    # This is in the write-ahead log and not in the file.
    assert databases.copy_all([str(scene.homes)], ["gradebook.db"], scene.place.databases) == (
        1,
        [],
    )
    snapshot = scene.back_up()
    assert scene.place.staging_in(snapshot)
    connection.close()
    for given in ("course/gradebook.db", "course", ""):
        where, count = restored(scene, snapshot, given)
        copied = next(where.rglob("gradebook.db"))
        with sqlite3.connect(f"file:{copied}?mode=ro&immutable=1", uri=True) as read:
            assert read.execute("SELECT score FROM grade").fetchall() == [(1.0,)]
        assert copied.stat().st_uid == UID
        assert count.left_out == 0


def test_a_link_to_a_database_of_somebody_else_is_not_copied(scene: Scene) -> None:
    other = scene.homes / "bob.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE secret (x)")
    (scene.home / "gradebook.db").symlink_to(other)
    os.mkfifo(scene.homes / "gradebook.db")
    copies = databases.copy_all([str(scene.homes)], ["gradebook.db"], scene.place.databases)
    assert copies == (0, [])
    assert not list(scene.place.databases.rglob("*.db"))


def test_a_damaged_database_is_named_and_the_rest_goes_on(scene: Scene) -> None:
    scene.write("gradebook.db", "SQLite format 3\0 and nothing more")
    number, problems = databases.copy_all(
        [str(scene.homes)], ["gradebook.db"], scene.place.databases
    )
    assert number == 0
    assert "gradebook.db" in problems[0]


def test_a_whole_home_comes_back_where_there_is_none(scene: Scene) -> None:
    scene.write("work/plan.ipynb", "mine")
    scene.write("of bob", "left here", 0o600, uid=UID + 1)
    scene.own(scene.home / "work")
    snapshot = scene.back_up()
    with pytest.raises(LittlestHubError, match="exists"):
        source(scene, snapshot, is_filtered=False).home_made(lambda _: None)
    scene.home.rename(scene.homes / "away")
    # The number of the account is another one on another machine.
    moved = Person("alice", UID + 100, UID + 100, str(scene.home))
    moved.__dict__["groups"] = [UID + 100]
    node = source(scene, snapshot).node
    whole = Source(scene.repository, scene.place, snapshot, node, moved, is_filtered=False)
    assert whole.home_made(lambda _: None).files == 2
    assert (scene.home / "work/plan.ipynb").stat().st_uid == UID + 100
    assert scene.home.stat().st_mode & 0o777 == 0o700
    assert {each.name for each in scene.homes.iterdir()} == {"alice", "away"}


def test_a_damaged_repository_leaves_nothing_half_restored(scene: Scene) -> None:
    for number in range(20):
        file = scene.write(f"work/{number}", "")
        file.write_bytes(os.urandom(2_000_000))
    scene.own(scene.home / "work")
    snapshot = scene.back_up()
    packs = sorted(
        Path(scene.settings.repository, "data").rglob("*"), key=lambda p: p.stat().st_size
    )
    pack = packs[-1]
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 0xFF
    pack.write_bytes(content)
    with pytest.raises(LittlestHubError) as caught:
        restored(scene, snapshot, "work")
    assert "damaged" in caught.value.message or "read to" in caught.value.message
    assert list((scene.home / "restored").iterdir()) == []


def test_a_wrong_password_is_said_as_one(scene: Scene) -> None:
    scene.place.password.write_text("another one\n")
    with pytest.raises(LittlestHubError, match=r"the password in .* does not open the repository"):
        scene.repository.exists()


def test_no_secret_is_an_argument(scene: Scene) -> None:
    environment = scene.repository.environment()
    assert "seven blue umbrellas" not in json.dumps(environment)
    assert environment["RESTIC_PASSWORD_FILE"] == str(scene.place.password)
