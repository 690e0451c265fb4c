"""Builds that are killed, and builds of the same environment at the same time."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from littlest_hub.stacks.launch.builder.build import SLOTS
from littlest_hub.stacks.launch.builder.program import Builder
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.order import Order
from littlest_hub.system import locks
from tests.eventually import eventually
from tests.launch_site import Site
from tests.projects import project

NAMES = [f"part-{number}" for number in range(8)]
IMPORTS = ", ".join(name.replace("-", "_") for name in NAMES)
PROGRAM = f"import {IMPORTS}, ipykernel_launcher"
PROGRAM_OF_CODE = """
import own, alpha, ipykernel_launcher, pathlib, sys
assert len([*pathlib.Path(sys.prefix).glob("made-*")]) == 300
"""
ORDER = Order(files={"requirements.txt": "\n".join(NAMES)})


@pytest.fixture
def parts(site: Site) -> Site:
    """The place, with packages of 50 files each in the index."""
    for name in NAMES:
        module = name.replace("-", "_")
        more = {f"{module}/more_{number}.py": "x = 1\n" for number in range(49)}
        last = f"{module}/__init__.py"
        imports = "".join(f"from {module} import more_{n}\n" for n in range(49))
        site.index.add(name, files={**more, last: imports})
    return site


def last_line(site: Site, order: Order) -> dict[str, object]:
    found: dict[str, object] = json.loads(site.place.log(order.id).read_text().splitlines()[-1])
    return found


def check(site: Site, order: Order = ORDER, program: str = PROGRAM) -> bool:
    """Return whether the environment is complete; if it is, look at everything in it."""
    result = site.builder.result(order.id)
    # A kill while a record is written leaves a file whose name begins with a dot.
    complete = [each.stem for each in site.place.records.glob("[!.]*")]
    for key in complete:
        python = site.place.environment(key) / "bin/python"
        subprocess.run([python, "-I", "-c", program], check=True)
        kernel = site.place.environment(key) / "share/jupyter/kernels/python3/kernel.json"
        assert json.loads(kernel.read_text())["argv"][0] == str(python)
    assert result is None or result.key in complete
    return bool(complete)


def processes_of(pid: int) -> list[int]:
    """Return a process and all that it has started: uv, and the unit that runs code."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(each for child in children for each in processes_of(int(child)))]


def build_again(site: Site, order: Order) -> float:
    """Build an environment as if there was none, and return how long it takes."""
    begun = time.monotonic()
    assert site.start(order).wait(300) == 0
    forget(site, order)
    return time.monotonic() - begun


def forget(site: Site, order: Order) -> None:
    """Let the next build have something to do."""
    for record in site.place.records.iterdir():
        record.unlink()
    site.place.result(order.id).unlink(missing_ok=True)


def kill_at_random_moments(site: Site, order: Order, program: str, times: int) -> Counter[str]:
    """Kill a builder, or something that it has started, and count what has become of builds."""
    choose = random.Random(int(os.environ.get("LITTLEST_HUB_SEED", "19")))
    # The first one fills the cache.
    longest_s = min(build_again(site, order), build_again(site, order))
    found: Counter[str] = Counter()
    for _ in range(times):
        process = site.start(order)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(choose.uniform(0, longest_s))
        victim = choose.choice(processes_of(process.pid))
        is_builder = victim == process.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        code = process.wait(300)
        if not is_builder:
            # It says how it has ended, whatever has been killed.
            outcome = last_line(site, order).get("outcome")
            assert outcome == ("failed" if code else "done")
        is_complete = check(site, order, program)
        assert is_complete or code
        found[f"{'builder' if is_builder else 'child'} killed, {is_complete=}"] += 1
        if is_complete:
            forget(site, order)
    assert site.start(order).wait(300) == 0
    assert check(site, order, program)
    assert last_line(site, order)["outcome"] == "done"
    assert [each.name for each in site.place.built.iterdir()] == [
        each.stem for each in site.place.records.glob("[!.]*")
    ]
    print(dict(found))
    return found


def with_code(site: Site) -> Order:
    """Return an order of a project that is built, and of a script that changes the environment."""
    site.index.add("alpha")
    script = (
        '#!/bin/sh\nset -e\nfor number in $(seq 300); do echo x >"$NB_PYTHON_PREFIX/made-$number"\n'
        "done\n"
    )
    return site.order({"postBuild": script, **project()})


def test_nothing_half_is_complete_whenever_a_build_is_killed(parts: Site) -> None:
    assert kill_at_random_moments(parts, ORDER, PROGRAM, 5).total() == 5


@pytest.mark.long
@pytest.mark.needs("unshare", "ip")
def test_nothing_half_is_complete_whenever_a_build_with_code_is_killed(site: Site) -> None:
    assert kill_at_random_moments(site, with_code(site), PROGRAM_OF_CODE, 3).total() == 3


@pytest.mark.long
def test_nothing_half_is_complete_at_thirty_moments(parts: Site) -> None:
    assert kill_at_random_moments(parts, ORDER, PROGRAM, 30).total() == 30


@pytest.mark.long
@pytest.mark.needs("unshare", "ip")
def test_nothing_half_of_code_is_complete_at_thirty_moments(site: Site) -> None:
    assert kill_at_random_moments(site, with_code(site), PROGRAM_OF_CODE, 30).total() == 30


def test_a_build_waits_for_what_a_killed_one_has_left_running(parts: Site) -> None:
    """uv goes on without its parent, in the same directory; nobody else may build there then."""
    held = parts.index.hold("part_3-1.0-py3-none-any.whl")
    # The answers to questions about metadata are whole wheels here: let them through first.
    lock = Builder(parts.place, parts.uv, Python.of(parts.release))
    held.set()
    lock.build(ORDER, lambda _: None)
    for record in parts.place.records.iterdir():
        record.unlink()
    subprocess.run(["rm", "-rf", parts.place.cache], check=True)
    parts.place.make()
    held.clear()
    killed = parts.start(ORDER)
    assert parts.index.wait_for_held(20)
    killed.kill()
    killed.wait()
    [half] = parts.place.built.iterdir()
    assert not parts.place.is_complete(half.name)
    second = parts.start(ORDER)
    waiting = "somebody else is building the same environment; waiting for it"
    eventually(lambda: waiting in parts.place.log(ORDER.id).read_text(), 20, "the second build")
    assert second.poll() is None
    held.set()
    assert second.wait(60) == 0
    assert check(parts)


def test_two_orders_for_the_same_environment_build_it_once(parts: Site) -> None:
    other = Order(files={"requirements.txt": "\n".join(reversed(NAMES))})
    both = [parts.start(order) for order in (ORDER, other)]
    assert [process.wait(60) for process in both] == [0, 0]
    texts = [parts.place.log(order.id).read_text() for order in (ORDER, other)]
    assert sum("built 10 packages in" in text for text in texts) == 1
    assert sum("nothing was built" in text for text in texts) == 1
    assert last_line(parts, ORDER)["key"] == last_line(parts, other)["key"]
    assert len(list(parts.place.built.iterdir())) == 1


@pytest.mark.long
def test_only_so_many_builds_run_at_the_same_time(parts: Site) -> None:
    slots = [locks.hold(parts.place.locks / f"slot-{number}") for number in range(SLOTS)]
    waiting = parts.start(ORDER)
    text = f"{SLOTS} other environments are being built; waiting"
    eventually(lambda: text in parts.place.log(ORDER.id).read_text(), 20, "the build to wait")
    assert list(parts.place.built.iterdir()) == []
    for slot in slots:
        assert slot
        slot.close()
    assert waiting.wait(60) == 0
    assert check(parts)


@pytest.mark.long
def test_a_copy_of_python_that_was_interrupted_is_made_again(tmp_path: Path, parts: Site) -> None:
    [copy] = parts.place.pythons.iterdir()
    (copy / "lib").rename(parts.place.pythons / f".new-{copy.name}")
    subprocess.run(["rm", "-rf", copy], check=True)
    assert parts.start(ORDER).wait() == 0
    assert check(parts)
    assert [each.name for each in parts.place.pythons.iterdir()] == [copy.name]
