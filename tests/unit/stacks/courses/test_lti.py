"""Roster and grades through a learning platform of our own, tests/learning_services.py."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest

from littlest_hub.backup import contents
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.stacks.courses import command, place
from littlest_hub.stacks.courses import records as courses
from littlest_hub.stacks.courses.course import READY, Course, Student
from littlest_hub.stacks.courses.lti import grades, keys, people, records, session
from littlest_hub.stacks.courses.lti.connection import Address, Connection
from littlest_hub.stacks.courses.lti.grades import Grade, Outcome
from littlest_hub.stacks.courses.lti.people import Member
from littlest_hub.stacks.courses.lti.records import Sent
from littlest_hub.stacks.courses.lti.session import Platform
from tests.certificates import make
from tests.learning_services import (
    CLIENT_ID,
    DEPLOYMENT,
    MEMBERSHIP,
    Services,
    Trouble,
    member,
    serving,
)
from tests.network import free_port

pytestmark = pytest.mark.unit

ALL = [session.MEMBERS, session.COLUMNS, session.SCORES]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation with the course ps131 of bob and carol."""
    found = Layout(DEFAULT_BASE, root=tmp_path / "root")
    people = {name: Student(name) for name in ("bob", "carol")}
    with courses.changing(found):
        courses.put(found, Course("ps131", 15010, "", READY, "", ("alice",), people))
    return found


@pytest.fixture
def services(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The platform, whose certificate programs trust; it knows the hub's public key."""
    certificate, key = make(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    keys.present(layout)
    shown = layout.on_disk(place.public_keys(layout))
    found = Services(
        f"https://127.0.0.1:{free_port()}", lambda: dict(json.loads(shown.read_text()))
    )
    found.members = [member(each) for each in ("bob", "carol", "dave", "erin", "frank")]
    with serving(found, certificate, key):
        yield found


def connection(services: Services, **values: Any) -> Connection:
    course = f"{services.url}/course/7"
    found = Connection(
        CLIENT_ID,
        f"{services.url}/token",
        f"{course}/members?kind=all",
        f"{course}/columns?type=3",
        DEPLOYMENT,
        strips_domain=True,
    )
    return replace(found, **values).checked()


def asking(layout: Layout, found: Connection, scopes: list[str] | None = None) -> Any:
    sign = partial(keys.statement, keys.present(layout), found)
    return session.asking(found, scopes or ALL, sign, session.command_of(layout, "ps131"))


# --- the roster


def test_all_pages_of_members_are_read_with_a_token_for_that_alone(
    layout: Layout, services: Services
) -> None:
    with asking(layout, connection(services), [session.MEMBERS]) as platform:
        found = people.students_of(platform.members(), "email", strips_domain=True)
    assert [each.login for each in found] == ["bob", "carol", "dave", "erin", "frank"]
    assert found[0] == Student("bob", "Bob of", "7", "bob@example.org", "")
    assert services.count("GET /course/7/members") == 3
    (scopes,) = services.tokens.values()
    assert scopes == {session.MEMBERS}


def test_only_active_learners_who_teach_nothing_are_students() -> None:
    sub_role = f"{MEMBERSHIP}/Learner#GuestLearner"
    assistant = f"{MEMBERSHIP}/Instructor#TeachingAssistant"
    learner = f"{MEMBERSHIP}#Learner"
    test_user = "http://purl.imsglobal.org/vocab/lti/system/person#TestUser"
    person = "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Student"
    rows = [
        member("bob"),
        member("short", roles=["Learner"]),
        member("guest", roles=[sub_role]),
        member("silent", status=None),
        member("gone", status="Inactive"),
        member("removed", status="Deleted"),
        member("teacher", "Instructor"),
        member("assistant", roles=[learner, assistant]),
        member("test", roles=[learner, test_user]),
        member("somebody", roles=[person]),
        member("nobody", roles="Learner"),
    ]
    members = [Member.from_json(each) for each in rows]
    found = people.students_of(members, "email", strips_domain=True)
    assert [each.login for each in found] == ["bob", "short", "guest", "silent"]


def test_each_student_without_a_login_is_named_and_none_is_taken() -> None:
    rows = [
        member("bob"),
        member("hidden", email=""),
        member("twin", email="BOB@example.org"),
        member("odd", email="a/b"),
    ]
    members = [Member.from_json(each) for each in rows]
    with pytest.raises(LittlestHubError) as refused:
        people.students_of(members, "email", strips_domain=True)
    assert refused.value.message.splitlines() == [
        "what the platform says of its students cannot be used:",
        "Hidden of 7: the platform does not say their email",
        "Twin of 7: bob is that of Bob of 7 already",
        "Odd of 7: 'a/b' is no login: expected at most 64 letters, digits and . _ @ -",
    ]
    assert "--login" in str(refused.value)


def test_grades_of_two_people_with_one_login_go_to_neither() -> None:
    rows = [member("bob"), member("twin", email="bob@other.org"), member("carol")]
    members = [Member.from_json(each) for each in rows]
    assert people.user_ids_of(members, "email", strips_domain=True) == {"carol": "id-of-carol"}


def test_a_platform_that_names_no_student_empties_no_course() -> None:
    with pytest.raises(LittlestHubError, match="names no active student"):
        people.refuse_nobody([], 3)
    people.refuse_nobody([], 0)


def test_names_from_a_platform_cannot_write_to_a_terminal() -> None:
    row = member("bob", given_name="\x1b]0;owned\x07B\u202eob", family_name="B")
    (student,) = people.students_of([Member.from_json(row)], "email")
    assert (student.first_name, student.last_name) == ("]0;ownedBob", "B")


@pytest.mark.parametrize("row", [None, [], {}, {"user_id": ""}, {"user_id": ["a"]}])
def test_what_is_no_member_is_refused(row: object) -> None:
    with pytest.raises(ValueError, match="member"):
        Member.from_json(row)


# --- the platform's answers


@pytest.mark.parametrize(
    ("trouble", "requests"),
    [
        (Trouble(429, {"Retry-After": "1"}), 2),
        (Trouble(503), 2),
        (Trouble(500), 2),
        (Trouble(401), 2),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Trouble) else "",
)
def test_a_platform_that_is_busy_or_has_forgotten_the_token_is_asked_again(
    layout: Layout, services: Services, trouble: Trouble, requests: int
) -> None:
    services.troubles["members"] = [trouble]
    with asking(layout, connection(services)) as platform:
        assert len(platform.members()) == 5
    assert services.count("GET /course/7/members") == 2 + requests
    assert services.count("POST /token") == (2 if trouble.status == 401 else 1)


@pytest.mark.parametrize(
    ("place_", "trouble", "reason"),
    [
        ("token", Trouble(400, body=b'{"error": "invalid_scope"}'), "400.*invalid_scope"),
        ("token", Trouble(200, body=b"[]"), "no access token"),
        ("token", Trouble(200, body=b'{"access_token": "a\\r\\nX: y"}'), "no access token"),
        ("token", Trouble(200, body=b'{"access_token": "a"}'), "type Bearer"),
        ("members", Trouble(403), "403 Forbidden to /course/7/members"),
        ("members", Trouble(302, {"Location": "https://example.org/"}), "answers 302"),
        ("members", Trouble(200, body=b"<html>"), "no JSON"),
        ("members", Trouble(200, body=b"[" * 100_000), "no JSON"),
        ("members", Trouble(200, body=b'{"members": {}}'), "no list of members"),
        ("members", Trouble(200, body=b'{"members": [{}]}'), "no user_id"),
        ("members", Trouble(200, body=b" " * (9 << 20)), "more than 8 MB"),
        (
            "members",
            Trouble(200, {"Link": '<https://example.org/2>; rel="next"'}, b'{"members": []}'),
            "the next page is https://example.org/2, and not at 127.0.0.1",
        ),
        (
            "members",
            Trouble(200, {"Link": '<http://127.0.0.1/2>; rel="next"'}, b'{"members": []}'),
            "expected an address that begins with https://",
        ),
        (
            "members",
            Trouble(200, {"Link": '</course/7/members?kind=all>; rel="next"'}, b'{"members": []}'),
            "no end of pages",
        ),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_with_the_reason(
    layout: Layout, services: Services, place_: str, trouble: Trouble, reason: str
) -> None:
    services.troubles[place_] = [trouble]
    with (
        pytest.raises(LittlestHubError, match=reason),
        asking(layout, connection(services)) as platform,
    ):
        platform.members()


def test_a_platform_that_does_not_know_the_key_is_an_error_with_what_to_compare(
    layout: Layout, services: Services
) -> None:
    key = keys.present(layout)
    keys.replaced(layout)
    found = connection(services)
    argv = session.command_of(layout, "ps131")
    with (
        pytest.raises(LittlestHubError, match="invalid_client: no key") as refused,
        session.asking(found, ALL, partial(keys.statement, key, found), argv) as platform,
    ):
        platform.members()
    assert "Compare the client ID" in str(refused.value)


def test_a_platform_that_grants_less_is_named_with_what_is_missing(
    layout: Layout, services: Services
) -> None:
    services.granted = frozenset((session.MEMBERS,))
    with (
        pytest.raises(LittlestHubError, match="does not permit the hub: lineitem, score"),
        asking(layout, connection(services)) as platform,
    ):
        platform.members()


def test_a_certificate_that_nobody_has_signed_is_not_trusted(
    layout: Layout, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with (
        pytest.raises(LittlestHubError, match="certificate verify failed"),
        asking(layout, connection(services)) as platform,
    ):
        platform.members()
    assert services.requests == []


def test_a_program_that_cannot_start_is_an_error_with_what_it_said(layout: Layout) -> None:
    found = Connection("a", "https://x.org/", "https://x.org/")
    failing = [sys.executable, "-c", "raise SystemExit('no unit')"]
    with (
        pytest.raises(LittlestHubError, match="has ended: no unit"),
        session.asking(found, ALL, lambda: "", failing) as platform,
    ):
        platform.members()


# --- grades


BOB, CAROL = Grade("bob", 2.5, 5), Grade("carol", 4, 5)
USERS = {name: f"id-of-{name}" for name in ("bob", "carol", "dave", "erin", "frank")}


def sent(
    platform: Platform, graded: list[Grade], before: Sent | None = None
) -> tuple[Outcome, Sent]:
    """Send grades of ps1; return what has become of them, and what the platform has."""
    known = before or Sent("")
    column = platform.column("ps131/ps1", "ps1", 5, known.column)
    kept = [Sent(column, known.grades)]
    outcome = grades.send(platform, kept[0], graded, USERS, kept.append, lambda text: None)
    return outcome, kept[-1]


def test_grades_get_into_a_column_that_is_made_once_and_only_changed_ones_are_sent_again(
    layout: Layout, services: Services
) -> None:
    with asking(layout, connection(services)) as platform:
        outcome, kept = sent(platform, [BOB, CAROL])
        assert (outcome.sent, outcome.unchanged) == (2, 0)
        first = services.grade("bob", "ps1")
        assert first
        assert (first["scoreGiven"], first["scoreMaximum"]) == (2.5, 5)
        assert first["gradingProgress"] == "FullyGraded"
        outcome, kept = sent(platform, [BOB, replace(CAROL, score=5)], kept)
        assert (outcome.sent, outcome.unchanged) == (1, 1)
    assert [each["label"] for each in services.columns.values()] == ["ps1"]
    assert services.count("POST /course/7/columns/1/scores") == 3
    # A column that a teacher has deleted is made again, and has all grades again.
    services.columns.clear()
    with asking(layout, connection(services)) as platform:
        column = platform.column("ps131/ps1", "ps1", 5, kept.column)
    assert column in services.columns


def test_a_column_on_a_later_page_and_beside_others_is_found(
    layout: Layout, services: Services
) -> None:
    with asking(layout, connection(services)) as platform:
        for number in range(4):
            platform.column(f"ps131/other{number}", f"other{number}", 5)
        wanted = platform.column("ps131/ps1", "ps1", 5)
        assert platform.column("ps131/ps1", "ps1", 5) == wanted
    assert len(services.columns) == 5


def test_a_column_is_not_made_twice_if_the_answer_is_lost(
    layout: Layout, services: Services
) -> None:
    services.troubles["columns"] = [Trouble(200, body=b"[]"), Trouble(500, is_done=True)]
    with asking(layout, connection(services)) as platform:
        with pytest.raises(LittlestHubError, match="answers 500"):
            platform.column("ps131/ps1", "ps1", 5)
        platform.column("ps131/ps1", "ps1", 5)
    assert len(services.columns) == 1


def test_a_column_on_another_host_gets_no_token(layout: Layout, services: Services) -> None:
    stolen = b'[{"id": "https://example.org/1", "resourceId": "ps131/ps1"}]'
    services.troubles["columns"] = [Trouble(200, body=stolen)]
    with (
        pytest.raises(LittlestHubError, match=r"the column is https://example\.org/1, and not at"),
        asking(layout, connection(services)) as platform,
    ):
        platform.column("ps131/ps1", "ps1", 5)


def test_a_student_whose_grade_is_refused_is_named_and_the_others_are_sent(
    layout: Layout, services: Services
) -> None:
    services.members = [member("bob"), member("carol")]
    grades_ = [BOB, Grade("dave", 1, 5), CAROL, Grade("zoe", 1, 5), Grade("erin", 1, 5, True)]
    with asking(layout, connection(services)) as platform:
        outcome, kept = sent(platform, grades_)
    assert outcome.sent == 2
    assert outcome.failed.keys() == {"dave"}
    assert "422" in outcome.failed["dave"]
    assert "no such user" in outcome.failed["dave"]
    assert (outcome.strangers, outcome.unfinished) == (["zoe"], ["erin"])
    assert kept.grades.keys() == {"id-of-bob", "id-of-carol"}


def test_a_platform_that_refuses_everything_is_left_alone(
    layout: Layout, services: Services
) -> None:
    many = {f"s{number}": f"id-of-s{number}" for number in range(30)}
    with asking(layout, connection(services)) as platform:
        column = platform.column("ps131/ps1", "ps1", 5)
        outcome = grades.send(
            platform,
            Sent(column),
            [Grade(name, 1, 5) for name in many],
            many,
            lambda kept: None,
            lambda text: None,
        )
    assert (outcome.sent, len(outcome.failed), outcome.left) == (0, 10, 20)


def test_sending_goes_on_where_it_was_interrupted(layout: Layout, services: Services) -> None:
    found = connection(services)
    everybody = [Grade(name, 1, 5) for name in USERS]
    kept: list[Sent] = []

    def keep(sent: Sent) -> None:
        kept.append(sent)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with asking(layout, found) as platform:
        column = Sent(platform.column("ps131/ps1", "ps1", 5))
        with pytest.raises(KeyboardInterrupt):
            grades.send(platform, column, everybody, USERS, keep, lambda text: None)
    with asking(layout, found) as platform:
        outcome, _ = sent(platform, everybody, kept[-1])
    assert (outcome.sent, outcome.unchanged) == (3, 2)
    assert services.count("POST /course/7/columns/1/scores") == 5


@pytest.mark.parametrize(
    "rows",
    [
        {},
        [1],
        [{"login": "bob"}],
        [{"login": "../x", "score": 1, "max_score": 1, "needs_grading": False}],
        [{"login": "bob", "score": float("nan"), "max_score": 1, "needs_grading": False}],
        [{"login": "bob", "score": -1, "max_score": 1, "needs_grading": False}],
        [{"login": "bob", "score": 0, "max_score": 0, "needs_grading": False}],
    ],
)
def test_what_a_grader_prints_is_not_believed(rows: object) -> None:
    with pytest.raises(LittlestHubError):
        grades.read(rows)


# --- addresses


@pytest.mark.parametrize(
    "text",
    [
        "http://x.org/",
        "https://",
        "https://x.org:0/",
        "https://x.org:70000/",
        "https://user:word@x.org/",
        "https://x.org/#a",
        "https://x.org/a b",
        "https://x.org\\@y.org/",
        "https://x.org?a",
        "https://x.org/\r\nHost: y.org",
        "https://ü.org/",
        "https://x.org/" + "a" * 2000,
        "file:///etc/shadow",
        "",
    ],
)
def test_only_plain_addresses_of_https_are_accepted(text: str) -> None:
    with pytest.raises(LittlestHubError, match="expected an address"):
        Address.parse(text, "it")


def test_an_address_is_followed_and_extended_as_it_is_written() -> None:
    here = Address.parse("https://Moodle.example.org:8443/lti/7/items?type=3", "it")
    assert str(here) == "https://moodle.example.org:8443/lti/7/items?type=3"
    assert str(here.below("scores")).endswith("/lti/7/items/scores?type=3")
    assert str(here.asking(resource_id="a/b c")).endswith("items?type=3&resource_id=a%2Fb%20c")
    assert str(here.follow("?page=2", "it")) == "https://moodle.example.org:8443/lti/7/items?page=2"
    for other in ("https://moodle.example.org/lti", "//evil.org:8443/", "https://a.org:8443/"):
        with pytest.raises(LittlestHubError, match="and not at moodle"):
            here.follow(other, "it")


# --- key and record


def test_the_key_is_root_s_and_the_hub_shows_its_public_half_only(layout: Layout) -> None:
    key = keys.present(layout)
    file = layout.on_disk(place.platform_key(layout))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    (shown,) = json.loads(layout.on_disk(place.public_keys(layout)).read_text())["keys"]
    assert shown.keys() == {"kty", "n", "e", "alg", "use", "kid"}
    assert keys.present(layout).jwk == key.jwk == shown
    assert "PUBLIC KEY" in key.pem
    assert keys.replaced(layout).jwk["kid"] != shown["kid"]


def test_a_backup_has_the_private_key_only_if_secrets_are_asked_for(layout: Layout) -> None:
    keys.present(layout)
    file = layout.on_disk(place.platform_key(layout))
    assert contents.is_secret(layout, file)
    assert not contents.is_secret(layout, layout.on_disk(place.public_keys(layout)))


def test_a_damaged_key_is_an_error_with_the_command_that_makes_another(layout: Layout) -> None:
    keys.present(layout)
    layout.on_disk(place.platform_key(layout)).write_text("nothing")
    with pytest.raises(LittlestHubError, match="no private key") as refused:
        keys.present(layout)
    assert "course lti key --replace" in str(refused.value)


def test_a_statement_is_for_one_platform_and_a_few_minutes(layout: Layout) -> None:
    key = keys.present(layout)
    found = Connection("me", "https://x.org/token", "https://x.org/", audience="https://x.org/iss")
    public = key.private.public_key()
    first, second = (keys.statement(key, found) for _ in range(2))
    claims = jwt.decode(first, public, algorithms=["RS256"], audience="https://x.org/iss")
    assert (claims["iss"], claims["sub"]) == ("me", "me")
    assert claims["exp"] - claims["iat"] == 300
    other = jwt.decode(second, public, algorithms=["RS256"], audience="https://x.org/iss")
    assert claims["jti"] != other["jti"]


def test_on_a_machine_the_program_has_a_unit_that_sees_no_state() -> None:
    layout = Layout(DEFAULT_BASE)
    argv = session.command_of(layout, "ps131")
    assert argv[0] == "systemd-run"
    assert "--property=DynamicUser=yes" in argv
    assert any(f"=InaccessiblePaths=-{layout.state} " in word for word in argv)
    assert argv[-3:] == ["-I", "-m", session.PROGRAM]


def test_grades_of_another_gradebook_are_forgotten(layout: Layout) -> None:
    found = Connection("me", "https://x.org/token", "https://x.org/m", "https://x.org/g")
    records.connect(layout, "ps131", found)
    record = records.of_course(layout, "ps131")
    records.save(layout, "ps131", records.with_sent(record, "ps1", Sent("c", {"u": "1 of 2"})))
    records.connect(layout, "ps131", replace(found, login="user_id"))
    assert records.of_course(layout, "ps131").sent["ps1"].grades == {"u": "1 of 2"}
    records.connect(layout, "ps131", replace(found, grades_url="https://x.org/h"))
    assert records.of_course(layout, "ps131").sent == {}


# --- commands


def test_a_course_is_connected_shown_and_disconnected(
    layout: Layout, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    run = partial(command.run, layout)
    with pytest.raises(LittlestHubError, match="is not connected") as refused:
        run(["lti", "roster", "ps131"])
    assert "course lti connect ps131 --help" in str(refused.value)
    assert run(["lti", "connect", "ps131", *services.options, "--strip-domain"]) == 0
    file = layout.on_disk(place.platform_record(layout, "ps131"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run(["lti", "show", "ps131"]) == 0
    assert f"{services.url}/course/7/members?kind=all" in capsys.readouterr().out
    assert run(["lti", "key"]) == 0
    printed = capsys.readouterr().out
    assert "/hub/courses/keys.json" in printed
    assert "BEGIN PUBLIC KEY" in printed
    assert "PRIVATE" not in printed
    with records.alone(layout, "ps131"), pytest.raises(LittlestHubError, match="another command"):
        run(["lti", "disconnect", "ps131"])
    assert run(["lti", "disconnect", "ps131"]) == 0
    assert not file.exists()
    with pytest.raises(LittlestHubError, match="no course 'chem1'"):
        run(["lti", "connect", "chem1", *services.options])


def test_a_roster_comes_from_the_platform_and_only_a_dry_run_changes_nothing(
    layout: Layout, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    run = partial(command.run, layout)
    run(["lti", "connect", "ps131", *services.options, "--strip-domain"])
    services.members = [member("bob"), member("dave"), member("alice", "Instructor")]
    assert run(["lti", "roster", "ps131", "--dry-run"]) == 0
    expected = "2 students; new: dave; dropped out: carol"
    assert expected in capsys.readouterr().out
    assert courses.of_name(layout, "ps131").students.keys() == {"bob", "carol"}
    assert run(["lti", "roster", "ps131"]) == 0
    assert expected in capsys.readouterr().out
    course = courses.of_name(layout, "ps131")
    assert ({*course.students}, {*course.former}) == ({"bob", "dave"}, {"carol"})
    services.members = []
    with pytest.raises(LittlestHubError, match="names no active student"):
        run(["lti", "roster", "ps131"])
    assert courses.of_name(layout, "ps131") == course


def test_an_address_without_https_connects_nothing(layout: Layout) -> None:
    words = ["--client-id=a", "--token-url=http://x.org/t", "--members-url=https://x.org/m"]
    with pytest.raises(LittlestHubError, match=r"the token URL 'http://x\.org/t'"):
        command.run(layout, ["lti", "connect", "ps131", *words])
    assert records.read(layout, "ps131") is None


def test_the_program_ends_with_its_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", session.PROGRAM],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, b"")
