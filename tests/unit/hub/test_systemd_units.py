"""A unit that the hub watches without asking systemd, whose place a program takes here."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from littlest_hub.hub import systemd_units
from littlest_hub.hub.systemd_units import SystemdSilentError, UnitState, WatchedUnit

UNIT = "a.service"


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory for a `systemctl` that prints the file `says` and counts in the file `asked`."""
    program = tmp_path / "systemctl"
    directory = shlex.quote(str(tmp_path))
    program.write_text(f"#!/bin/sh\ncd {directory}\necho >>asked\nexec cat says\n")
    program.chmod(0o755)
    (tmp_path / "asked").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd_units, "RETRY_DELAYS_S", ())
    return tmp_path


def says(directory: Path, state: str, pid: int) -> None:
    text = f"ActiveState={state}\nResult=success\nExecMainStatus=0\nMainPID={pid}\n"
    (directory / "says").write_text(text)


def asked(directory: Path) -> int:
    return len((directory / "asked").read_text().splitlines())


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as found:
        yield found


async def states(unit: WatchedUnit, count: int) -> list[UnitState]:
    return [await unit.state(UNIT) for _ in range(count)]


def test_systemd_is_asked_twice_about_a_unit_whose_main_process_lives(systemctl: Path) -> None:
    unit = WatchedUnit()
    with process() as main:
        says(systemctl, "active", main.pid)
        found = asyncio.run(states(unit, 5))
    assert {(state.active, state.main_pid) for state in found} == {("active", main.pid)}
    assert asked(systemctl) == 2, "the second time, to be sure that the process is the unit's"


def test_the_end_of_the_main_process_is_seen_at_once(systemctl: Path) -> None:
    unit = WatchedUnit()
    with process() as main:
        says(systemctl, "active", main.pid)
        asyncio.run(states(unit, 3))
        main.kill()
        main.wait()
    says(systemctl, "failed", 0)
    assert asyncio.run(unit.state(UNIT)).active == "failed"


def test_a_unit_that_was_started_again_is_watched_by_its_new_process(systemctl: Path) -> None:
    unit = WatchedUnit()
    with process() as second:
        with process() as first:
            says(systemctl, "active", first.pid)
            asyncio.run(states(unit, 3))
        says(systemctl, "active", second.pid)
        found = asyncio.run(states(unit, 4))
    assert {state.main_pid for state in found} == {second.pid}
    assert asked(systemctl) == 4


def test_a_process_that_took_the_id_of_the_main_process_is_not_taken_for_it(
    systemctl: Path,
) -> None:
    unit = WatchedUnit()
    with process() as another:
        # The unit ends between systemd's answer and the look at its process.
        says(systemctl, "active", another.pid)
        asyncio.run(unit.state(UNIT))
        says(systemctl, "failed", 0)
        assert asyncio.run(unit.state(UNIT)).active == "failed"


@pytest.mark.parametrize("pid", [0, 2**22 + 1])
def test_systemd_is_asked_each_time_about_a_unit_without_a_process(
    systemctl: Path, pid: int
) -> None:
    says(systemctl, "activating", pid)
    asyncio.run(states(WatchedUnit(), 3))
    assert asked(systemctl) == 3


def test_a_unit_is_as_unknown_as_before_if_systemd_does_not_answer(systemctl: Path) -> None:
    (systemctl / "says").write_text("")
    with pytest.raises(SystemdSilentError):
        asyncio.run(WatchedUnit().state(UNIT))


def test_a_unit_that_is_forgotten_leaves_no_descriptor(systemctl: Path) -> None:
    with process() as main:
        says(systemctl, "active", main.pid)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            asyncio.run(states(WatchedUnit(), 2))
        assert len(list(Path("/proc/self/fd").iterdir())) == before
