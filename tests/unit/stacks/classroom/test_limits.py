"""Limits of the class's fragment: for everybody, for groups, and for one person."""

from pathlib import Path
from typing import Any

import pytest

from littlest_hub.manifest import plain_values
from littlest_hub.stacks.classroom import limits
from littlest_hub.stacks.classroom.fragment import FRAGMENT
from littlest_hub.stacks.classroom.limits import Limits
from littlest_hub.stacks.classroom.shared.settings import Shared

STOCK = Path(__file__).parents[4] / "jupyterhub_config.d" / FRAGMENT
CLASS = Limits(
    {
        "*": {"memory": "1G", "cpu": 1},
        "group:heavy": {"memory": "4G", "tasks": 2000},
        "group:light": {"memory": "512M", "tasks": 100},
        "alice": {"cpu": 3.5},
    }
)


def test_the_stock_fragment_has_the_defaults() -> None:
    for record in (Limits, Shared):
        assert plain_values.parse(STOCK.read_text(), record) == record()
    lines = STOCK.read_text().splitlines()
    assert {"LIMITS = {}", "SHARED = {}"} <= set(lines)


@pytest.mark.parametrize(
    ("login", "groups", "expected"),
    [
        ("bob", set[str](), {"memory": 1 << 30, "cpu": 1}),
        ("bob", {"heavy"}, {"memory": 4 << 30, "cpu": 1, "tasks": 2000}),
        ("bob", {"light"}, {"memory": 512 << 20, "cpu": 1, "tasks": 100}),
        # The highest of several groups.
        ("bob", {"light", "heavy"}, {"memory": 4 << 30, "cpu": 1, "tasks": 2000}),
        ("alice", {"heavy"}, {"memory": 4 << 30, "cpu": 3.5, "tasks": 2000}),
    ],
)
def test_a_persons_own_limit_counts_first(
    login: str, groups: set[str], expected: dict[str, float]
) -> None:
    assert CLASS.problems() == []
    assert CLASS.of(login, groups) == expected


def test_a_login_is_no_group() -> None:
    # Somebody whose login looks like one gets what everybody gets.
    assert Limits({"group:x": {"cpu": 2}}).of("x", ()) == {}


def test_limits_above_the_machine_limit_nothing() -> None:
    assert [*CLASS.without_effect(4 << 30, 4)] == []
    assert [*CLASS.without_effect(2 << 30, 1)] == [
        "group:heavy: memory: '4G' limits nothing: this machine has 2.0G of memory",
        "alice: cpu: 3.5 limits nothing: this machine has 1 processor",
    ]


def test_limits_become_properties_of_the_unit_and_variables() -> None:
    found = {"memory": float(1 << 30), "cpu": 1.5, "tasks": 500.0}
    expected = {"MemoryMax": "1073741824", "CPUQuota": "150%", "TasksMax": "500"}
    assert limits.properties(found) == expected
    assert limits.variables(found) == {"MEM_LIMIT": "1073741824", "CPU_LIMIT": "1.5"}
    assert limits.properties({}) == limits.variables({}) == {}


@pytest.mark.parametrize(
    "value",
    [
        ["2G"],
        {"*": "2G"},
        {"*": {"memory": "2"}},
        {"*": {"memory": "2 G"}},
        {"*": {"memory": "64M"}},
        {"*": {"memory": True}},
        {"*": {"cpu": 0}},
        {"*": {"cpu": "2"}},
        {"*": {"tasks": 10}},
        {"*": {"tasks": 99.5}},
        {"*": {"disk": "2G"}},
        {"": {"cpu": 1}},
        {3: {"cpu": 1}},
    ],
)
def test_a_limit_that_cannot_be_applied_is_named(value: Any) -> None:
    found = Limits(value).problems()
    assert [name for name, _ in found] == ["LIMITS"]
