"""Directories on the way to a path that others can change."""

import os
import struct
import subprocess
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.system.ownership import check_owners, loose_step

pytestmark = [pytest.mark.unit, pytest.mark.needs("root")]

ALICE, STAFF = 1000, 50


def make(path: Path, uid: int = 0, gid: int = 0, mode: int = 0o755) -> Path:
    path.mkdir(parents=True)
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "is_loose"),
    [
        (0, 0, 0o755, False),
        (0, 0, 0o775, False),  # as some distributions have it
        (0, STAFF, 0o755, False),
        (0, STAFF, 0o775, True),
        (0, 0, 0o777, True),
        (0, 0, 0o1777, False),  # as /tmp
        (ALICE, ALICE, 0o755, True),
        (ALICE, ALICE, 0o1755, True),
    ],
)
def test_a_directory_belongs_to_root_and_nobody_else_writes_to_it(
    tmp_path: Path, uid: int, gid: int, mode: int, is_loose: bool
) -> None:
    parent = make(tmp_path / "srv/class", uid, gid, mode)
    base = make(parent / "hub/releases")
    found = loose_step(base)
    assert (found and (found.path, found.uid, found.mode)) == (
        (parent, uid, mode) if is_loose else None
    )


def test_a_sticky_directory_to_which_anybody_adds_entries_is_loose_itself(tmp_path: Path) -> None:
    fragments = make(tmp_path / "jupyterhub_config.d", mode=0o1777)
    assert loose_step(fragments / "not-there-yet") is None
    found = loose_step(fragments)
    assert found
    assert found.path == fragments


@pytest.mark.row(34)
def test_a_directory_of_root_to_which_a_list_lets_somebody_write_is_loose(tmp_path: Path) -> None:
    parent = make(tmp_path / "srv/class", mode=0o755)
    entries = ((1, 7, -1), (2, 7, ALICE), (4, 5, -1), (16, 7, -1), (32, 5, -1))
    text = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(parent, "system.posix_acl_access", struct.pack("<I", 2) + text)
    base = make(parent / "hub")
    found = loose_step(base)
    assert found
    assert found.path == parent
    assert "access control list" in found.reason
    subprocess.run(["sh", "-c", found.repair], check=True)
    assert loose_step(base) is None


def test_links_are_followed_at_each_step(tmp_path: Path) -> None:
    hers = make(tmp_path / "home/alice", ALICE, ALICE)
    make(hers / "disk/hub")
    (tmp_path / "srv").symlink_to("data/../b")
    make(tmp_path / "data")
    (tmp_path / "b").symlink_to(hers / "disk")
    assert loose_step(tmp_path / "data") is None
    found = loose_step(tmp_path / "srv/hub")
    assert found
    assert found.path == hers
    # In a sticky directory, the owner of a link decides where it leads.
    make(tmp_path / "tmp", mode=0o1777)
    (tmp_path / "tmp/hub").symlink_to(tmp_path / "data")
    os.lchown(tmp_path / "tmp/hub", ALICE, ALICE)
    found = loose_step(tmp_path / "tmp/hub")
    assert found
    assert found.path == tmp_path / "tmp/hub"
    (tmp_path / "endless").symlink_to("endless")
    assert loose_step(tmp_path / "endless/hub") is None


def test_a_file_that_others_may_write_to_is_found(tmp_path: Path) -> None:
    file = tmp_path / "10-users.py"
    file.touch()
    assert loose_step(file) is None
    file.chmod(0o1666)
    found = loose_step(file)
    assert found
    assert found.path == file


def test_links_in_an_image_stay_in_it(tmp_path: Path) -> None:
    os.chown(tmp_path, ALICE, ALICE)  # where an image lies is not the image's
    make(tmp_path / "disk/hub")
    (tmp_path / "opt").symlink_to("/disk/../../disk")
    assert loose_step(Path("/opt/hub"), tmp_path) is None
    os.chown(tmp_path / "disk", ALICE, ALICE)
    found = loose_step(Path("/opt/hub"), tmp_path)
    assert found
    assert found.path == Path("/disk")


def test_the_refusal_names_directory_owner_mode_and_command(tmp_path: Path) -> None:
    parent = make(tmp_path / "a b", ALICE, mode=0o2775)
    with pytest.raises(LittlestHubError) as refused:
        check_owners(parent / "hub/releases/1.0")
    assert f"{parent} belongs to " in str(refused.value)
    assert "mode 2775" in str(refused.value)
    assert f"chown root: '{parent}' && chmod go-w '{parent}'" in str(refused.value)
    check_owners(tmp_path / "not/there/yet")
