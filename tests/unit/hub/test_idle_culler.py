"""The idle culler after a jump of the clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from jupyterhub_idle_culler import IdleCuller

from littlest_hub.hub import idle_culler
from littlest_hub.hub.idle_culler import Jumps, PatientCuller

pytestmark = pytest.mark.unit


class Clocks:
    """A clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.time_s, self.steady_s = 1_800_000_000.0, 1000.0

    def jumps(self) -> Jumps:
        return Jumps(300, lambda: self.time_s, lambda: self.steady_s)

    def wait(self, seconds: float) -> None:
        self.time_s += seconds
        self.steady_s += seconds


def test_after_a_jump_all_servers_have_time_to_report() -> None:
    clocks = Clocks()
    jumps = clocks.jumps()
    for _ in range(3):
        clocks.wait(1800)
        assert not jumps.is_recent()
    clocks.time_s += 8 * 3600
    assert jumps.is_recent()
    clocks.wait(330)
    assert jumps.is_recent(), "the last report may take so long"
    clocks.wait(60)
    assert not jumps.is_recent()


@pytest.mark.parametrize("seconds", [-86400, -1, 1, 59])
def test_a_clock_that_goes_back_or_is_corrected_by_seconds_changes_nothing(seconds: int) -> None:
    clocks = Clocks()
    jumps = clocks.jumps()
    clocks.time_s += seconds
    assert not jumps.is_recent()


def of_upstream(*, inactive: timedelta, inactive_limit: int, **_: Any) -> bool:
    return inactive.total_seconds() >= inactive_limit


async def of_groups(**about: Any) -> bool:
    return of_upstream(**about)


@pytest.mark.parametrize("hook", [of_upstream, of_groups])
def test_an_idle_server_is_stopped_unless_the_clock_has_just_jumped(
    monkeypatch: pytest.MonkeyPatch, hook: Any
) -> None:
    clocks, decisions = Clocks(), []

    def look(culler: Any) -> None:
        for hours, jump_s in ((0, 0), (8, 0), (8, 8 * 3600)):
            clocks.time_s += jump_s
            about = {"inactive": timedelta(hours=hours), "inactive_limit": 3600, "server": {}}
            decisions.append(asyncio.run(culler.cull_arbiter_hook(**about)))

    monkeypatch.setattr(idle_culler, "Jumps", lambda reports_s: clocks.jumps())
    monkeypatch.setattr(IdleCuller, "start", look)
    culler = PatientCuller()
    culler.cull_arbiter_hook = hook
    culler.start()
    assert decisions == [False, True, False]
