"""Limits that people choose, and limits of the administrator's: the stricter one holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.stacks.launch.server import unit_limits

REPOSITORY = "https://github.com/org/repo"
GIB = 1 << 30


@pytest.mark.parametrize(
    ("present", "changed"),
    [
        ({}, {"MemoryMax": str(2 * GIB), "CPUQuota": "150%", "RuntimeMaxSec": "7200"}),
        ({"MemoryMax": "infinity", "RuntimeMaxSec": "infinity", "CPUQuota": ""}, None),
        ({"MemoryMax": "3G", "CPUQuota": "200%", "RuntimeMaxSec": "2h 1min"}, None),
        ({"MemoryMax": ["1G", "4G"], "CPUQuota": "1000%", "RuntimeMaxSec": "1 week"}, None),
        ({"MemoryMax": "2G", "CPUQuota": "150%", "RuntimeMaxSec": "2h"}, {}),
        ({"MemoryMax": "1073741824", "CPUQuota": "20.5%", "RuntimeMaxSec": "30min 10s"}, {}),
        ({"MemoryMax": "0.001%", "CPUQuota": "0%", "RuntimeMaxSec": "500ms"}, {}),
        # A value that cannot be read stays.
        ({"MemoryMax": "lots", "CPUQuota": "half", "RuntimeMaxSec": "1 fortnight"}, {}),
        ({"MemoryMax": "-1", "CPUQuota": "-1%", "RuntimeMaxSec": "-1"}, {}),
    ],
)
def test_a_choice_lowers_the_administrators_limits_and_never_raises_them(
    present: dict[str, str | list[str]], changed: dict[str, str] | None
) -> None:
    chosen = Configuration(REPOSITORY, memory_mb=2048, cpu_percent=150, minutes=120)
    if changed is None:
        changed = unit_limits.of_configuration(chosen, {})
    assert unit_limits.of_configuration(chosen, present) == changed


@given(st.text(max_size=20), st.integers(1, 10**6))
def test_any_text_of_a_fragment_is_read_without_an_error(text: str, number: int) -> None:
    chosen = Configuration(REPOSITORY, memory_mb=number, cpu_percent=number, minutes=number)
    present = {"MemoryMax": text, "CPUQuota": text, "RuntimeMaxSec": text}
    unit_limits.of_configuration(chosen, present)


def test_what_nobody_has_chosen_stays() -> None:
    assert unit_limits.of_configuration(Configuration(REPOSITORY), {"MemoryMax": "1G"}) == {}


def test_programs_learn_the_limits_that_hold() -> None:
    found = unit_limits.variables({"MemoryMax": "1024", "CPUQuota": "150%", "RuntimeMaxSec": "1"})
    assert found == {"MEM_LIMIT": "1024", "CPU_LIMIT": "1.5"}
    assert unit_limits.variables({}) == {}
