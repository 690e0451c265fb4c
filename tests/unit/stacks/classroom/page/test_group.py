"""Messages to groups: who sees them, for how long, and what a damaged file does."""

from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.page import group
from littlest_hub.stacks.classroom.page.group import Message

NOON = 1_795_000_000


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    found = Layout(Path("/opt/littlest-hub"), root=tmp_path)
    monkeypatch.setattr("littlest_hub.installation.of_this_release", lambda: found)
    monkeypatch.setattr("time.time", lambda: NOON)
    return found


def message(to: str, text: str, time_s: int = NOON) -> Message:
    return Message(to, text, "maria", time_s)


def test_only_members_see_a_message(layout: Layout) -> None:
    group.tell(layout, message("physics", "Room 12"))
    group.tell(layout, message("chemistry", "Goggles"))
    assert [str(each) for each in group.for_groups(["physics", "other"])] == ["maria: Room 12"]
    assert not group.for_groups([])
    assert group.file_of(layout).stat().st_mode & 0o777 == 0o600


def test_the_last_message_comes_first_and_all_can_be_withdrawn(layout: Layout) -> None:
    for text in ("one", "two"):
        group.tell(layout, message("physics", text))
    group.tell(layout, message("chemistry", "three"))
    assert [each.text for each in group.messages(layout)] == ["three", "two", "one"]
    assert group.withdraw(layout, "physics") == 2
    assert [each.text for each in group.messages(layout)] == ["three"]


def test_a_message_ends_by_itself(layout: Layout) -> None:
    group.tell(layout, message("physics", "old", NOON - group.SHOWN_S))
    group.tell(layout, message("physics", "new", NOON - group.SHOWN_S + 1))
    assert [each.text for each in group.messages(layout)] == ["new"]


@pytest.mark.parametrize("text", ["", "{", '[{"group": 1}]', "[3]", '"x"'])
def test_a_damaged_file_is_no_message(layout: Layout, text: str) -> None:
    file = group.file_of(layout)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert group.messages(layout) == []
    group.tell(layout, message("physics", "again"))
    assert len(group.messages(layout)) == 1
