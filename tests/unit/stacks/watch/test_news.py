"""An administrator is told what is new, reminded once a week, and otherwise left alone."""

from pathlib import Path

from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.stacks.watch.news import REMIND_DAYS, Told, news, read, save

DAY_S = 86400.0
DISK = Finding(PROBLEM, "disk", "/home is 97 % full", "du -sh /home/*", "Machine")
CERTIFICATE = Finding(WARNING, "HTTPS hub", "expires in 13 days", "", "Network")
WELL = Finding(OK, "memory", "enough", "", "Machine")


def test_a_new_problem_is_told_once() -> None:
    first, told = news([WELL, DISK], Told(), 0)
    assert first.is_due
    assert first.title == "1 problem"
    assert "problem: disk: /home is 97 % full\n    $ du -sh /home/*" in first.text("littlest-hub")
    assert "memory" not in first.text("littlest-hub")
    second, _ = news([WELL, DISK], told, DAY_S)
    assert not second.is_due


def test_a_number_that_changes_from_day_to_day_is_no_news() -> None:
    _, told = news([DISK, CERTIFICATE], Told(), 0)
    later = [
        Finding(PROBLEM, "disk", "/home is 98 % full", "", "Machine"),
        Finding(WARNING, "HTTPS hub", "expires in 12 days", "", "Network"),
    ]
    assert not news(later, told, DAY_S)[0].is_due


def test_what_is_still_wrong_is_told_again_after_a_week() -> None:
    _, told = news([DISK], Told(), 0)
    for day in range(1, REMIND_DAYS):
        found, told = news([DISK], told, day * DAY_S)
        assert not found.is_due
    found, told = news([DISK], told, REMIND_DAYS * DAY_S)
    assert found.is_due
    assert "Still so:" in found.text("littlest-hub")
    assert not news([DISK], told, (REMIND_DAYS + 1) * DAY_S)[0].is_due


def test_what_is_mended_is_told_when_all_is_well_or_with_the_next_news() -> None:
    _, told = news([DISK, CERTIFICATE], Told(), 0)
    partly, told_then = news([CERTIFICATE], told, DAY_S)
    assert not partly.is_due
    both, _ = news([CERTIFICATE, Finding(PROBLEM, "hub", "is down")], told_then, 2 * DAY_S)
    assert "No longer so: disk" in both.text("littlest-hub")
    well, after = news([WELL], told_then, 2 * DAY_S)
    assert well.is_due
    assert well.title == "all is well again"
    assert after == Told()
    assert not news([WELL], after, 3 * DAY_S)[0].is_due


def test_what_cannot_be_seen_for_a_day_is_neither_mended_nor_new_the_day_after() -> None:
    hidden = Finding(UNSEEN, "HTTPS hub", "systemctl reports nothing about its port")
    _, told = news([DISK, CERTIFICATE], Told(), 0)
    well, told = news([hidden], told, DAY_S)
    assert not well.is_due, "nobody knows that all is well"
    other, told = news([hidden, Finding(PROBLEM, "hub", "is down")], told, 2 * DAY_S)
    assert list(other.mended) == ["disk"]
    assert not news([CERTIFICATE, Finding(PROBLEM, "hub", "is down")], told, 3 * DAY_S)[0].is_due
    assert news([WELL], told, 3 * DAY_S)[0].title == "all is well again"


def test_a_machine_where_all_is_well_sends_nothing() -> None:
    assert not news([WELL], Told(), 0)[0].is_due


def test_the_record_is_read_as_it_was_written_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    file = tmp_path / "told.json"
    assert read(file) == Told()
    _, told = news([DISK, CERTIFICATE], Told(), 12.5)
    save(file, told)
    assert read(file) == told
    assert file.stat().st_mode & 0o777 == 0o600
    for text in ("", "[]", '{"format": 9}', '{"format": 1, "subjects": 3}'):
        file.write_text(text)
        assert read(file) == Told()
