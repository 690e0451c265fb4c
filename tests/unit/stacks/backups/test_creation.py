"""Repository and password that `enable` tries before it changes anything, with real restic."""

from dataclasses import replace
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups import activation
from littlest_hub.stacks.backups.repository.creation import refuse_unusable
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.settings import Settings
from tests.unit.stacks.backups.conftest import Scene

PASSWORD = "seven blue umbrellas"


def files(directory: Path) -> set[Path]:
    return set(directory.rglob("*"))


@pytest.fixture
def new(tmp_path: Path) -> Place:
    """The stack's files on a machine that has none of them yet."""
    return Place(tmp_path / "new/state", tmp_path / "new/cache")


def test_a_repository_is_accepted_with_its_password_alone(
    scene: Scene, new: Place, tmp_path: Path
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(f"{PASSWORD}\n")
    wrong.write_text("another one\n")
    before = files(tmp_path)
    refuse_unusable(new, replace(scene.settings, password_file=str(right)))
    with pytest.raises(LittlestHubError, match=f"the password in {wrong} does not open"):
        refuse_unusable(new, replace(scene.settings, password_file=str(wrong)))
    with pytest.raises(LittlestHubError, match="and no password for it") as refused:
        refuse_unusable(new, scene.settings)
    assert "--set password_file=FILE" in str(refused.value.hint)
    with pytest.raises(LittlestHubError, match="missing cannot be read"):
        refuse_unusable(new, replace(scene.settings, password_file=str(tmp_path / "missing")))
    assert files(tmp_path) == before


def test_the_password_of_an_earlier_time_is_tried(scene: Scene) -> None:
    refuse_unusable(scene.place, scene.settings)
    scene.place.password.write_text("another one\n")
    with pytest.raises(LittlestHubError, match="does not open"):
        refuse_unusable(scene.place, scene.settings)


def test_a_place_in_which_no_repository_can_be_made_is_refused(new: Place, tmp_path: Path) -> None:
    file, full = tmp_path / "file", tmp_path / "full"
    file.touch()
    full.mkdir()
    (full / "thesis").touch()
    before = files(tmp_path)
    for place, reason in (
        (str(full), "contains other files"),
        (str(file / "below"), "is a file; expected a directory"),
        ("rest:http://127.0.0.1:9/", "cannot be reached"),
    ):
        with pytest.raises(LittlestHubError, match=reason):
            refuse_unusable(new, Settings(repository=place))
    refuse_unusable(new, Settings(repository=str(tmp_path / "yet/to/come")))
    assert files(tmp_path) == before


def test_answers_that_the_fragment_may_not_have_are_refused_before_anything_is_tried(
    tmp_path: Path,
) -> None:
    layout = Layout(Path("/opt/littlest-hub"), tmp_path)
    answers = {"repository": "/tmp/backups", "password_file": ""}
    with pytest.raises(LittlestHubError, match=r"backups is not enabled: repository: /tmp/backups"):
        activation.before_enable(layout, answers)
