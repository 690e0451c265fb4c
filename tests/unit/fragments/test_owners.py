"""Fragments that others than root can change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.fragments.catalogue import enable
from littlest_hub.fragments.edit import edit
from littlest_hub.layout import Layout

pytestmark = [pytest.mark.unit, pytest.mark.row(34), pytest.mark.needs("root")]

ALICE = 1234


@pytest.mark.parametrize(
    ("command", "file"), [(edit, "20-mine.py"), (enable, "20-mine.py.disabled")]
)
def test_root_edits_and_enables_no_fragment_of_others(
    tmp_path: Path, command: Callable[[Layout, str], int], file: str
) -> None:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    fragment = layout.fragments / file
    fragment.touch()
    os.chown(fragment, ALICE, -1)
    with pytest.raises(LittlestHubError, match=f"{file} belongs to user {ALICE}"):
        command(layout, "20-mine")
    assert list(layout.fragments.iterdir()) == [fragment]


@pytest.mark.parametrize("command", [edit, enable])
def test_root_works_in_no_directory_to_which_everybody_adds_fragments(
    tmp_path: Path, command: Callable[[Layout, str], int]
) -> None:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.fragments.chmod(0o1777)
    with pytest.raises(LittlestHubError, match="mode 1777"):
        command(layout, "20-mine")
