"""Ready fragments of a hub that no unit runs."""

from pathlib import Path

import pytest

from littlest_hub.fragments.catalogue import disable, enable, entries
from littlest_hub.fragments.edit import fragment_path
from littlest_hub.layout import Layout

pytestmark = pytest.mark.unit


def test_a_hub_in_the_foreground_takes_up_a_ready_fragment_at_its_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path / "hub")
    for directory in (layout.catalogue, layout.fragments, layout.state):
        directory.mkdir(parents=True)
    (layout.catalogue / "30-limits.py").write_text("c.Spawner.mem_limit = '1G'\n")
    for command in (enable, disable):
        assert command(layout, "limits") == 0
        told = capsys.readouterr().out
        assert told.endswith("It takes effect when the hub is started the next time.\n")
        assert "systemctl" not in told


def test_a_fragment_is_edited_by_its_name_without_its_number_too(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "hub")
    assert fragment_path(layout, "limits") == layout.fragments / "limits.py"
    layout.fragments.mkdir(parents=True)
    for name in ("30-limits.py", "40-class.py", "60-class.py"):
        (layout.fragments / name).touch()
    for typed, expected in (
        ("limits", "30-limits.py"),
        ("30-limits", "30-limits.py"),
        ("40-limits", "40-limits.py"),
        ("class", "class.py"),  # one of two is a guess
        ("mine", "mine.py"),
    ):
        assert fragment_path(layout, typed) == layout.fragments / expected


def test_a_fragment_is_listed_by_its_first_comment_without_its_own_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "hub")
    layout.catalogue.mkdir(parents=True)
    layout.fragments.mkdir(parents=True)
    (layout.fragments / "20-class.py").write_text("# 20-class.py: the class of this term\n")
    (entry,) = entries(layout)
    assert (entry.name, entry.about) == ("20-class.py", "the class of this term")
