"""Builds of conda environments that are killed, and the disk that their packages take."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess

import pytest

from littlest_hub.stacks.launch.builder.cleaning import clean, size_bytes
from littlest_hub.stacks.launch.order import Order
from tests.channel import ServedChannel
from tests.eventually import eventually
from tests.launch_site import Site

MEGABYTE = 1 << 20
NAMES = [f"part{number}" for number in range(8)]


def order(*names: str) -> Order:
    return Order(files={"environment.yml": f"dependencies: [{', '.join(names)}]\n"})


@pytest.fixture
def parts(conda_site: Site, channel: ServedChannel) -> Site:
    """The place, with packages of 50 files and a megabyte each in the channel."""
    for name in NAMES:
        files = {f"share/{name}/{number}": f"{name} {number}" for number in range(49)}
        channel.add(name, {**files, f"share/{name}/large": name[-1] * MEGABYTE})
    return conda_site


def check(site: Site, names: list[str]) -> bool:
    """Return whether an environment is complete; if it is, look at everything in it."""
    complete = [site.place.environment(each.stem) for each in site.place.records.iterdir()]
    for directory in complete:
        for name in names:
            found = {each.name: each.read_text() for each in (directory / "share" / name).iterdir()}
            assert found.pop("large") == name[-1] * MEGABYTE
            assert found == {str(number): f"{name} {number}" for number in range(49)}
        spec = json.loads((directory / "share/jupyter/kernels/python3/kernel.json").read_text())
        assert spec["argv"][0] == f"{directory}/bin/python"
    for package in site.place.packages.iterdir():
        if len(package.name) == 64:
            assert (package / "info/index.json").is_file(), "what is there is whole"
    return bool(complete)


def kill_at_random_moments(site: Site, times: int) -> None:
    asked = order(*NAMES)
    moments = random.Random(19)
    for _ in range(times):
        process = site.start(asked)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.5, 4))
        process.kill()
        process.wait()
        if check(site, NAMES):
            # The next build has something to do then.
            for record in site.place.records.iterdir():
                record.unlink()
            shutil.rmtree(site.place.packages)
            site.place.make()
            site.place.result(asked.id).unlink(missing_ok=True)
    assert site.start(asked).wait() == 0
    assert check(site, NAMES)


def test_nothing_half_is_complete_whenever_a_build_is_killed(parts: Site) -> None:
    kill_at_random_moments(parts, 4)


@pytest.mark.long
def test_nothing_half_is_complete_at_thirty_moments(parts: Site) -> None:
    kill_at_random_moments(parts, 30)


def test_two_builds_at_the_same_time_share_what_both_unpack(parts: Site) -> None:
    both = [parts.start(order(*names)) for names in (NAMES, NAMES[1:])]
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(list(parts.place.built.iterdir())) == 2
    assert check(parts, NAMES[1:])
    files = [*parts.place.built.glob("*/share/part3/large")]
    assert files[0].samefile(files[1])
    assert files[0].stat().st_nlink == 3


@pytest.fixture
def keys(parts: Site) -> list[str]:
    """Two environments with a package in common."""
    return [parts.build({**order(*names).files}).key for names in (NAMES[:2], NAMES[1:3])]


def stored(site: Site) -> set[str]:
    """Return the names of the packages in the store."""
    found = site.place.packages.glob("*/info/index.json")
    return {json.loads(each.read_text())["name"] for each in found}


@pytest.mark.long
def test_an_environment_that_is_removed_takes_its_own_packages_along(
    parts: Site, keys: list[str]
) -> None:
    before = stored(parts)
    assert {*NAMES[:3], "python", "ipykernel"} == before
    budget = size_bytes(parts.place.home) - MEGABYTE // 2
    done = clean(parts.place, parts.uv, budget, used={keys[0]: 1e12})
    assert done.removed == (keys[1],)
    assert done.size_bytes <= budget
    assert stored(parts) == before - {NAMES[2]}
    assert check(parts, NAMES[:2])
    again = parts.build({**order(*NAMES[1:3]).files})
    assert again.key == keys[1]


@pytest.mark.long
def test_packages_that_no_environment_has_go_before_any_environment(
    parts: Site, keys: list[str]
) -> None:
    parts.place.record(keys[1]).unlink()
    done = clean(parts.place, parts.uv, size_bytes(parts.place.home) - MEGABYTE // 2)
    assert done.removed == ()
    assert stored(parts) == {*NAMES[:2], "python", "ipykernel"}


@pytest.mark.long
def test_what_a_killed_build_has_left_in_the_store_is_removed(parts: Site) -> None:
    half = parts.place.packages / ".new-1-x" / "tree"
    half.mkdir(parents=True)
    assert clean(parts.place, parts.uv, 1 << 40).incomplete == 1
    assert not half.parent.exists()


@pytest.mark.long
def test_a_build_waits_for_rattler_that_a_killed_one_has_left_running(
    parts: Site, channel: ServedChannel
) -> None:
    """It goes on without its parent, in the same directory; nobody else may build there then."""
    built = parts.build({**order(*NAMES).files})
    parts.place.record(built.key).unlink()
    shutil.rmtree(parts.place.packages)
    parts.place.make()
    channel.held.clear()
    killed = parts.start(order(*NAMES))
    assert channel.wait_for_held(60)
    killed.kill()
    killed.wait()
    second = parts.start(order(*NAMES))
    waiting = "somebody else is building the same environment; waiting for it"
    log = parts.place.log(order(*NAMES).id)
    eventually(lambda: log.is_file() and waiting in log.read_text(), 60, "the second build")
    assert second.poll() is None
    channel.held.set()
    assert second.wait(60) == 0
    assert check(parts, NAMES)
