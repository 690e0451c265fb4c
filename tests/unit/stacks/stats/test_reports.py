"""Pages show what was counted, to those who may see it, as pictures, tables, JSON and CSV."""

import csv
import io
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from xml.etree import ElementTree

import pytest

from littlest_hub.stacks.stats.pages import report
from littlest_hub.stacks.stats.pages.period import NAMES, Period
from littlest_hub.stacks.stats.pages.picture import Picture, describe, draw
from littlest_hub.stacks.stats.pages.table import (
    BYTES,
    DURATION,
    MEMORY_TIME,
    TEXT,
    TIME,
    Column,
    Table,
    shown,
)
from littlest_hub.stacks.stats.pages.viewer import Viewer
from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.reading import Figures
from littlest_hub.stacks.stats.values import DAY_S, Values
from tests.simulated_statistics import simulate

NOW = time.mktime((2026, 11, 18, 16, 7, 30, 0, 0, -1))
INSTRUCTORS = {"teachers": ["physics", "lab"]}
HOSTILE = '</desc><script>alert(1)</script>&"'


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Figures]:
    """A week of 20 people, of whom 9 of a group run servers at the same time."""
    directory = tmp_path_factory.mktemp("stats")
    assert simulate(directory, days=7, people=20, step_s=900, now_s=NOW) > 600
    with closing(database.open_to_read(directory)) as connection:
        yield Figures(connection)


def of_hub(figures: Figures, period: str = "week") -> report.Report:
    values = Values(every_s=600)
    return report.of_hub(figures, values, Period.of(period, values, NOW), figures.groups())


@pytest.mark.parametrize("name", NAMES)
def test_each_period_has_a_report_whose_pictures_are_well_formed(
    figures: Figures, name: str
) -> None:
    found = of_hub(figures, name)
    for part in found.parts:
        if part.picture:
            root = ElementTree.fromstring(str(part.drawn))
            assert root.attrib["role"] == "img"
            texts = [each.text or "" for each in root.iter() if each.tag in ("title", "desc")]
            assert texts[0] == part.title
            assert len(texts[1]) > 5
        assert all(len(part.table.cells(row)) for row in part.table.rows)


def test_the_report_of_a_week_has_what_was_counted(figures: Figures) -> None:
    found = of_hub(figures)
    assert found.summary["Most servers at a time"][0] == 10
    assert found.summary["Active people, 7 days"][0] == 20
    data = found.to_json()
    assert {each["group"] for each in data["parts"]["groups"]} == {"physics", "chemistry"}
    servers = data["parts"]["servers"]
    assert max(each["servers"] for each in servers) == 10
    assert len(data["parts"]["people"]) == 20
    hours = {each["time"][:13] for each in servers}
    assert "2026-11-15T12" not in hours, "the hub was down"
    assert "Nothing was counted for" in found.part("servers").described  # type: ignore[union-attr]


def test_a_group_and_a_person_have_reports_of_their_own(figures: Figures) -> None:
    values = Values()
    period = Period.of("week", values, NOW)
    physics = report.of_group(figures, values, period, "physics").to_json()
    names = {each["name"] for each in physics["parts"]["people"]}
    assert names == {f"student{number:03}" for number in range(1, 21, 2)}
    own = report.of_person(figures, period, "student001").to_json()
    assert own["summary"]["Your groups"] == "physics"
    assert own["summary"]["A server ran for"] > 3600
    assert "student002" not in str(own)
    stored = figures.stored_about("student001")
    assert stored["groups"] == ["physics"]
    assert len(stored["hours"]) > len(stored["days"]) >= 5
    assert figures.stored_about("nobody")["hours"] == []
    nobody = report.of_person(figures, period, "nobody").to_json()
    assert nobody["parts"]["use"] == []


def test_who_sees_what() -> None:
    values = Values(instructors=INSTRUCTORS)
    admin = Viewer.of({"name": "a", "admin": True, "groups": []}, values)
    teacher = Viewer.of({"name": "t", "admin": False, "groups": ["teachers"]}, values)
    student = Viewer.of({"name": "s", "admin": False, "groups": ["physics"]}, values)
    groups = ("physics", "lab", "chemistry", "teachers", "")
    assert [admin.may_see_group(each) for each in groups] == [True] * 5
    assert [teacher.may_see_group(each) for each in groups] == [True, True, False, False, False]
    assert not any(student.may_see_group(each) for each in groups)
    assert not Viewer.of({"name": "x", "admin": "yes", "groups": None}, values).is_admin


def test_text_of_people_is_no_markup_and_no_formula() -> None:
    columns = [Column("name", "Name", TEXT), Column("number", "Number")]
    table = Table(columns, [{"name": HOSTILE, "number": 1}, {"name": "=1+1", "number": None}])
    drawn = str(draw(Picture([("number", "Number")], is_bars=True), table, "x", HOSTILE))
    assert "<script" not in drawn
    ElementTree.fromstring(drawn)
    rows = list(csv.reader(io.StringIO(table.to_csv())))
    assert rows == [["name", "number"], [HOSTILE, "1"], ["'=1+1", ""]]


def test_environments_have_hours_of_servers_processors_and_memory(figures: Figures) -> None:
    found = of_hub(figures)
    rows = found.to_json()["parts"]["environments"]
    assert {each["environment"] for each in rows} == {
        "the hub's own",
        "class environment",
        "github.com/physics/mechanics",
    }
    for key in ("server_s", "cpu_s", "memory_time_gb_h"):
        people = sum(each[key] for each in found.to_json()["parts"]["people"])
        assert sum(each[key] for each in rows) == pytest.approx(people), key
    part = found.part("environments")
    assert part
    assert rows[0]["environment"] in str(part.drawn)
    assert "the most is" in part.described
    assert part.table.to_csv().startswith("environment,server_s,cpu_s,memory_time_gb_h,servers")
    period = Period.of("week", Values(), NOW)
    for other in (
        report.of_group(figures, Values(), period, "physics"),
        report.of_person(figures, period, "student001"),
    ):
        assert "mechanics" not in str(other.to_json())


def test_a_ranking_has_room_for_long_names_and_the_first_rows(figures: Figures) -> None:
    rows: list[dict[str, Any]] = [
        {"name": HOSTILE, "n": 5},
        {"name": f"{'y' * 500}/end", "n": None},
    ]
    rows += [{"name": f"row{number}", "n": 0} for number in range(100)]
    table = Table([Column("name", "Name", TEXT), Column("n", "Number")], rows)
    drawn = str(draw(Picture([("n", "Number")], is_bars=True, is_ranking=True), table, "x", "t"))
    root = ElementTree.fromstring(drawn)
    texts = [each.text or "" for each in root.iter() if each.tag == "text"]
    assert texts[:2] == [HOSTILE, "5"]
    assert texts[3] == "unknown"
    assert texts[2].endswith("yy/end")
    assert len(texts[2]) < 60
    assert "row5" in texts
    assert "row6" not in texts


def minutes(*offsets: int) -> tuple[Picture, Table]:
    """Return a picture of an hour in which one server was counted at these minutes."""
    period = Period.of("hour", Values(), NOW)
    rows = [{"time": period.begin_s + 60 * each, "n": 1} for each in offsets]
    return Picture([("n", "Servers")], period=period), Table(
        [Column("time", "Time", TIME), Column("n", "Servers")], rows
    )


def test_a_gap_is_drawn_and_said_and_a_short_delay_is_none() -> None:
    picture, table = minutes(*range(60))
    assert 'class="gap"' not in draw(picture, table, "x", "t")
    assert "Nothing was counted" not in describe(picture, table)
    picture, table = minutes(*range(0, 10), *range(11, 60))
    assert 'class="gap"' not in draw(picture, table, "x", "t")
    picture, table = minutes(*range(0, 10), *range(40, 60))
    drawn = str(draw(picture, table, "x", "t"))
    assert drawn.count('class="gap"') == 1
    assert drawn.count('class="line series-0"') == 2
    assert "Nothing was counted for 30 min." in describe(picture, table)


def test_days_begin_at_midnight_also_when_the_clock_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        now = time.mktime((2026, 10, 26, 9, 0, 0, 0, 0, -1))
        begins = [Period.of(name, Values(), now).begin_s for name in ("week", "month", "year")]
        assert {time.strftime("%H:%M", time.localtime(each)) for each in begins} == {"00:00"}
        week = Period.of("week", Values(), now)
        assert time.strftime("%d", time.localtime(week.begin_s)) == "20"
        # The week has an hour more.
        assert week.end_s - week.begin_s > 6 * DAY_S + 9 * 3600 + 3599
        assert [text for _, text in week.ticks()][-2:] == ["Sun", "Mon"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_term_begins_when_the_fragment_says_so() -> None:
    begun = Period.of("term", Values(term_begins="2026-11-01"), NOW)
    assert time.strftime("%Y-%m-%d", time.localtime(begun.begin_s)) == "2026-11-01"
    assert Values(term_begins="2027-01-01").term_days(NOW) == 1
    assert Values().term_days(NOW) == 120


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (Values(every_s=True), "EVERY_S"),
        (Values(every_s=1), "EVERY_S"),
        (Values(keep_days=0), "KEEP_DAYS"),
        (Values(term_begins="soon"), "TERM_BEGINS"),
        (Values(instructors={"a": "b"}), "INSTRUCTORS"),
        (Values(instructors=[]), "INSTRUCTORS"),  # type: ignore[arg-type]
        (Values(prometheus="yes"), "PROMETHEUS"),  # type: ignore[arg-type]
    ],
)
def test_wrong_values_are_named(values: Values, name: str) -> None:
    assert [each for each, _ in values.problems()] == [name]
    assert Values.from_json(values.to_json()) == Values()


def test_right_values_reach_the_service() -> None:
    values = Values(instructors=INSTRUCTORS, term_begins="2026-10-01", prometheus=True)
    assert values.problems() == []
    assert Values.from_json({**values.to_json(), "of a later release": 1}) == values
    assert Values.from_json(None) == Values()


def test_figures_are_easy_to_read() -> None:
    assert [shown(each, BYTES) for each in (None, 0, 312_000_000, 2 * 10**9)] == [
        "unknown",
        "0 MB",
        "312 MB",
        "2.0 GB",
    ]
    assert [shown(each, MEMORY_TIME) for each in (0, 0.034, 12.34)] == [
        "0 GB h",
        "0.034 GB h",
        "12.3 GB h",
    ]
    assert [shown(each, DURATION) for each in (0.5, 90, 300, 9000)] == [
        "0.5 s",
        "90 s",
        "5 min",
        "2.5 h",
    ]
