"""Shared folders: what the fragment may say, what root makes, and what a server sees."""

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.shared import folders, settings, view
from littlest_hub.stacks.classroom.shared.settings import Folder, Shared
from littlest_hub.system import acl
from tests.capabilities import need

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
OTHERS = "users"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    need("root")
    return Layout(Path("/opt/littlest-hub"), tmp_path)


@pytest.fixture
def place(layout: Layout) -> Path:
    """The directory of the folders, below the test's own."""
    return layout.on_disk(settings.place_of(layout))


def test_folders_are_read() -> None:
    found = Shared({"data": {"kind": "read-only", "group": "teachers"}})
    assert found.problems() == []
    assert found.folders == [Folder("data", "read-only", "teachers")]


@pytest.mark.parametrize(
    "value",
    [
        ["data"],
        {"../etc": {"kind": "read-only", "group": "teachers"}},
        {".hidden": {"kind": "read-only", "group": "teachers"}},
        {"a b": {"kind": "read-only", "group": "teachers"}},
        {3: {"kind": "read-only", "group": "teachers"}},
        {"data": "read-only"},
        {"data": {"kind": "read-only"}},
        {"data": {"kind": "public", "group": "teachers"}},
        {"data": {"kind": "group", "group": "docker"}},
        {"data": {"kind": "group", "group": ""}},
        {"data": {"kind": "group", "group": "-x"}},
    ],
)
def test_a_folder_that_cannot_be_made_is_named(value: Any) -> None:
    found = Shared(value).problems()
    assert [name for name, _ in found] == ["SHARED"]


def test_each_hub_has_a_place_of_its_own() -> None:
    places = {settings.place_of(Layout(Path(base))) for base in ("/opt/littlest-hub", "/srv/b")}
    assert len(places) == 2


def folder(name: str, kind: str, group: str = OTHERS) -> Shared:
    return Shared({name: {"kind": kind, "group": group}})


def mode(path: Path) -> tuple[int, str]:
    status = path.stat()
    return stat.S_IMODE(status.st_mode), grp.getgrgid(status.st_gid).gr_name


@pytest.mark.parametrize(
    ("kind", "expected", "file"),
    [("read-only", 0o2775, 0o664), ("group", 0o2770, 0o660)],
)
def test_files_belong_to_the_group_whatever_the_umask(
    layout: Layout, place: Path, kind: str, expected: int, file: int
) -> None:
    folders.make(layout, folder("work", kind))
    assert mode(place / "work") == (expected, OTHERS)
    before = os.umask(0o077)
    try:
        (place / "work" / "note").touch()
        (place / "work" / "inner").mkdir()
        (place / "work" / "inner" / "note").touch()
    finally:
        os.umask(before)
    assert mode(place / "work" / "note") == (file, OTHERS)
    assert mode(place / "work" / "inner" / "note") == (file, OTHERS)


def test_a_drop_box_has_a_folder_for_each_person_which_only_the_group_reads(
    layout: Layout, place: Path
) -> None:
    shared = folder("hand-in", "drop-box")
    folders.make(layout, shared)
    person = pwd.getpwnam("nobody")
    folders.make_own(layout, shared, person.pw_name)
    own = place / "hand-in" / person.pw_name
    assert mode(place / "hand-in") == (0o751, OTHERS)
    assert mode(own) == (0o2750, OTHERS)
    assert own.stat().st_uid == person.pw_uid
    (own / "essay").touch()
    assert mode(own / "essay") == (0o640, OTHERS)


def test_a_folder_that_is_shared_no_more_is_closed_and_keeps_its_files(
    layout: Layout, place: Path
) -> None:
    folders.make(layout, folder("work", "group"))
    (place / "work" / "note").write_text("mine")
    folders.make(layout, Shared())
    assert mode(place / "work") == (0o700, "root")
    assert (place / "work" / "note").read_text() == "mine"
    folders.make(layout, folder("work", "group"))
    assert mode(place / "work") == (0o2770, OTHERS)


def test_without_folders_nothing_is_made(layout: Layout, place: Path) -> None:
    folders.make(layout, Shared())
    assert not place.exists()


def test_a_link_in_place_of_a_folder_is_refused(layout: Layout, place: Path) -> None:
    place.mkdir(parents=True)
    (place / "work").symlink_to("/etc")
    with pytest.raises(LittlestHubError, match="cannot be shared"):
        folders.make(layout, folder("work", "group"))


def test_a_persons_folder_that_somebody_else_has_made_becomes_theirs(
    layout: Layout, place: Path
) -> None:
    (place / "hand-in" / "nobody").mkdir(parents=True)
    shared = folder("hand-in", "drop-box")
    folders.make(layout, shared)
    folders.make_own(layout, shared, "nobody")
    own = place / "hand-in" / "nobody"
    assert own.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert mode(own) == (0o2750, OTHERS)


def test_a_server_sees_what_it_may_use(layout: Layout) -> None:
    shared = Shared(
        {
            "data": {"kind": "read-only", "group": OTHERS},
            "ours": {"kind": "group", "group": MY_GROUP},
            "theirs": {"kind": "group", "group": OTHERS},
            "all": {"kind": "drop-box", "group": MY_GROUP},
        }
    )
    folders.make(layout, shared)
    found = view.properties(layout, shared, ME)
    place = settings.place_of(layout)
    assert found["TemporaryFileSystem"] == [f"{place}:ro,mode=0755,size=1M"]
    assert found["BindPaths"] == [f"-{place}/ours:{place}/ours"]
    shown = [f"-{place}/{name}:{place}/{name}" for name in ("data", "all")]
    assert found["BindReadOnlyPaths"] == shown
    # Somebody who is no member.
    folders.make_own(layout, shared, "nobody")
    found = view.properties(layout, Shared({"all": shared.shared["all"]}), "nobody")
    assert found["BindPaths"] == [f"-{place}/all/nobody:{place}/all"]


def test_a_filesystem_without_access_control_lists_is_recognized() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)
    with pytest.raises(OSError, match="not supported") as raised:
        acl.set_default(descriptor, 0o7, 0o7, 0o0)
    os.close(descriptor)
    assert acl.is_unsupported(raised.value)
