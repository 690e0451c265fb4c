"""The comparison of two runs of a suite by `make test-upstream`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.upstream.__main__ import REPETITIONS, SUITES, Outcome, newly_failing

pytestmark = pytest.mark.unit


class Repetitions:
    """A fake of Runner whose tests fail a number of times when they are repeated."""

    def __init__(self, **failures: int) -> None:
        self._failures = failures
        self.runs: list[set[str]] = []

    def run(self, suite: object, side: str, only: Iterable[str]) -> Outcome:
        assert side == "ours"
        self.runs.append(set(only))
        still = {test for test in only if self._failures[test] >= len(self.runs)}
        return Outcome({test: "failed" if test in still else "passed" for test in only})


def compare(runner: Any, upstream: dict[str, str], ours: dict[str, str]) -> set[str]:
    return newly_failing(runner, SUITES[0], Outcome(upstream), Outcome(ours))


def test_a_test_that_fails_on_both_sides_is_not_newly_failing() -> None:
    runner = Repetitions()
    assert compare(runner, {"a": "failed"}, {"a": "failed"}) == set()
    assert runner.runs == []


def test_a_test_that_fails_with_our_code_each_time_is_newly_failing() -> None:
    runner = Repetitions(b=REPETITIONS)
    assert compare(runner, {"a": "passed", "b": "passed"}, {"a": "passed", "b": "failed"}) == {"b"}
    assert runner.runs == [{"b"}] * REPETITIONS


def test_a_test_that_passes_when_it_is_repeated_is_not_newly_failing() -> None:
    runner = Repetitions(a=0, b=1)
    assert compare(runner, dict.fromkeys("ab", "passed"), dict.fromkeys("ab", "failed")) == set()
    assert runner.runs == [{"a", "b"}, {"b"}]


def test_a_test_that_does_not_run_with_our_code_is_newly_failing() -> None:
    assert compare(Repetitions(), {"a": "passed", "b": "passed"}, {"a": "passed"}) == {"b"}
