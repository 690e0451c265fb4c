"""Findings of doctor about backups, of which `watch` tells the administrator."""

import json
import time
from pathlib import Path

import pytest

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING
from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.backups.backup.run import Standstill, Unread
from littlest_hub.stacks.backups.probes import LATE_S, TEST_LATE_S, last_backup, restore_test
from littlest_hub.stacks.backups.repository import record
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.repository.record import Outcome, Record
from littlest_hub.stacks.backups.settings import Settings
from littlest_hub.system.restic import DamagedError, LockedError, MissingError, explained

NOW_S = 2_000_000_000.0
WELL = Record(run=Outcome(NOW_S, "", "9 files"), success_s=NOW_S, snapshots=3)


def severities(known: Record, now_s: float = NOW_S) -> list[str]:
    return [each.severity for each in last_backup(known, now_s, "journalctl", "backups")]


def texts(known: Record, now_s: float = NOW_S) -> str:
    return "\n".join(each.text for each in last_backup(known, now_s, "journalctl", "backups"))


def test_a_backup_of_last_night_is_well_and_an_old_one_is_a_problem() -> None:
    assert severities(WELL, NOW_S + 86400) == [OK]
    assert severities(WELL, NOW_S + LATE_S + 1) == [PROBLEM]
    assert "days ago" in texts(WELL, NOW_S + LATE_S + 1)


def test_a_failure_is_told_though_an_earlier_backup_was_well() -> None:
    known = Record(run=Outcome(NOW_S, "no room"), success_s=NOW_S - 86400)
    assert severities(known) == [PROBLEM]
    assert "no room" in texts(known)


def test_none_so_far_and_files_that_cannot_be_read_are_warnings() -> None:
    assert severities(Record()) == [WARNING]
    unread = Record(run=WELL.run, success_s=NOW_S, unread=("/home/a", "/home/b"))
    assert severities(unread) == [OK, WARNING]
    assert "2 files could not be read, such as /home/a" in texts(unread)


def test_a_backup_in_the_future_is_said_to_be_the_clocks_fault() -> None:
    assert severities(WELL, NOW_S - 86400) == [WARNING]
    assert "in the future" in texts(WELL, NOW_S - 86400)


def test_damage_is_told_once() -> None:
    damaged = Outcome(NOW_S, "pack 1 is damaged")
    known = Record(run=damaged, check=damaged, success_s=NOW_S)
    assert severities(known) == [PROBLEM]
    assert "the repository is damaged" in texts(known)


def test_a_restore_test_that_failed_or_is_late_is_told() -> None:
    def said(known: Record, now_s: float = NOW_S) -> list[str]:
        return [each.severity for each in restore_test(known, now_s, "journalctl")]

    assert said(Record()) == []
    assert said(Record(test=Outcome(NOW_S, "", "50 files"))) == [OK]
    assert said(Record(test=Outcome(NOW_S, "another content"))) == [PROBLEM]
    assert said(Record(test=Outcome(NOW_S, "", "x")), NOW_S + TEST_LATE_S + 1) == [WARNING]


def test_the_record_survives_damage_and_is_for_root_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "cache")
    assert record.read(place) == Record()
    record.update(place, run=record.well("9 files"), unread=("/home/a",))
    found = record.update(place, snapshots=4)
    assert record.read(place) == found
    assert (found.run.text, found.unread, found.snapshots) == ("9 files", ("/home/a",), 4)
    assert abs(found.run.time_s - time.time()) < 60
    assert place.record.stat().st_mode & 0o777 == 0o600
    place.record.write_text('{"format": 1, "run": 3}')
    assert record.read(place) == Record()


def test_files_that_cannot_be_read_are_named_and_those_that_are_gone_are_not() -> None:
    paths: list[str] = []
    unread = Unread(paths)
    for name, number in (("closed", 13), ("a directory", 21), ("gone", 2)):
        error = {"Op": "open", "Path": f"/home/{name}", "Err": number}
        unread(json.dumps({"message_type": "error", "error": error, "item": f"/home/{name}"}))
    unread('{"message_type": "error", "error": {}, "item": "/home/odd"}')
    unread("no JSON")
    unread("[]")
    assert paths == ["/home/closed", "/home/a directory", "/home/odd"]


@pytest.mark.row(42)
def test_a_backup_that_waits_at_a_pipe_for_ever_is_ended_and_says_how_to_find_it() -> None:
    times_s = iter((0, 50, 100, 105, 165, 166))
    standstill = Standstill(60, lambda: next(times_s))
    for done in (1, 1, 2, 2):
        standstill.at({"files_done": done, "current_files": ["/home/mallory/x\n"]})
    with pytest.raises(LittlestHubError) as ended:
        standstill.at({"files_done": 2, "current_files": ["/home/mallory/x\n"]})
    assert "for 1 minutes, at /home/mallory/x?: somebody puts a pipe" in ended.value.message


def test_what_restic_prints_is_explained(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "cache")
    repository = place.repository(Settings())
    for said, kind, expected in (
        ("Fatal: wrong password or no key found", None, "does not open the repository"),
        ("write /x: no space left on device", None, "no room left"),
        ("unable to create lock: repository is already locked by PID 4", LockedError, "uses"),
        ("Fatal: unable to open config file: stat /x", MissingError, "there is no repository"),
        ("unable to open config file: Head /: dial tcp: no such host", None, "be reached"),
        ("Host key verification failed.", None, "does not know the host"),
        ("ciphertext verification failed", DamagedError, "is damaged"),
        ("Fatal: repository contains errors", DamagedError, "is damaged"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", None, "cannot be reached"),
        ("open /x: read-only file system", None, "may not write"),
        ("something new", None, "restic failed at /var/backups/littlest-hub: something new"),
    ):
        error = explained(repository, 1, f"{said}\nmain.run\n\t/build/restic/main.go:3\n")
        assert expected in error.message, said
        assert "main.go" not in error.message
        assert said in error.message
        assert kind is None or isinstance(error, kind)
