"""The build cache: complete or absent, keyed by content."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from construct.cache import Cache, default_root, key_of


def test_a_result_is_made_once(tmp_path: Path) -> None:
    calls = []

    def make(path: Path) -> None:
        calls.append(path)
        path.write_text("made")

    cache = Cache(tmp_path)
    first = cache.get("kind", "name", "key", make)
    assert cache.get("kind", "name", "key", make) == first
    assert first.read_text() == "made"
    assert len(calls) == 1


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "half").write_text("")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Cache(tmp_path).get("kind", "name", "key", make)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_only_one_of_several_concurrent_callers_makes_the_result(tmp_path: Path) -> None:
    begun, calls = threading.Event(), []

    def make(path: Path) -> None:
        calls.append(path)
        begun.wait(60)
        path.write_text("made")

    def ask(_: int) -> str:
        return Cache(tmp_path).get("kind", "name", "key", make).read_text()

    with ThreadPoolExecutor(4) as people:
        answers = [people.submit(ask, number) for number in range(4)]
        begun.set()
        assert [answer.result(60) for answer in answers] == ["made"] * 4
    assert len(calls) == 1
    assert not list((tmp_path / "tmp").iterdir())


def test_a_waiting_caller_makes_the_result_after_a_failure(tmp_path: Path) -> None:
    calls = []

    def make(path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise RuntimeError
        path.write_text("made")

    def ask(_: int) -> str:
        return Cache(tmp_path).get("kind", "name", "key", make).read_text()

    with ThreadPoolExecutor(2) as people:
        answers = [people.submit(ask, number) for number in range(2)]
        failed = [answer for answer in answers if answer.exception(60)]
    assert len(failed) == 1
    assert ask(3) == "made"


def test_unused_entries_are_pruned_and_used_ones_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    used = cache.get("kind", "used", "key", lambda path: path.mkdir())
    unused = cache.get("kind", "unused", "key", lambda path: path.write_text(""))
    other = cache.get("images", "other", "key", lambda path: path.write_text(""))
    for path in (used, unused, other):
        os.utime(path, (0, 0))
    assert cache.find("kind", "used", "key") == used
    cache.prune(["kind"], unused_s=3600)
    assert used.exists()
    assert not unused.exists()
    assert other.exists()


def test_keys_depend_on_content_and_not_on_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "x"
    file.write_text("1")
    key = key_of([tmp_path / "a"])
    file.write_text("1")
    (tmp_path / "a" / "__pycache__").mkdir()
    (tmp_path / "a" / "__pycache__" / "x.pyc").write_text("")
    assert key_of([tmp_path / "a"]) == key
    file.write_text("2")
    assert key_of([tmp_path / "a"]) != key
    assert key_of(["ab", "c"]) != key_of(["a", "bc"])


def test_the_variable_sets_the_location_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITTLEST_HUB_CACHE", "/somewhere")
    assert default_root() == Path("/somewhere")
    monkeypatch.delenv("LITTLEST_HUB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_root() == Path("/caches/littlest-hub")
