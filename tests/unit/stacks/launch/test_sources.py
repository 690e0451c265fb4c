"""Files of repositories: which stay when there are too many."""

from __future__ import annotations

import os
import time
from pathlib import Path

from littlest_hub.stacks.launch.resolver.sources import Source, Sources

LONG_AGO = time.time() - 10_000


def kept(sources: Sources, name: str, size_bytes: int, needed_s: float = LONG_AGO) -> Path:
    """Keep the files of a repository that was needed at some time, and return their directory."""
    url = f"https://git.example.org/{name}"
    with sources.new() as partial:
        (partial / "files").mkdir()
        source = Source(url, "0" * 40, "main", 0, (), size_bytes, True, ())
        sources.keep(partial, source)
    place = sources.place(url, "0" * 40)
    os.utime(place / "source.json", (needed_s, needed_s))
    return place


def test_those_that_nobody_has_asked_for_longest_are_removed(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    old, older = kept(sources, "old", 10), kept(sources, "older", 10, LONG_AGO - 1)
    asked_again = kept(sources, "again", 10, LONG_AGO - 2)
    assert sources.find("https://git.example.org/again", "0" * 40)
    assert sources.make_room(20) == 1
    assert {*tmp_path.iterdir()} == {old, asked_again}
    assert not older.exists()


def test_those_that_may_be_on_their_way_to_a_server_stay(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    place = kept(sources, "now", 1000, time.time())
    assert sources.make_room(0) == 0
    assert place.exists()


def test_a_damaged_one_goes_first(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    whole, damaged = kept(sources, "whole", 10), kept(sources, "damaged", 10)
    (damaged / "source.json").write_text("{")
    kept(sources, "third", 10, LONG_AGO + 1)
    assert sources.make_room(10) == 2
    assert not damaged.exists()
    assert not whole.exists()
