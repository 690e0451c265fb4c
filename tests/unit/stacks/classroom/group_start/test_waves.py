"""Starts in waves, their results, and what the command says about them."""

import argparse
import threading

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.group_start import command
from littlest_hub.stacks.classroom.group_start.waves import Outcome, Result, Waves

PEOPLE = [f"student{number:02}" for number in range(12)]


class Machine:
    """Starts servers, each when as many as expected start at the same time."""

    def __init__(self, at_once: int) -> None:
        self._turn = threading.Barrier(at_once)
        self._lock = threading.Lock()
        self._starting = self.most = 0
        self.asked: list[str] = []

    def start(self, name: str) -> tuple[Outcome, str]:
        with self._lock:
            self.asked.append(name)
            self._starting += 1
            self.most = max(self.most, self._starting)
        self._turn.wait(timeout=30)
        with self._lock:
            self._starting -= 1
        return Outcome.STARTED, ""


def test_all_servers_start_and_never_more_at_once_than_allowed() -> None:
    machine = Machine(at_once=3)
    results = list(Waves(PEOPLE, 3, machine.start).results())
    assert machine.most == 3
    assert sorted(each.name for each in results) == PEOPLE
    assert {each.outcome for each in results} == {Outcome.STARTED}


def test_nobody_and_a_limit_above_the_number_of_people_are_no_problem() -> None:
    assert list(Waves([], 3, Machine(1).start).results()) == []
    assert len(list(Waves(PEOPLE[:2], 50, Machine(2).start).results())) == 2


def test_after_an_interruption_no_more_are_asked_for_and_those_that_start_are_awaited() -> None:
    asked = []

    def start(name: str) -> tuple[Outcome, str]:
        asked.append(name)
        if len(asked) == 2:
            waves.interrupt()
        return Outcome.STARTED, ""

    waves = Waves(PEOPLE, 1, start)
    results = list(waves.results())
    assert asked == PEOPLE[:2]
    assert [each.name for each in results if each.outcome is Outcome.STARTED] == asked
    assert [each.name for each in results if each.outcome is Outcome.NOT_ASKED] == PEOPLE[2:]
    assert command.exit_code(results) == 130


def test_a_failure_has_its_reason_and_the_others_go_on() -> None:
    def start(name: str) -> tuple[Outcome, str]:
        if name == PEOPLE[3]:
            raise LittlestHubError("the hub does not answer")
        if name == PEOPLE[4]:
            raise ZeroDivisionError("division by zero")
        return (Outcome.FAILED, "no\nhome\x1b[2J") if name == PEOPLE[5] else (Outcome.STARTED, "")

    results = list(Waves(PEOPLE, 2, start).results())
    assert list(command.summary("physics", results)) == [
        "physics: 9 started; 3 did not start",
        "  student03: the hub does not answer",
        "  student04: ZeroDivisionError: division by zero",
        "  student05: no home?[2J",
    ]
    assert command.exit_code(results) == 1


def test_who_runs_or_is_locked_is_no_failure() -> None:
    results = [Result("a", Outcome.RUNS), Result("b", Outcome.LOCKED)]
    (line,) = command.summary("physics", results)
    assert line == "physics: 1 ran already; 1 locked, so nothing was started"
    assert command.exit_code(results) == 0
    assert list(command.summary("physics", [*results, Result("c", Outcome.GONE)]))[1:] == [
        "  c: was removed from the class, or no fragment lets them in"
    ]
    assert list(command.summary("empty", [])) == ["empty: nobody is in this group"]


@pytest.mark.parametrize("text", ["0", "-1", "1001", "two", "1.5", ""])
def test_a_wrong_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number from 1"):
        command._number(text)


def test_the_hubs_limit_is_never_exceeded() -> None:
    assert command._at_once(None, 3) == 3
    assert command._at_once(50, 3) == 3
    assert command._at_once(2, 3) == 2
    assert command._at_once(50, 0) == 50
    assert command._at_once(None, 0) == 10
