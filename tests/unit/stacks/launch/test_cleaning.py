"""The disk that environments may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from littlest_hub.stacks.launch.builder.build import EVERYBODY
from littlest_hub.stacks.launch.builder.build_log import LONGEST_LINE, MOST_LINES, BuildLog
from littlest_hub.stacks.launch.builder.cleaning import clean, size_bytes
from littlest_hub.system import locks
from tests.launch_site import Site, asked

MEGABYTE = 1 << 20


@pytest.fixture
def keys(site: Site) -> list[str]:
    """Three environments, used long ago, later and last; the first two share a package."""
    site.index.add("shared", files={"shared.txt": "s" * MEGABYTE})
    site.index.add("own", files={"own.txt": "o" * MEGABYTE})
    site.index.add("last", files={"last.txt": "l" * MEGABYTE})
    found = []
    for number, text in enumerate(("shared\nown", "shared", "last")):
        key = site.build(asked(requirements_txt=text)).key
        os.utime(site.place.record(key), (number, number))
        found.append(key)
    return found


def left(site: Site, keys: list[str]) -> list[bool]:
    here = [site.place.is_complete(key) for key in keys]
    assert here == [site.place.environment(key).is_dir() for key in keys]
    return here


def test_a_file_with_several_names_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(bytes(100_000))
    alone = size_bytes(tmp_path)
    (tmp_path / "a/again").hardlink_to(tmp_path / "a/file")
    assert size_bytes(tmp_path) == alone
    assert alone - 100_000 < 20_000
    assert size_bytes(tmp_path, most_names=1) < 20_000


def test_nothing_is_removed_within_the_budget(site: Site, keys: list[str]) -> None:
    done = clean(site.place, site.uv, 1 << 40)
    assert done.removed == ()
    assert left(site, keys) == [True, True, True]
    assert done.size_bytes == size_bytes(site.place.home)


def test_the_least_recently_used_goes_first_with_what_it_alone_has(
    site: Site, keys: list[str]
) -> None:
    budget = size_bytes(site.place.home) - MEGABYTE // 2
    done = clean(site.place, site.uv, budget)
    assert done.removed == (keys[0],)
    assert left(site, keys) == [False, True, True]
    assert done.size_bytes <= budget, "the cache keeps nothing of it"
    names = {each.name for each in site.place.cache.rglob("*.txt")}
    assert {"shared.txt", "last.txt"} <= names
    assert "own.txt" not in names


def test_what_servers_refer_to_stays_whatever_the_budget(site: Site, keys: list[str]) -> None:
    done = clean(site.place, site.uv, 0, kept=[keys[0]])
    assert left(site, keys) == [True, False, False]
    assert set(done.removed) == set(keys[1:])


@pytest.mark.long
def test_the_service_knows_better_when_an_environment_was_used(site: Site, keys: list[str]) -> None:
    budget = size_bytes(site.place.home) - MEGABYTE // 2
    done = clean(site.place, site.uv, budget, used={keys[0]: 100, keys[1]: 50})
    assert done.removed[0] == keys[2]


@pytest.mark.long
def test_nobody_loses_an_environment_for_what_only_the_cache_has(
    site: Site, keys: list[str]
) -> None:
    budget = size_bytes(site.place.home) + MEGABYTE
    site.index.add("big", files={"big.txt": "".join(map(str, range(24 * MEGABYTE // 7)))})
    half = site.build(asked(requirements_txt="big"))
    site.place.record(half.key).unlink()
    done = clean(site.place, site.uv, budget)
    assert done.removed == ()
    assert done.size_bytes < budget
    assert left(site, keys) == [True, True, True]


def test_a_removed_environment_is_built_again_from_its_lock(site: Site, keys: list[str]) -> None:
    clean(site.place, site.uv, 0)
    assert left(site, keys) == [False, False, False]
    assert list(site.place.pythons.iterdir()) == [], "no environment uses the copy any more"
    again = site.build(asked(requirements_txt="shared"))
    assert again.key == keys[1]
    assert site.run(again, "import traitlets") == ""


def test_what_a_killed_build_has_left_is_removed(site: Site, keys: list[str]) -> None:
    half = site.place.environment("0" * 64)
    (half / "lib").mkdir(parents=True)
    (site.place.pythons / ".new-0").mkdir()
    assert clean(site.place, site.uv, 1 << 40).incomplete == 2
    assert not half.exists()
    assert left(site, keys) == [True, True, True]


@pytest.mark.long
def test_a_record_alone_is_no_environment(site: Site, keys: list[str]) -> None:
    site.place.environment(keys[0]).rename(site.place.home / "elsewhere")
    assert not site.place.is_complete(keys[0])
    clean(site.place, site.uv, 1 << 40)
    assert not site.place.record(keys[0]).exists()


@pytest.mark.long
def test_nothing_is_cleaned_during_a_build(site: Site, keys: list[str]) -> None:
    with (site.place.locks / EVERYBODY).open("a") as building:
        assert locks.share(building)
        assert clean(site.place, site.uv, 0).was_busy
    assert left(site, keys) == [True, True, True]


def test_a_log_is_bounded_and_has_its_outcome(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("an earlier one")
    with BuildLog(file) as log:
        for _ in range(MOST_LINES + 10):
            log.line("x" * 10_000)
        log.line("\x1b[31mred")
        log.failed("no solution", "ask for less", "2024-01-01")
    lines = file.read_text().splitlines()
    assert len(lines) == MOST_LINES + 1
    assert max(map(len, lines)) < LONGEST_LINE + 50
    assert '"text": "\\u2026 more lines are left out"' in lines[-2]
    assert '"outcome": "failed", "text": "no solution"' in lines[-1]
    assert "\\u001b" not in file.read_text()
