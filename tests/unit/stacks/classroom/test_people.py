"""Names, passwords, one-time codes, and the file of people of a class."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.stacks.classroom.logins import codes, names, passwords
from littlest_hub.stacks.classroom.logins.people import (
    WAITING,
    WAITING_OF_SOURCE,
    Answer,
    People,
    Standing,
)
from littlest_hub.stacks.classroom.logins.turns import (
    FORGET_ONE_S,
    OF_SOURCE,
    SOURCES,
    BusyError,
    Turns,
)

HERE, THERE = "192.0.2.1", "198.51.100.7"


class Clock:
    """A clock that a test sets."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(tmp_path: Path, clock: Clock) -> People:
    return People(tmp_path / "hub" / "people.sqlite", clock)


def ask(people: People, name: str, source: str = HERE, *, is_taken: bool = False) -> Answer:
    return people.sign_up(name, f"hash of {name}", "a note", source, is_taken=is_taken)


def waiting(people: People) -> list[str]:
    return [each.name for each in people.all(Standing.WAITING)]


def requests(people: People) -> list[str]:
    return [each.request for each in people.all(Standing.WAITING)]


# --- names


@pytest.mark.parametrize(
    "typed",
    ["alice", "Alice", " alice ", "ALICE\t", "\uff21lice", "\U0001d4b6lice", "\xaalice", "\ufb02y"],
)
def test_another_spelling_is_the_same_name_or_none(typed: str) -> None:
    name = names.canonical(typed)
    assert name in ("alice", "fly")
    assert names.is_name(name)


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", ".", "..", "-alice", "a b", "al\u0131ce", "\u0430lice", "alice\u200b", "al\0ce"),
        *("a/b", "alice\n\nx", "x" * 64, "x" * 100_000, "\u0130", "a'b", "../alice", "a%2fb"),
    ],
)
def test_what_looks_like_a_name_but_is_none_is_refused(typed: str) -> None:
    assert not names.is_name(names.canonical(typed))


@given(st.text(max_size=300))
def test_a_canonical_name_stays_as_it_is(typed: str) -> None:
    name = names.canonical(typed)
    if names.is_name(name):
        assert names.canonical(name) == name
        assert name.isascii()


def test_accounts_of_the_system_are_recognized() -> None:
    assert names.is_of_the_system("root")
    assert not names.is_of_the_system("nobody-has-this-name")


# --- passwords


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "at least 8 characters"),
        ("x" * 73, "at most 72 bytes"),
        ("é" * 37, "at most 72 bytes"),
        ("abcdabcdab", "at least 5 different characters"),
        ("Password123", "easy to guess"),
        ("Maria has a frog", "contains your login name, maria"),
        ("good enough\0", "cannot be typed"),
    ],
)
def test_a_bad_password_is_refused_with_the_reason(password: str, reason: str) -> None:
    assert reason in str(passwords.problem(password, "maria", 8))


def test_a_password_is_compared_however_the_keyboard_writes_it() -> None:
    stored = passwords.hashed("caf\u00e9 au lait")
    assert passwords.is_right("cafe\u0301 au lait", stored)
    assert not passwords.is_right("cafe au lait", stored)
    assert not passwords.is_right("cafe\u0301 au lait", None)
    assert not passwords.is_right("x" * 80, stored)
    assert not passwords.is_right("\ud800", stored)


def test_a_code_may_be_typed_in_any_way() -> None:
    code = codes.new()
    assert len(code) == 19
    assert codes.digest(code) == codes.digest(code.lower().replace("-", " "))
    assert codes.digest("OI") == codes.digest("01")
    assert codes.digest(code) != codes.digest(codes.new())


# --- turns


def test_a_class_signs_up_from_one_address_and_a_flood_does_not(clock: Clock) -> None:
    turns = Turns(clock)
    for _ in range(OF_SOURCE):
        turns.count(HERE)
    with pytest.raises(BusyError):
        turns.count(HERE)
    turns.count(THERE)
    clock.now += FORGET_ONE_S
    turns.count(HERE)
    with pytest.raises(BusyError):
        turns.count(HERE)


def test_the_networks_that_are_remembered_are_bounded(clock: Clock) -> None:
    turns = Turns(clock)
    for number in range(SOURCES + 100):
        turns.count(f"network {number}")
    assert len(turns._requests) == SOURCES


def test_of_too_many_passwords_the_last_come_back_later() -> None:
    async def ask_all() -> list[object]:
        turns = Turns(most=2)
        asked = (turns.hashed("seven blue umbrellas") for _ in range(5))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    found = asyncio.run(ask_all())
    assert [isinstance(each, BusyError) for each in found] == [False, False, True, True, True]


# --- the file


def test_nothing_is_written_until_somebody_signs_up(people: People) -> None:
    assert people.get("alice") is None
    assert waiting(people) == []
    assert people.refuse(["alice 1.0"]) == []
    assert not people.is_full(HERE)
    assert not people.remove("alice")
    assert people.damage() == ""


def test_the_file_is_the_hubs_alone(people: People) -> None:
    before = os.umask(0)
    try:
        ask(people, "alice")
    finally:
        os.umask(before)
    assert people.file.stat().st_mode & 0o777 == 0o600
    assert people.file.parent.stat().st_mode & 0o777 == 0o700


def test_whoever_signs_up_waits_until_approved(people: People) -> None:
    assert ask(people, "alice") is Answer.NOTED
    alice = people.get("alice")
    assert alice is not None
    assert not alice.may_log_in
    assert people.approve(requests(people)) == ["alice"]
    alice = people.get("alice")
    assert alice is not None
    assert alice.may_log_in
    assert alice.password == "hash of alice"
    assert waiting(people) == []


def test_a_name_can_be_asked_for_once_and_the_answer_is_the_same(people: People) -> None:
    assert ask(people, "alice") is Answer.NOTED
    assert people.sign_up("alice", "another", "", THERE, is_taken=False) is Answer.NOTED
    assert ask(people, "root", is_taken=True) is Answer.NOTED
    assert waiting(people) == ["alice"]
    assert people.get("alice").password == "hash of alice"  # type: ignore[union-attr]
    assert people.number_of_taken() == 2
    people.forget_taken()
    assert people.number_of_taken() == 0


def test_an_approval_is_of_the_request_that_was_seen(people: People, clock: Clock) -> None:
    ask(people, "alice")
    seen = requests(people)
    people.refuse(seen)
    clock.now += 1
    ask(people, "alice", THERE)
    assert people.approve(seen) == []
    assert people.approve(["alice", "alice x", "alice nan", ""]) == []
    assert waiting(people) == ["alice"]


def test_strangers_cannot_fill_the_list(people: People, clock: Clock) -> None:
    answers = [ask(people, f"x{number}") for number in range(WAITING_OF_SOURCE + 40)]
    assert answers.count(Answer.NOTED) == WAITING_OF_SOURCE
    assert people.is_full(HERE)
    assert not people.is_full(THERE)
    for number in range(10_000):
        ask(people, f"y{number}", f"198.51.100.{number % 200}")
        if people.is_full(THERE):
            break
    assert len(waiting(people)) == WAITING
    assert ask(people, "late", THERE) is Answer.FULL
    assert people.file.stat().st_size < 300_000
    clock.now += 31 * 86400
    assert ask(people, "late", THERE) is Answer.NOTED
    assert waiting(people) == ["late"]


def test_a_first_password_is_chosen_once(people: People) -> None:
    assert people.choose_first_password("bob", "first")
    assert not people.choose_first_password("bob", "second")
    assert people.get("bob").password == "first"  # type: ignore[union-attr]


def test_of_many_who_come_first_one_is(people: People) -> None:
    with ThreadPoolExecutor(8) as threads:
        won = list(
            threads.map(lambda n: people.choose_first_password("bob", f"hash {n}"), range(24))
        )
    assert won.count(True) == 1
    assert people.get("bob").password == f"hash {won.index(True)}"  # type: ignore[union-attr]


def test_signing_up_with_a_name_of_the_list_gives_no_password_for_it(people: People) -> None:
    ask(people, "bob")
    assert not people.set_password("bob", "stolen")
    assert people.choose_first_password("bob", "bob's own")
    bob = people.get("bob")
    assert bob is not None
    assert (bob.standing, bob.password, bob.note) == (Standing.LISTED, "bob's own", "")


def test_a_code_is_valid_once_for_its_name_and_a_week(people: People, clock: Clock) -> None:
    code = codes.digest(codes.new())
    people.grant("boss", code)
    assert not people.choose_first_password("boss", "a stranger's")
    assert not people.use_code("alice", code, "new")
    assert not people.use_code("boss", codes.digest("guess"), "new")
    clock.now += 8 * 86400
    assert not people.has_code("boss", code)
    assert not people.use_code("boss", code, "new")
    people.grant("boss", code)
    with ThreadPoolExecutor(4) as threads:
        used = list(threads.map(lambda n: people.use_code("boss", code, f"hash {n}"), range(8)))
    assert used.count(True) == 1
    assert not people.has_code("boss", code)


def test_a_code_voids_the_password_and_a_strangers_request(people: People) -> None:
    ask(people, "boss")
    people.grant("boss", "digest")
    boss = people.get("boss")
    assert boss is not None
    assert boss.may_log_in
    assert boss.password is None


def test_whoever_was_added_is_new_until_the_first_password(people: People, clock: Clock) -> None:
    def is_new(name: str) -> bool:
        person = people.get(name)
        assert person is not None
        return person.is_new

    for code in ("first", "second", "third"):
        people.grant("bob", code)
        assert is_new("bob")
        clock.now += 60
    people.use_code("bob", "third", "hash")
    assert not is_new("bob")
    people.grant("bob", "of another password")
    clock.now += 60
    people.grant("bob", "and another one")
    assert not is_new("bob")
    ask(people, "maria")
    assert not is_new("maria")


def test_a_damaged_file_is_named(people: People) -> None:
    ask(people, "alice")
    assert people.damage() == ""
    people.file.write_bytes(b"x" * 4096)
    assert "not a database" in people.damage()
    with pytest.raises(sqlite3.DatabaseError):
        people.get("alice")


KILLED = """
import os, signal, sys
from pathlib import Path
from littlest_hub.stacks.classroom.logins.people import People
people = People(Path(sys.argv[1]))
with people._writing() as connection:
    connection.execute("PRAGMA cache_spill = ON")
    connection.execute("PRAGMA cache_size = 1")
    for number in range(3000):
        connection.execute(
            "INSERT INTO people (name, standing, note, time) VALUES (?, 'waiting', ?, 0)",
            (f"half{number}", "x" * 200),
        )
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_hub_has_begun_is_undone_by_the_next_that_reads(people: People) -> None:
    ask(people, "alice")
    done = subprocess.run([sys.executable, "-c", KILLED, str(people.file)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert people.file.with_name("people.sqlite-journal").exists()
    assert waiting(people) == ["alice"]
