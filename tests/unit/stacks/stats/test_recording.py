"""Samples become sums of minutes, hours and days; old ones go, and damage loses only itself."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.stats.store import database
from littlest_hub.stacks.stats.store.environments import MOST, EnvironmentUse
from littlest_hub.stacks.stats.store.reading import Figures
from littlest_hub.stacks.stats.store.recording import Recorder, day_of, hour_of
from littlest_hub.stacks.stats.store.sample import Failure, Person, Sample, Server, Starts
from littlest_hub.stacks.stats.values import DAY_S, Values

NOON = int(time.mktime((2026, 11, 18, 12, 0, 0, 0, 0, -1)))
GB = 10**9


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    with closing(database.open_to_write(tmp_path)) as connection:
        yield Recorder(connection)


@pytest.fixture
def figures(tmp_path: Path, recorder: Recorder) -> Iterator[Figures]:
    """Return the rows of each moment, as they are in the database."""
    assert recorder
    with closing(database.open_to_read(tmp_path)) as connection:
        connection.execute("COMMIT")
        yield Figures(connection)


def works(name: str, *groups: str, time_s: float = NOON, since: str = "1", n: int = 1) -> Person:
    """Return a person with servers that use 1 GB and a tenth of a processor."""
    server = Server(True, GB, 6000)
    return Person(name, since, frozenset(groups), time_s, [server] * n)


def sample(*people: Person, at_s: int = 0, is_whole: bool = False, waiting: int = 0) -> Sample:
    return Sample(NOON + at_s, 60, people, is_whole=is_whole, waiting=waiting)


def test_an_hour_and_a_day_have_the_highest_numbers_and_the_sum_of_processors(
    recorder: Recorder, figures: Figures
) -> None:
    recorder.record(sample(works("ada"), works("ben", n=2), waiting=4))
    recorder.record(sample(works("ada"), at_s=60))
    recorder.record(sample(at_s=3600))
    (first, second) = figures.counts("hour", None, NOON, NOON + 7200, 0)
    assert (first.servers, first.people, first.waiting) == (3, 2, 4)
    assert first.memory_bytes == 3 * GB
    assert first.cpu_ms == 4 * 6000
    assert first.processors == 4 * 6 / 120
    assert (second.servers, second.memory_bytes, second.cpu_ms) == (0, 0, 0)
    (day,) = figures.counts("day", None, day_of(NOON), NOON + 7200, 0)
    assert (day.servers, day.covered_s) == (3, 180)


def test_a_page_shows_one_moment_whatever_is_written_meanwhile(
    tmp_path: Path, recorder: Recorder
) -> None:
    recorder.record(sample(works("ada")))
    with closing(database.open_to_read(tmp_path)) as connection:
        recorder.record(sample(works("ada"), works("ben")))
        (found,) = Figures(connection).counts("hour", None, NOON, NOON + 60, 0)
    assert found.servers == 1


def test_a_minute_in_which_nothing_was_counted_is_missing_and_not_zero(
    recorder: Recorder, figures: Figures
) -> None:
    for at_s in (0, 60, 300):
        recorder.record(sample(works("ada", "physics"), at_s=at_s))
    recorder.record(sample(works("ben", "chemistry"), at_s=360))
    found = figures.counts("minute", "physics", NOON, NOON + 600, 60)
    assert [(each.time_s - NOON, each.servers) for each in found] == [
        (0, 1),
        (60, 1),
        (300, 1),
        (360, 0),
    ]
    steps = figures.counts("minute", None, NOON, NOON + 600, 300)
    assert [each.time_s - NOON for each in steps] == [0, 300]


def test_groups_have_figures_of_their_own(recorder: Recorder, figures: Figures) -> None:
    people = works("ada", "physics", "all"), works("ben", "chemistry", "all")
    recorder.record(sample(*people, is_whole=True))
    assert figures.groups() == ["all", "chemistry", "physics"]
    assert figures.groups_of("ada") == ["all", "physics"]
    begin_s, end_s = day_of(NOON), NOON + 60
    peaks = [
        figures.counts("hour", group, NOON, end_s, 0)[0].servers for group in ("all", "physics")
    ]
    assert peaks == [2, 1]
    assert [each.name for each in figures.people("day", "physics", begin_s, end_s)] == ["ada"]
    assert figures.active_people("all", begin_s, end_s) == 2
    assert figures.active_people("no such group", begin_s, end_s) == 0
    assert figures.people("day", "no such group", begin_s, end_s) == []


def test_a_person_has_hours_of_servers_memory_and_processors(
    recorder: Recorder, figures: Figures
) -> None:
    recorder.record(sample(works("ada")))
    light = Person("ada", "1", frozenset(), NOON, [Server(True, GB // 2, 0)])
    recorder.record(sample(light, at_s=60))
    (ada,) = figures.people("hour", None, NOON, NOON + 3600)
    assert (ada.server_s, ada.memory_bytes, ada.cpu_s) == (120, GB, 6)
    assert ada.memory_gb_h == pytest.approx(1.5 / 60)
    assert ada.mean_memory_bytes == pytest.approx(0.75 * GB)


def test_unknown_memory_stays_unknown_and_does_not_hide_what_is_known(
    recorder: Recorder, figures: Figures
) -> None:
    elsewhere = Person("eve", "1", frozenset(), NOON, [Server(True)])
    recorder.record(sample())
    recorder.record(sample(elsewhere))
    (only,) = figures.counts("hour", None, NOON, NOON + 60, 0)
    assert (only.memory_bytes, only.processors) == (None, None)
    recorder.record(sample(elsewhere, works("ada"), at_s=60))
    (both,) = figures.counts("hour", None, NOON, NOON + 60, 0)
    assert (both.memory_bytes, both.cpu_ms) == (GB, 6000)
    eve = next(e for e in figures.people("day", None, day_of(NOON), NOON) if e.name == "eve")
    assert (eve.memory_bytes, eve.cpu_s, eve.server_s) == (None, None, 120)
    assert eve.memory_gb_h is None
    nobody = figures.of_all("day", "no such group", day_of(NOON), NOON)
    assert (nobody.memory_gb_h, nobody.cpu_s, nobody.server_s) == (0, 0, 0)


def test_who_did_something_is_active_and_who_left_a_server_running_is_not(
    recorder: Recorder, figures: Figures
) -> None:
    yesterday = works("ada", time_s=NOON - DAY_S)
    no_server = Person("ben", "1", frozenset(), NOON - 5)
    recorder.record(sample(yesterday, no_server, is_whole=True))
    assert figures.active_people(None, day_of(NOON), NOON) == 1
    assert figures.active_by_day(None, day_of(NOON), NOON + 60) == {day_of(NOON): 1}


def test_a_namesake_inherits_nothing_and_who_is_deleted_leaves_nothing(
    recorder: Recorder, figures: Figures
) -> None:
    failure = Failure("ada", NOON * 1_000_000, "no home")
    recorder.record(replace(sample(works("ada"), works("ben"), is_whole=True), failures=[failure]))
    assert [each.name for each in figures.failures(NOON, NOON + 60)] == ["ada"]
    recorder.record(sample(works("ada", since="2"), works("ben"), at_s=60))
    (ada,) = figures.of_person("day", "ada", day_of(NOON), NOON + 60)
    assert ada.server_s == 60
    assert figures.failures(NOON, NOON + 60) == []
    recorder.record(sample(works("ada", since="2"), at_s=120, is_whole=True))
    assert figures.of_person("day", "ben", day_of(NOON), NOON + 60) == []
    # What all people did together stays.
    assert figures.counts("day", None, day_of(NOON), NOON + 60, 0)[0].servers == 2


def test_starts_add_up_and_the_same_failure_counts_once(
    recorder: Recorder, figures: Figures
) -> None:
    failure = Failure("ada", NOON * 1_000_000, "r" * 5000, "m")
    starts = [Starts("success", "", {1.0: 2, 5.0: 1}), Starts("error", "x", {30.0: 1})]
    for at_s in (0, 60):
        recorder.record(replace(sample(works("ada"), at_s=at_s), starts=starts, failures=[failure]))
    found = figures.starts(hour_of(NOON), NOON + 60)
    assert [(each.status, each.up_to_s, each.number) for each in found] == [
        ("error", 30, 2),
        ("success", 1, 4),
        ("success", 5, 2),
    ]
    (failed,) = figures.failures(NOON - 1, NOON + 1)
    assert len(failed.reason) == 300


def of_environment(*names: str, who: str = "ada") -> Person:
    return Person(who, "1", frozenset(), NOON, [Server(True, GB, 6000, name) for name in names])


def test_environments_have_figures_of_their_own(recorder: Recorder, figures: Figures) -> None:
    repository = "github.com/org/repo"
    recorder.record(sample(of_environment("", repository), of_environment(repository, who="b")))
    recorder.record(sample(of_environment(repository), at_s=60))
    recorder.record(sample(of_environment(repository), at_s=3600))
    elsewhere = Person("eve", "1", frozenset(), NOON, [Server(True, environment="a job")])
    recorder.record(sample(elsewhere, at_s=3660))
    recorder.record(sample(Person("b", "1", servers=[Server(False, GB)]), at_s=3720))
    found = figures.environments("day", day_of(NOON), NOON + 7200)
    assert [replace(each, memory_gb_h=None) for each in found] == [
        EnvironmentUse(repository, 2, 240, None, 24),
        EnvironmentUse("the hub's own", 1, 60, None, 6),
        EnvironmentUse("a job", 1, 60, None, None),
    ]
    assert [each.memory_gb_h for each in found] == [
        pytest.approx(4 / 60),
        pytest.approx(1 / 30),
        None,
    ]
    (own, of_repository) = sorted(
        figures.environments("hour", NOON, NOON + 60), key=lambda each: each.servers
    )
    assert (own.server_s, of_repository.server_s) == (60, 180)
    # No figure tells whose server it was.
    assert "org/repo" not in str(figures.stored_about("ada"))


def test_only_some_environments_of_a_day_have_rows_and_names_go_with_them(
    tmp_path: Path, recorder: Recorder, figures: Figures
) -> None:
    def record(*names: str, day: int = 0) -> None:
        servers = of_environment(*names).servers
        person = Person("ada", "1", frozenset(), NOON, servers)
        recorder.record(sample(person, at_s=day * DAY_S))

    record("first")
    record(*(f"host/{number}" * 30 for number in range(200)))
    record("first", "host/one-more")
    found = figures.environments("day", day_of(NOON), NOON + 60)
    by_name = {each.name: each.server_s for each in found}
    assert len(by_name) == MOST + 1
    assert (by_name["first"], by_name["others"]) == (120, (200 + 1 - MOST + 1) * 60)
    assert max(map(len, by_name)) == 120
    # The next day has room again; when the first one goes, its names do.
    record("host/one-more", day=1)
    (name,) = [e.name for e in figures.environments("day", NOON, NOON + 2 * DAY_S)]
    assert name == "host/one-more"
    recorder.prune(Values(keep_minutes_days=1, keep_hours_days=1, keep_days=1))
    with closing(database.open_to_read(tmp_path)) as connection:
        assert [tuple(row) for row in connection.execute("SELECT name FROM environment")] == [
            (name,)
        ]
        assert len(Figures(connection).environments("hour", 0, NOON * 2)) == 1


def test_a_database_of_a_release_without_environments_goes_on(tmp_path: Path) -> None:
    with closing(database.open_to_write(tmp_path)) as connection:
        Recorder(connection).record(sample(works("ada")))
        for table in ("environment", "environment_hour", "environment_day"):
            connection.execute(f"DROP TABLE {table}")
    with closing(database.open_to_read(tmp_path)) as connection:
        assert Figures(connection).environments("day", 0, NOON * 2) == []
    with closing(database.open_to_write(tmp_path)) as connection:
        Recorder(connection).record(sample(works("ada"), at_s=60))
    with closing(database.open_to_read(tmp_path)) as connection:
        (found,) = Figures(connection).environments("day", 0, NOON * 2)
        (ada,) = Figures(connection).people("day", None, 0, NOON * 2)
    assert (found.server_s, ada.server_s) == (60, 120)


def many_days(recorder: Recorder, days: int) -> None:
    for day in range(days):
        recorder.record(sample(works("ada", time_s=NOON + day * DAY_S), at_s=day * DAY_S))


def test_old_figures_are_deleted_and_their_sums_stay(recorder: Recorder, figures: Figures) -> None:
    many_days(recorder, 10)
    recorder.prune(Values(keep_minutes_days=2, keep_hours_days=4, keep_days=8))
    end_s = NOON + 11 * DAY_S
    left = [len(figures.counts(table, None, 0, end_s, 0)) for table in ("minute", "hour", "day")]
    assert left == [2, 4, 8]
    assert len(figures.of_person("hour", "ada", 0, end_s)) == 4
    assert len(figures.of_person("day", "ada", 0, end_s)) == 8


def test_a_clock_that_is_wrong_for_a_while_deletes_nothing(
    recorder: Recorder, figures: Figures
) -> None:
    many_days(recorder, 5)
    years = 20 * 365 * DAY_S
    recorder.record(sample(works("ada"), at_s=years))
    recorder.prune(Values(keep_days=6))
    recorder.record(sample(works("ada"), at_s=-years))
    recorder.prune(Values(keep_days=7))
    found = figures.of_person("day", "ada", day_of(NOON), NOON + 5 * DAY_S)
    assert len(found) == 5
    # The same minute again, after the clock was set back.
    recorder.record(sample(works("ada"), at_s=4 * DAY_S))
    assert figures.counts("minute", None, NOON, NOON + 5 * DAY_S, 0)[-1].servers == 1


def test_a_full_disk_loses_the_sample_and_nothing_else(tmp_path: Path) -> None:
    with closing(database.open_to_write(tmp_path)) as connection:
        recorder = Recorder(connection)
        recorder.record(sample(works("ada"), is_whole=True))
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        crowd = [works(f"person{number}", f"group{number}") for number in range(500)]
        with pytest.raises(sqlite3.OperationalError, match="full") as caught:
            recorder.record(sample(*crowd, at_s=60))
        assert not database.is_damage(caught.value)
        connection.execute("PRAGMA max_page_count = 100000")
        recorder.record(sample(works("ada"), at_s=120))
    with closing(database.open_to_read(tmp_path)) as connection:
        found = Figures(connection).counts("minute", None, NOON, NOON + 600, 0)
        assert [each.servers for each in found] == [1, 1]
        assert Figures(connection).groups() == []


@pytest.mark.parametrize("at", [0, 5000])
def test_damage_is_recognized_and_set_aside(tmp_path: Path, at: int) -> None:
    with closing(database.open_to_write(tmp_path)) as connection:
        many_days(Recorder(connection), 30)
    file = tmp_path / database.FILE
    data = bytearray(file.read_bytes())
    data[at : at + 4096] = b"\xa5" * 4096
    file.write_bytes(data)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        database.open_to_write(tmp_path).close()
    assert database.is_damage(caught.value)
    aside = database.set_aside(tmp_path)
    assert database.damaged(tmp_path) == [aside]
    with closing(database.open_to_write(tmp_path)) as connection:
        Recorder(connection).record(sample(works("ada")))


def test_a_database_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    with closing(database.open_to_write(tmp_path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / database.FILE).read_bytes()
    with pytest.raises(LittlestHubError, match="format 99"):
        database.open_to_write(tmp_path)
    assert (tmp_path / database.FILE).read_bytes() == before
