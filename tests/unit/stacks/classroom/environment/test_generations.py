"""Generations: whatever is interrupted, there is the old one or the new one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.environment.generations import KEPT, Generations, Record
from littlest_hub.stacks.classroom.environment.place import Place

RECORD = Record.now("pip install x", "alice")


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    place = Place(tmp_path / "class")
    place.home.mkdir()
    return Generations(place)


def add(generations: Generations, record: Record = RECORD) -> int:
    generations.next.mkdir(parents=True)
    (generations.next / "content").write_text("content")
    return generations.add(record)


def test_generations_follow_each_other(generations: Generations) -> None:
    assert [add(generations), add(generations), add(generations)] == [1, 2, 3]
    assert generations.current() == 3
    assert generations.record(2) == RECORD
    assert (generations.place.link / "content").read_text() == "content"
    generations.switch(generations.before(3))
    assert generations.current() == 2
    assert add(generations) == 4, "a generation is never replaced"
    with pytest.raises(LittlestHubError, match="There are: 1, 2, 3, 4"):
        generations.switch(9)
    with pytest.raises(LittlestHubError, match="is the oldest"):
        generations.before(1)


def test_the_last_ten_stay_and_those_in_use(generations: Generations) -> None:
    for _ in range(KEPT + 3):
        add(generations)
    assert generations.prune(in_use=[2]) == [1, 3]
    assert generations.numbers() == [2, *range(4, KEPT + 4)]
    # Scripts that were installed with a removed one have its path.
    assert (generations.place.generation(1) / "content").read_text() == "content"
    assert generations.place.generation(1).resolve() == generations.place.link.resolve()
    assert generations.prune() == [2]
    assert add(generations) == KEPT + 4


def test_the_present_one_is_never_removed(generations: Generations) -> None:
    for _ in range(KEPT + 3):
        add(generations)
    generations.switch(1)
    assert generations.prune() == [2, 3]
    assert generations.current() == 1


def test_the_one_before_is_the_one_that_was_changed_and_stays(generations: Generations) -> None:
    for _ in range(KEPT + 3):
        add(generations)
    generations.switch(1)
    new = add(generations, Record.now("pip install y", "alice", origin=1))
    assert generations.prune() == [2, 3, 4]
    assert generations.before(new) == 1
    generations.switch(1)
    assert generations.current() == 1


def test_a_missing_link_is_a_problem_with_a_way_out(generations: Generations) -> None:
    with pytest.raises(LittlestHubError, match="leads to no environment"):
        generations.current()
    add(generations)
    generations.place.link.unlink()
    generations.place.link.symlink_to("elsewhere")
    with pytest.raises(LittlestHubError, match="leads to no environment"):
        generations.current()
    generations.switch(1)
    assert generations.current() == 1


def test_in_place_of_one_that_is_gone_an_earlier_one_is_proposed(generations: Generations) -> None:
    """A later one was left by a rollback, and is bad."""
    for _ in range(3):
        add(generations)
    generations.switch(2)
    shutil.rmtree(generations.place.generation(2))
    with pytest.raises(LittlestHubError, match=r"generation 2 is gone\n.* rollback 1$"):
        generations.current()
    assert generations.before(2) == 1
    shutil.rmtree(generations.place.generation(1))
    assert generations.way_back() == "rollback 3"
    shutil.rmtree(generations.place.generation(3))
    assert generations.way_back() == "make"


class KilledError(BaseException):
    """Stands for a process that was killed."""


@contextmanager
def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Raise at the given change of a name in the file system, before it is done."""
    count = [0]
    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "symlink", "unlink", "rmdir", "mkdir"):
            upstream = getattr(os, name)

            def counted(*args: object, upstream: object = upstream, **kwargs: object) -> object:
                count[0] += 1
                if count[0] > steps:
                    raise KilledError
                return upstream(*args, **kwargs)  # type: ignore[operator]

            patch.setattr(os, name, counted)
        yield count


@pytest.mark.parametrize("steps", range(40))
def test_killed_at_any_step_there_is_the_old_or_the_new_one(
    generations: Generations, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    for _ in range(KEPT):
        add(generations)
    with killed_after(steps, monkeypatch):
        try:
            add(generations)
            generations.prune()
        except KilledError:
            pass
    assert generations.current() in (KEPT, KEPT + 1)
    assert (generations.place.link / "content").read_text() == "content"
    generations.clean()
    assert not generations.place.change.exists()
    assert generations.current() in generations.numbers()
    # Every number leads to a whole generation, removed ones to the present one.
    for number in range(1, max(generations.numbers()) + 1):
        assert (generations.place.generation(number) / "content").exists()
    assert add(generations) == max(generations.numbers())
    generations.prune()
    assert len(generations.numbers()) == KEPT
