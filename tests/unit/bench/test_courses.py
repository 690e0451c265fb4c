"""The bench of a course: its students and what they hand in."""

from littlest_hub.stacks.courses.roster.table import rows_of
from tests.bench.courses import BOMB, DEADLY, ENDLESS, NONE, TITLES, parser, roster, score, solution


def test_twenty_students_hand_in_every_kind_of_solution_and_most_are_right() -> None:
    handed_in = [solution(place) for place in range(20)]
    assert {BOMB, DEADLY, ENDLESS} < {*handed_in}
    assert [score(place) for place in range(5)] == [3, 0, 3, 3, 3]
    assert sum(score(place) for place in range(20)) == 3 * 13


def test_its_roster_has_a_row_for_each_student() -> None:
    rows = rows_of(roster(["student000", "student001"]))
    assert [row.cells[0] for row in rows] == ["username", "student000", "student001"]


def test_without_options_it_has_220_students_and_none_may_fail() -> None:
    assert parser().parse_args([]).students == 220
    assert {*NONE} < {*TITLES}
