"""The page of courses, with a real hub and root's helper: who may do what, and what is refused."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.stacks.courses import administration, command, place, records
from littlest_hub.stacks.courses.course import ARCHIVED
from littlest_hub.stacks.courses.page import changes, helper, interruption
from littlest_hub.stacks.courses.page.changes import DONE, FAILED, Change
from littlest_hub.stacks.courses.page.handlers import ROSTER_BYTES
from littlest_hub.stacks.courses.page.request import LIMIT_BYTES, Request, Verb
from tests.certificates import make
from tests.learning_services import Services, Trouble, member, serving
from tests.network import free_port
from tests.unit.hub.hub_program import xsrf
from tests.unit.stacks.courses import page_site
from tests.unit.stacks.courses.page_site import PAGE, Browser, Site, text_of

MORE = b"username,First name,Last name\nbob,Bob,B\ncarol,Carol,C\ndave,Dave,D\n"
LAYOUT = Layout(DEFAULT_BASE)
FORMS_OF_A_COURSE = ["roster", "instructors", "archive", "delete"]


@pytest.fixture(scope="module")
def whole() -> Iterator[Site]:
    with page_site.running() as site:
        yield site


@pytest.fixture
def site(whole: Site) -> Site:
    whole.reset()
    return whole


def test_people_see_only_forms_that_they_may_send(site: Site) -> None:
    forms = {
        name: re.findall(r'name="decision" value="([a-z]+)"', Browser(site, name).get(PAGE).text)
        for name in ("boss", "alice", "bob", "erin")
    }
    assert forms == {
        # chem1, then ps131
        "boss": [*FORMS_OF_A_COURSE, *FORMS_OF_A_COURSE, "create"],
        "alice": ["roster"],
        "bob": [],
        "erin": [],
    }


def test_an_instructor_replaces_the_roster_by_an_uploaded_file(site: Site) -> None:
    page = Browser(site, "alice").submit("roster", MORE, course="ps131")
    assert "ps131 has 3 students. New: dave. Dropped out: nobody." in text_of(page)
    assert site.students("ps131") == {"bob", "carol", "dave"}
    assert "Dave D" in page.text


def test_everybody_sees_the_public_key_for_learning_platforms_and_nothing_else(site: Site) -> None:
    address = f"{site.url}/hub/courses/keys.json"
    file = site.layout.on_disk(place.public_keys(site.layout))
    file.unlink(missing_ok=True)
    assert httpx.get(address, trust_env=False).json() == {"keys": []}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"keys": [1]}')
    answer = httpx.get(address, trust_env=False)
    assert answer.json() == {"keys": [1]}
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "Set-Cookie" not in answer.headers, answer.headers
    assert httpx.get(f"{site.url}/hub/courses/keys_json", trust_env=False).status_code == 404


@pytest.fixture
def platform(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A learning platform, to which ps131 is connected."""
    certificate, key = make(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    address = f"{site.url}/hub/courses/keys.json"
    found = Services(
        f"https://127.0.0.1:{free_port()}", lambda: dict(httpx.get(address, trust_env=False).json())
    )
    command.run(site.layout, ["lti", "connect", "ps131", *found.options, "--strip-domain"])
    with serving(found, certificate, key):
        yield found
    command.run(site.layout, ["lti", "disconnect", "ps131"])


def test_an_instructor_takes_the_roster_from_a_platform_and_is_asked_who_may_go(
    site: Site, platform: Services
) -> None:
    alice = Browser(site, "alice")
    forms = re.findall(r'name="decision" value="([a-z]+)"', alice.get(PAGE).text)
    assert forms == ["roster", "platform", "grades"]
    platform.members = [member("bob"), member("dave"), member("alice", "Instructor")]
    page = alice.submit("platform", course="ps131")
    assert "would lose ps131: carol. New: dave. Nothing is changed so far." in text_of(page)
    assert site.students("ps131") == {"bob", "carol"}
    (form,) = re.findall(r'<form[^>]*id="doubt">.*?</form>', page.text, re.DOTALL)
    fields = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', form))
    assert fields.pop("decision") == "platform"
    page = alice.submit("platform", **fields)
    assert "ps131 has 2 students. New: dave. Dropped out: carol." in text_of(page)
    assert site.students("ps131") == {"bob", "dave"}


def test_what_a_platform_refuses_is_said_and_others_may_not_ask_it(
    site: Site, platform: Services
) -> None:
    alice = Browser(site, "alice")
    platform.troubles["members"] = [Trouble(403, body=b'{"error": "<b>no</b>"}')]
    page = alice.submit("platform", course="ps131")
    assert page.status_code == 409
    assert "answers 403 Forbidden to /course/7/members (<b>no</b>)" in text_of(page)
    assert "<b>no" not in page.text
    page = alice.submit("grades", course="ps131", assignment=" ")
    assert page.status_code == 400
    assert "Type the name of an assignment." in text_of(page)
    asked = len(platform.requests)
    for name in ("bob", "dora"):
        for verb in ("platform", "grades"):
            page = Browser(site, name).submit(verb, course="ps131", assignment="ps1")
            assert (page.status_code, text_of(page)) == (403, "You teach no course of this name.")
    page = Browser(site, "dora").submit("platform", course="chem1")
    assert page.status_code == 409
    assert "chem1 is not connected to a learning platform" in text_of(page)
    assert len(platform.requests) == asked
    assert site.students("ps131") == {"bob", "carol"}


def test_a_roster_is_pasted_or_comes_from_blackboard(site: Site) -> None:
    alice = Browser(site, "alice")
    alice.submit("roster", course="ps131", roster=MORE.decode().replace("\n", "\r\n"))
    assert site.students("ps131") == {"bob", "carol", "dave"}
    site.reset()
    alice.submit("roster", MORE.decode().replace(",", "\t").encode("utf-16"), course="ps131")
    assert site.students("ps131") == {"bob", "carol", "dave"}


def test_nobody_drops_out_before_the_instructor_agrees(site: Site) -> None:
    alice = Browser(site, "alice")
    page = alice.submit("roster", b"Email\nbob@x.org\nerin@x.org\n", course="ps131", **EMAIL)
    assert "would lose ps131: carol. New: erin. Nothing is changed so far." in text_of(page)
    assert site.students("ps131") == {"bob", "carol"}
    (form,) = re.findall(r'<form[^>]*id="doubt">.*?</form>', page.text, re.DOTALL)
    fields = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', form))
    assert fields.pop("decision") == "roster"
    page = alice.submit("roster", **fields)
    assert "ps131 has 2 students. New: erin. Dropped out: carol." in text_of(page)
    assert site.students("ps131") == {"bob", "erin"}


EMAIL = {"login_column": "Email", "strips_domain": "1"}


@pytest.mark.parametrize(
    ("roster", "reason"),
    [
        (b"username\nbob\n=cmd|' /C calc'!A0\n", "line 3, column 'username': \"=cmd|"),
        (b"username\nbob\n../etc\n", "line 3, column 'username': '../etc' is no login"),
        (b"username\nbob\na/b\n", "line 3, column 'username': 'a/b' is no login"),
        (b"username\nbob\nBob\n", "line 3, column 'username': bob is on line 2 already"),
        (b"username\nbo\x00b\n", "line 2, character 3: it contains NUL"),
        (b"username\n" + b"x" * 5000, "line 2, column 1: more than 4096 characters"),
        (b'username\n"bob', "no CSV"),
        (b"First name,Last name\nBob,B\n", "no column with logins, such as 'username'; it has"),
        (b"x" * (ROSTER_BYTES + 1), "512 KB"),
        (b" \n", "Choose a file, or paste the roster."),
    ],
)
def test_a_hostile_or_wrong_roster_is_refused_with_line_and_column(
    site: Site, roster: bytes, reason: str
) -> None:
    for course in ("ps131", ""):
        if not course and not roster.strip():
            continue  # a course may begin without students
        who, verb = ("alice", "roster") if course else ("boss", "create")
        fields = {"course": course or "new", "instructors": "alice"}
        page = Browser(site, who).submit(verb, roster, **fields)
        assert page.status_code == 400
        assert reason in text_of(page)
    assert site.students("ps131") == {"bob", "carol"}
    assert {*records.read(site.layout)} == {"ps131", "chem1"}


def test_ten_megabytes_are_refused_before_anybody_reads_them(site: Site) -> None:
    page = Browser(site, "alice").submit("roster", b"x" * (10 << 20), course="ps131")
    assert page.status_code == 413
    assert site.students("ps131") == {"bob", "carol"}


def test_a_file_and_a_text_are_one_too_many(site: Site) -> None:
    page = Browser(site, "alice").submit("roster", MORE, course="ps131", roster="username\nx\n")
    assert "Choose a file or paste the roster, not both." in text_of(page)
    assert site.students("ps131") == {"bob", "carol"}


@pytest.mark.parametrize("course", ["chem1", "no-such-course", "", "../etc"])
def test_another_s_course_is_refused_like_one_that_is_not_there(site: Site, course: str) -> None:
    before = records.read(site.layout)
    page = Browser(site, "alice").submit("roster", MORE, course=course, may_drop="1")
    assert page.status_code == 403
    assert text_of(page) == "You teach no course of this name."
    assert records.read(site.layout) == before


@pytest.mark.parametrize("verb", ["instructors", "archive", "reopen", "delete"])
@pytest.mark.parametrize("name", ["alice", "bob", "erin"])
def test_only_administrators_change_more_than_rosters(site: Site, name: str, verb: str) -> None:
    before = records.read(site.layout)
    fields = {"course": "ps131", "instructors": name, "confirmation": "ps131"}
    page = Browser(site, name).submit(verb, **fields)
    assert page.status_code == 403
    assert text_of(page) == "Only administrators do this."
    assert records.read(site.layout) == before


def test_an_administrator_changes_the_instructors(site: Site) -> None:
    boss = Browser(site, "boss")
    assert 'value="alice"' in boss.get(PAGE).text
    page = boss.submit("instructors", course="ps131", instructors="Carol; erin carol")
    assert text_of(page) == "Instructors of ps131: carol, erin."
    assert records.of_name(site.layout, "ps131").instructors == ("carol", "erin")
    assert 'id="course-ps131"' in Browser(site, "erin").get(PAGE).text
    assert 'id="course-ps131"' not in Browser(site, "alice").get(PAGE).text
    for wrong, reason in (("a/b", "'a/b' is no login"), (" , ", "expected 1 to 100 logins")):
        page = boss.submit("instructors", course="ps131", instructors=wrong)
        assert page.status_code == 400
        assert reason in text_of(page)
        assert f'value="{wrong.strip()}"' in page.text
    assert records.of_name(site.layout, "ps131").instructors == ("carol", "erin")


def test_an_administrator_archives_a_course_once(site: Site) -> None:
    boss = Browser(site, "boss")
    page = boss.submit("archive", course="ps131")
    assert text_of(page).startswith("ps131 is archived: only administrators see it")
    assert 'id="course-ps131"' not in Browser(site, "alice").get(PAGE).text
    found = re.findall(r'name="decision" value="([a-z]+)"', page.text)
    assert found == [*FORMS_OF_A_COURSE, "reopen", "delete", "create"]
    for verb in ("archive", "instructors", "roster"):
        page = boss.submit(verb, course="ps131", instructors="bob", roster="username\nbob\n")
        assert page.status_code == 409
        assert text_of(page).endswith(" ps131 is archived.")
    page = boss.submit("reopen", course="chem1")
    assert page.status_code == 409
    assert text_of(page).endswith(" chem1 is ready.")
    # There are no units here, so what reopening has begun is undone, and said.
    page = boss.submit("reopen", course="ps131")
    assert text_of(page).startswith("Nothing was changed: systemctl start ")
    assert records.of_name(site.layout, "ps131").stage == ARCHIVED


def test_a_course_is_deleted_by_whoever_types_its_name(site: Site) -> None:
    boss = Browser(site, "boss")
    for typed in ("", "chem1", "PS131", "yes"):
        page = boss.submit("delete", course="ps131", confirmation=typed)
        assert page.status_code == 400
        assert "to delete it, type its name, ps131." in text_of(page)
    assert {*records.read(site.layout)} == {"ps131", "chem1"}
    page = boss.submit("delete", course="ps131", confirmation=" ps131 ")
    assert text_of(page) == "ps131 is deleted."
    assert {*records.read(site.layout)} == {"chem1"}
    page = boss.submit("delete", course="ps131", confirmation="ps131")
    assert page.status_code == 404
    assert text_of(page).endswith(" There is no course 'ps131'.")


def test_a_course_that_cannot_be_deleted_whole_is_not_called_unchanged(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LittlestHubError("the disk is broken")

    monkeypatch.setattr(administration, "delete", fail)
    page = Browser(site, "boss").submit("delete", course="ps131", confirmation="ps131")
    assert "ps131 is not deleted whole; the next change of a course tries it again" in text_of(page)
    assert "the disk is broken" in text_of(page)


@pytest.mark.parametrize("name", ["alice", "bob", "erin"])
def test_only_administrators_make_courses(site: Site, name: str) -> None:
    page = Browser(site, name).submit("create", course="new", instructors=name)
    assert page.status_code == 403
    assert text_of(page) == "Only administrators make courses."


REPO = "https://example.org/new.git"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"course": "ps131"}, "there is a course ps131 already"),
        ({"course": "../etc"}, "'../etc' cannot be the name of a course"),
        ({"course": "new", "instructors": "a/b"}, "'a/b' is no login"),
        ({"course": "new", "instructors": " , "}, "expected 1 to 100 logins"),
        ({"course": "new", "repo": "http://example.org/a"}, "is no address of a repository"),
        ({"course": "new", "repo": "https://a:b@example.org/a"}, "has more than that"),
        ({"course": "new", "repo": "--upload-pack=x"}, "is no address of a repository"),
        ({"course": "new", "repo": REPO, "branch": "--x"}, "'--x' is no branch"),
        ({"course": "new", "branch": "main"}, "A branch needs a repository."),
        ({"course": "new", "repo": REPO}, "nbgrader is not among"),
        ({"course": "new"}, "nbgrader is not among the packages of user servers"),
    ],
)
def test_a_course_that_cannot_be_made_is_refused_at_once(
    site: Site, fields: dict[str, str], reason: str
) -> None:
    page = Browser(site, "boss").submit("create", **{"instructors": "alice", **fields})
    assert page.status_code in {400, 409}
    assert reason in text_of(page)
    assert f'value="{fields["course"]}"' in page.text


def test_a_form_of_another_site_or_without_the_token_changes_nothing(site: Site) -> None:
    alice, boss = Browser(site, "alice"), Browser(site, "boss")
    other = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.org"}
    assert alice.submit("roster", MORE, other, course="ps131").status_code == 403
    before = records.read(site.layout)
    for verb in Verb:
        fields = {"decision": str(verb), "course": "ps131", "confirmation": "ps131"}
        for token in ({}, {"_xsrf": "guessed"}):
            for each in (alice, boss):
                answer = each.post(PAGE, data={**fields, **token}, files={"file": ("a.csv", MORE)})
                assert answer.status_code == 403
    assert boss.submit("delete", None, other, **fields).status_code == 403
    assert records.read(site.layout) == before


def test_a_token_in_a_server_of_an_instructor_is_no_login_to_the_page(site: Site) -> None:
    alice = Browser(site, "alice")
    headers = {"X-XSRFToken": xsrf(alice.get("/hub/home")), "Sec-Fetch-Mode": "cors"}
    token = alice.post("/hub/api/users/alice/tokens", headers=headers).json()["token"]
    alice.cookies.clear()
    headers = {"Authorization": f"token {token}"}
    fields = {"decision": "roster", "course": "ps131"}
    answer = alice.post(PAGE, data=fields, files={"file": ("a.csv", MORE)}, headers=headers)
    assert answer.status_code == 403
    assert "Sign in" in alice.get(PAGE, headers=headers).text
    assert site.students("ps131") == {"bob", "carol"}


def test_tokens_for_the_helper_are_deleted(site: Site) -> None:
    Browser(site, "alice").submit("roster", MORE, course="ps131")
    Browser(site, "alice").submit("roster", b"wrong", course="ps131")
    with sqlite3.connect(site.layout.root / "jupyterhub.sqlite") as database:
        notes = [note for (note,) in database.execute("SELECT note FROM api_tokens")]
    assert "a change of a course" not in notes


def test_an_archived_course_has_no_other_roster(site: Site) -> None:
    with records.changing(site.layout):
        records.at_stage(site.layout, "ps131", ARCHIVED)
    page = Browser(site, "boss").submit("roster", MORE, course="ps131")
    assert "ps131 is archived." in text_of(page)


def test_while_a_change_goes_on_the_page_waits_and_takes_no_other(site: Site) -> None:
    change = Change("alice", "ps131", "Changing the roster of ps131: Reloading the hub ...")
    alice = Browser(site, "alice")
    with changes.claim(site.layout, "alice") or pytest.fail("somebody else has it"):
        page = alice.submit("roster", MORE, course="ps131")
        assert text_of(page) == "Your last change has not ended. Wait for it."
        changes.record(site.layout, change)
        page = alice.get(PAGE)
        assert page_site.is_waiting(page)
        assert "Reloading the hub ... You may leave this page." in text_of(page)
        assert 'name="decision"' not in page.text
        assert text_of(Browser(site, "dora").get(PAGE)) == ""
    changes.record(site.layout, replace(change, stage=DONE, text="Done."))
    assert site.students("ps131") == {"bob", "carol"}


# --- the helper, and what it leaves


@pytest.mark.parametrize("token", ["", "short", "a-token-that-nobody-has", "a\r\nHost: evil"])
def test_the_helper_believes_the_hub_and_not_the_page(site: Site, token: str) -> None:
    request = Request(Verb.ROSTER, token, "ps131", roster=MORE)
    reply, work = helper.answer(site.layout, request.to_bytes())
    assert reply["refusal"]
    assert work is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"[" * 60000,
        b"\xff\n",
        b'{"verb": "delete"}\n',
        Request(Verb.ROSTER, "t", "c").to_bytes().replace(b'"roster"', b'"destroy"'),
        Request(Verb.ROSTER, "t", "c").to_bytes().replace(b"false", b'"no"'),
        Request(Verb.ROSTER, "t" * (1 << 17), "c").to_bytes(),
        Request(Verb.ROSTER, "t", "c", roster=b"x" * LIMIT_BYTES).to_bytes(),
    ],
)
def test_what_is_no_request_is_refused(message: bytes) -> None:
    reply, work = helper.answer(LAYOUT, message)
    assert reply == {"refusal": "no such request", "field": "", "status": 400}
    assert work is None


def test_a_request_is_read_as_it_was_written() -> None:
    roster = "username\nbob\n".encode("utf-16")
    request = Request(Verb.CREATE, "t", "ps131", 'A "title"\n', strips_domain=True, roster=roster)
    assert Request.from_bytes(request.to_bytes()) == request


def test_the_helper_knows_who_has_connected() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert helper.peer_of(ours) == os.getuid()


def test_everybody_sees_only_their_own_change(tmp_path: Path) -> None:
    layout = Layout(DEFAULT_BASE, root=tmp_path)
    assert changes.last_of(layout, "alice") is None
    with changes.claim(layout, "alice") or pytest.fail("nobody has it"):
        assert changes.claim(layout, "alice") is None
        assert changes.claim(layout, "../../alice") is not None
    changes.record(layout, Change("alice", "ps131", "Making ps131", invocation="a1"))
    found = changes.last_of(layout, "alice")
    assert found is not None
    assert found.is_running
    assert changes.last_of(layout, "bob") is None
    assert [each.course for each in changes.of_invocation(layout, "a1")] == ["ps131"]
    assert [*changes.of_invocation(layout, "b2")] == []
    assert [*changes.of_invocation(layout, "")] == []


def test_a_change_without_news_has_ended(tmp_path: Path) -> None:
    layout = Layout(DEFAULT_BASE, root=tmp_path)
    for stage, seen in ((changes.RUNNING, FAILED), (DONE, "")):
        changes.record(layout, Change("alice", "ps131", "Making ps131", stage))
        (file,) = changes.directory(layout).glob("*.json")
        record = json.loads(file.read_text())
        file.write_text(json.dumps({**record, "time_s": record["time_s"] - 3600}))
        found = changes.last_of(layout, "alice")
        assert (found.stage if found else "") == seen


def test_whoever_has_begun_an_interrupted_change_learns_of_it(site: Site) -> None:
    changes.record(site.layout, Change("erin", "ps131", "Changing", invocation="a1"))
    interruption.clean_up(site.layout, "b2")
    assert page_site.is_waiting(Browser(site, "erin").get(PAGE))
    interruption.clean_up(site.layout, "a1")
    page = Browser(site, "erin").get(PAGE)
    assert "The change of ps131 was interrupted." in text_of(page)
