"""Root's helper that switches generations."""

from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.environment.generations import Generations, Record
from littlest_hub.stacks.classroom.environment.helper import answer
from littlest_hub.stacks.classroom.environment.place import Place


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation with three generations of the environment."""
    layout = Layout(tmp_path / "hub")
    generations = Generations(Place.of(layout))
    generations.place.home.mkdir(parents=True)
    generations.place.lock.touch()
    for _ in range(3):
        generations.next.mkdir(parents=True)
        generations.add(Record("pip install x"))
    return layout


def test_a_number_of_a_generation_switches_to_it(layout: Layout) -> None:
    assert answer(layout, b"1") == {"before": 3, "now": 1}
    assert Generations(Place.of(layout)).current() == 1
    assert "there is no generation 9" in str(answer(layout, b"9")["refusal"])


@pytest.mark.parametrize(
    "request_",
    [b"", b"0", b"01", b"-1", b"1\n", b"1\0002", b"../1", b"1" * 10, b"\xff", b"\xd9\xa1"],
)
def test_anything_else_is_refused(layout: Layout, request_: bytes) -> None:
    assert answer(layout, request_) == {"refusal": "expected the number of a generation"}
    assert Generations(Place.of(layout)).current() == 3
