"""The disk that people use, measured and read."""

import os
from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.page import disk
from littlest_hub.stacks.classroom.page.disk import Disk


def test_what_is_in_a_home_counts_once_and_what_links_lead_to_does_not(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "alice", tmp_path / "elsewhere"
    home.mkdir()
    (home / "data").write_bytes(os.urandom(3_000_000))
    (home / "again").hardlink_to(home / "data")
    elsewhere.write_bytes(os.urandom(9_000_000))
    (home / "link").symlink_to(elsewhere)
    (home / "sparse").touch()
    os.truncate(home / "sparse", 1 << 40)
    found = disk.measure({"alice": home, "gone": tmp_path / "nothing"}, tmp_path)
    assert found.used["alice"] is not None
    assert 3_000_000 <= found.used["alice"] < 4_000_000
    assert found.used["gone"] is None
    assert 0 < found.free_bytes <= found.total_bytes


def test_a_home_that_cannot_be_counted_in_time_has_no_figure(tmp_path: Path) -> None:
    assert disk.measure({"alice": tmp_path}, tmp_path, timeout_s=0).used == {"alice": None}


@pytest.mark.parametrize(("user", "mode"), [(None, 0o600), ("jupyter", 0o644)])
def test_the_hub_reads_what_root_has_measured(tmp_path: Path, user: str | None, mode: int) -> None:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)._replace(hub_user=user)
    file = disk.file_of(layout)
    file.parent.mkdir(parents=True)
    assert disk.read(layout) == Disk()
    measured = Disk(1_800_000_000, {"ada@example.org": 7, "bob": None}, 100, 50)
    disk.save(layout, measured)
    assert disk.read(layout) == measured
    assert file.stat().st_mode & 0o777 == mode
    for damaged in ("", "[]", '{"used": {"a": "b"}}', '{"used": {}, "more": 1}', "null"):
        file.write_text(damaged)
        assert disk.read(layout) == Disk()
