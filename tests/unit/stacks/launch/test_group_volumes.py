"""Volumes that people make for a group: what root's helper does, and what it refuses."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.manifest.plain_values import record_of
from littlest_hub.stacks.launch import probes, volumes
from littlest_hub.stacks.launch.fragment import FRAGMENT, Values
from littlest_hub.stacks.launch.group_volumes import helper, store
from littlest_hub.stacks.launch.group_volumes.units import units
from littlest_hub.system import acl
from tests.unit import unit_files

ALICE, BOB = "a" * 64, "b" * 64
STACK = EnabledStack("launch", port=8123)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A machine whose fragment lets members of staff make two volumes."""
    found = Layout(DEFAULT_BASE, root=tmp_path)
    (tmp_path / "srv").mkdir()
    configured(found, {"staff": 2})
    return found


def configured(layout: Layout, makers: dict[str, int]) -> None:
    file = layout.on_disk(layout.fragments / FRAGMENT)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"GROUP_VOLUMES = {makers!r}\n")


def ask(layout: Layout, *words: str) -> str:
    """Ask the helper, and return why it refuses; "": it has done it."""
    return str(helper.answer(layout, "\0".join(words).encode()).get("refusal", ""))


def make(
    layout: Layout, group: str = "physics", own: str = "data", person: str = ALICE, most: str = "2"
) -> str:
    return ask(layout, "make", group, own, "alice", person, "all", most)


def place(layout: Layout) -> Path:
    return layout.on_disk(store.place_of(layout))


def test_a_volume_is_a_directory_in_which_everybody_may_do_everything(layout: Layout) -> None:
    assert make(layout) == ""
    (found,) = store.all_of(layout).values()
    assert (found.name, found.group, found.owner) == ("physics.data", "physics", "alice")
    assert stat.S_IMODE(place(layout).stat().st_mode) == 0o700
    files = place(layout) / "physics.data/files"
    assert stat.S_IMODE(files.stat().st_mode) == 0o777
    umask = os.umask(0o077)
    try:
        (files / "x").write_text("")
        (files / "d").mkdir()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((files / "x").stat().st_mode) == 0o666
    assert stat.S_IMODE((files / "d").stat().st_mode) == 0o777
    assert found.volume(layout).path == "/srv/littlest-hub-volumes/physics.data/files"
    volumes.refuse_replaceable(found.volume(layout), layout.root)


def test_numbers_are_limited_by_the_fragment_and_by_the_hub(layout: Layout) -> None:
    assert make(layout, own="a", most="99") == ""
    assert make(layout, own="b", most="99") == ""
    assert (
        make(layout, own="c", most="99")
        == "you have 2 volumes; expected fewer, to make another one"
    )
    assert make(layout, own="c", person=BOB, most="1") == ""
    assert "you have 1 volumes" in make(layout, own="d", person=BOB, most="1")
    configured(layout, {})
    assert "you have 0 volumes" in make(layout, own="d", person="c" * 64, most="99")


def test_there_is_one_volume_of_a_name(layout: Layout) -> None:
    assert make(layout) == ""
    assert make(layout, person=BOB) == "there is a volume physics.data already"
    assert make(layout, "chemistry", person=BOB) == ""


@pytest.mark.parametrize(
    "own", ["", "../x", "a/b", "A", "-a", "a.b", "a b", "a:rw", "a" * 33, "ü", "a\n"]
)
def test_a_name_that_could_be_a_path_is_refused(layout: Layout, own: str) -> None:
    assert "expected a name" in make(layout, own=own)
    assert not place(layout).exists()


@pytest.mark.parametrize("group", ["", "*", "guests", "a\nb", "x" * 256])
def test_a_group_that_is_none_is_refused(layout: Layout, group: str) -> None:
    assert "expected a group" in make(layout, group)


@pytest.mark.parametrize(
    "group",
    [
        "../..",
        "/etc",
        ".",
        "a.b",
        "Physics",
        "physik-ü",
        "%h",
        "$(id)",
        "a:b",
        "a_b",
        "--",
        "x" * 255,
        "\U0001f600" * 255,
    ],
)
def test_a_group_of_any_name_becomes_a_name_of_its_own(layout: Layout, group: str) -> None:
    owner = "\U0001f600" * 255
    assert ask(layout, "make", group, "data", owner, ALICE, "all", "2") == ""
    (found,) = store.all_of(layout).values()
    assert found.group == group
    assert store.is_name(found.name)
    assert volumes.checked(f"{found.name}:rw", {found.name: True}) == f"{found.name}:rw"
    assert [each.name for each in place(layout).iterdir()] == [found.name]


def test_names_of_groups_are_never_the_same() -> None:
    groups = [
        "physics",
        "Physics",
        "PHYSICS",
        "physics ",
        "physics-1",
        "physics_1",
        "physics.1",
        "1",
    ]
    groups += [store.slug_of("Physics"), "x" * 40, "x" * 41]
    slugs = [store.slug_of(each) for each in groups]
    assert len({*slugs}) == len(slugs)
    assert slugs[0] == "physics"
    assert slugs[4] == "physics-1"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("make",),
        ("make", "physics", "data", "alice", "x", "all", "2"),
        ("make", "physics", "data", "a\nb", ALICE, "all", "2"),
        ("make", "physics", "data", "alice", ALICE, "everybody", "2"),
        ("make", "physics", "data", "alice", ALICE, "all", "-2"),
        ("make", "physics", "data", "alice", ALICE, "all", "²"),
        ("make", "physics", "data", "alice", ALICE, "all", "2", "more"),
        ("delete", "physics.data"),
        ("list",),
        ("x" * 5000,),
    ],
)
def test_other_requests_are_refused(layout: Layout, words: tuple[str, ...]) -> None:
    assert ask(layout, *words) == "no such request"
    assert helper.answer(layout, b"\xff\0") == {"refusal": "no such request"}
    assert not place(layout).exists()


@pytest.mark.parametrize(
    "name", ["../x", "physics", "physics.", ".", "", "physics.data/..", ".removed-1"]
)
def test_only_a_volume_is_deleted(layout: Layout, name: str) -> None:
    assert make(layout) == ""
    assert ask(layout, "delete", name, "alice") == "there is no such volume"
    assert [*store.all_of(layout)] == ["physics.data"]


def test_a_volume_is_gone_at_once_and_its_files_soon(layout: Layout) -> None:
    assert make(layout) == ""
    files = place(layout) / "physics.data/files"
    outside = layout.root / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    (files / "link").symlink_to(outside)
    deep = files
    with_cwd = os.open(files, os.O_RDONLY)
    try:
        current = os.dup(with_cwd)
        for _ in range(3000):  # deeper than any path
            os.mkdir("d", dir_fd=current)
            following = os.open("d", os.O_RDONLY, dir_fd=current)
            os.close(current)
            current = following
        os.close(current)
        assert ask(layout, "delete", "physics.data", "alice") == ""
        # Mounted in servers.
        assert stat.S_IMODE(os.fstat(with_cwd).st_mode) == 0o700
    finally:
        os.close(with_cwd)
    assert store.all_of(layout) == {}
    assert not deep.exists()
    assert make(layout) == "", "the name is free"
    helper.sweep(layout)
    assert [each.name for each in place(layout).iterdir()] == ["physics.data"]
    assert (outside / "kept").exists()
    assert ask(layout, "delete", "physics.data", "alice") == ""
    assert ask(layout, "delete", "physics.data", "alice") == "there is no such volume"


def test_a_helper_that_was_killed_leaves_nothing_for_good(layout: Layout) -> None:
    assert make(layout) == ""
    (place(layout) / ".new-physics.more/files").mkdir(parents=True)
    (place(layout) / ".new-physics.more/files/x").write_text("")
    assert [*store.all_of(layout)] == ["physics.data"]
    assert make(layout, own="more") == ""
    assert [*(place(layout) / "physics.more/files").iterdir()] == []
    helper.sweep(layout)
    assert sorted(each.name for each in place(layout).iterdir()) == ["physics.data", "physics.more"]


def test_a_link_in_the_place_of_the_directory_is_refused(layout: Layout) -> None:
    elsewhere = layout.root / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    place(layout).symlink_to(elsewhere)
    assert "cannot be written" in make(layout)
    assert [*elsewhere.iterdir()] == []


@pytest.mark.needs("root")
def test_a_directory_that_others_could_replace_is_refused(layout: Layout) -> None:
    (layout.root / "srv").chmod(0o777)
    assert "there can be no volumes: /srv belongs to root and has mode 0777" in make(layout)


def test_a_file_system_without_access_control_lists_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(acl, "set_default", refuse)
    assert make(layout) == "the file system of /srv has no access control lists"
    assert store.all_of(layout) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "physics.other"},
        {"group": "chemistry"},
        {"group": ["physics"]},
        {"person": "alice"},
        {"is_written_by_all": "yes"},
        {"time_s": "1"},
        {"more": 1},
    ],
)
def test_a_damaged_record_is_no_volume(layout: Layout, changes: dict[str, Any]) -> None:
    assert make(layout) == ""
    file = place(layout) / "physics.data/volume.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    assert store.all_of(layout) == {}
    with pytest.raises(LittlestHubError, match="the record of the volume"):
        store.read(layout, "physics.data")
    for text in ("", "[]", "[" * 5000, "x" * 5000):
        file.write_text(text)
        assert store.all_of(layout) == {}


@pytest.mark.needs("root")
def test_doctor_names_what_is_damaged_open_or_left(layout: Layout) -> None:
    snapshot: Any = SimpleNamespace(layout=layout, is_root=True)
    assert [*probes.group_volumes(snapshot)] == []
    assert make(layout) == ""
    assert make(layout, own="more") == ""
    assert [*probes.group_volumes(snapshot)] == []
    (place(layout) / "physics.data/volume.json").write_text("{}")
    (place(layout) / "physics.more/files").rmdir()
    (place(layout) / ".removed-0123").mkdir()
    place(layout).chmod(0o755)
    said = [each.text for each in probes.group_volumes(snapshot)]
    assert "is open to others; expected mode 0700" in said[0]
    assert ".removed-0123" in said[1]
    assert "physics.data is in no server: the record" in said[2]
    assert "physics.more is in no server: /srv/littlest-hub-volumes/physics.more/files" in said[3]


def test_members_have_it_and_its_owner_or_all_write() -> None:
    all_write = store.GroupVolume("physics.data", "physics", "alice", ALICE, True, 0)
    one_writes = replace(all_write, name="physics.notes", is_written_by_all=False)
    found = {each.name: each for each in (all_write, one_writes)}
    assert store.offered(found, ["physics"], BOB) == {"physics.data": True, "physics.notes": False}
    assert store.offered(found, ["physics"], ALICE) == {"physics.data": True, "physics.notes": True}
    assert store.offered(found, ["chemistry"], ALICE) == {}, "the owner has left the group"


def test_makers_have_the_highest_of_their_numbers() -> None:
    makers = {"staff": 5, "*": 1}
    assert store.most_of(makers, ["staff"]) == 5
    assert store.most_of(makers, []) == 1
    assert store.most_of({"staff": 5}, ["physics"]) == 0
    assert store.most_of({"staff": 5}, [], is_admin=True) == 5
    assert store.most_of({}, ["staff"], is_admin=True) == 0


@pytest.mark.parametrize(
    "wrong", [["staff"], {"staff": "5"}, {"staff": -1}, {"staff": True}, {5: 5}, {"staff": 101}]
)
def test_a_wrong_value_is_named(wrong: Any) -> None:
    found = record_of({"GROUP_VOLUMES": wrong}, Values)
    assert [name for name, _ in found.problems()] == ["GROUP_VOLUMES"]


@pytest.mark.needs("systemd-analyze")
def test_the_helper_exposes_little(tmp_path: Path) -> None:
    written = unit_files.write(units(Layout(DEFAULT_BASE)), tmp_path)
    assert unit_files.complaints(written.values(), "launch-") == []
    unit_files.exposes_at_most(written["littlest-hub.launch-volumes@.service"], 1.4)
