"""The pages of the launch stack: from a link to a server, never against somebody's will."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch import records
from littlest_hub.stacks.launch.pages import launching
from littlest_hub.stacks.launch.pages.entrance import source_of
from littlest_hub.stacks.launch.records import approved
from littlest_hub.stacks.launch.service import builds
from littlest_hub.stacks.launch.service.servers import Servers
from littlest_hub.stacks.launch.settings import SCOPES
from tests.eventually import eventually
from tests.unit.stacks.launch.hub_and_service import (
    COMMIT,
    DONE,
    ENVIRONMENT,
    KEY,
    LATER,
    PATH,
    RESOLVED,
    URL,
    Browser,
    Site,
    hidden,
    target,
)

FORM = {"repo": "gh/org/repo/main", "path": "week 1/a.ipynb", "name": "course"}
HOSTILE = "</pre><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def site(running_hub: Site) -> Site:
    """A hub and the service, with a repository that asks for what can be built."""
    running_hub.reset()
    return running_hub


@pytest.fixture
def alice(site: Site) -> Browser:
    """The browser of somebody who is logged in, and new."""
    return Browser(site).log_in()


def resolves(site: Site, commit: str = COMMIT, **changes: Any) -> None:
    """Let the repository be at a commit, with another environment."""
    environment = {**ENVIRONMENT, **changes}
    site.resolver.lines = [{"resolved": {**RESOLVED, "commit": commit, "environment": environment}}]


def launched(browser: Browser, **form: str) -> httpx.Response:
    """Launch something, and return the page that says so."""
    return browser.press(browser.open(**form), "launch")


def text_of(page: httpx.Response) -> str:
    """Return a page as people read it."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", page.text)).split())


# --- the way to the form


def test_the_hubs_pages_lead_those_who_may_launch_to_the_form(alice: Browser) -> None:
    bar = alice.get("/hub/home").text
    assert '<a class="nav-link" href="/services/launch/">Launch</a>' in bar
    assert ">Other<" not in bar
    boss = Browser(alice.site, "boss").log_in()
    assert ">Other<" in boss.get("/hub/home").text, "an administrator may visit each service"


# --- the form


def test_a_link_to_the_form_without_anything_folds_both_ways_to_launch(alice: Browser) -> None:
    page = alice.open()
    assert '<details class="border rounded p-3 mb-3" id="prepared">' in page.text
    assert '<details class="border rounded p-3 mb-3" id="own">' in page.text
    assert "Statistics, week 1" in page.text
    assert "How to launch" in page.text
    assert "The Foundation" in page.text


def test_all_that_is_wrong_is_said_at_once_and_what_was_typed_stays(alice: Browser) -> None:
    wrong = {"repo": "ssh://x", "ref": "-q", "name": "A B", "hours": "99", "path": "../x"}
    page = alice.open(**wrong)
    assert page.status_code == 400
    for name, value in wrong.items():
        assert f'id="{name}-problem"' in page.text
        assert f'value="{value}"' in page.text
    assert not alice.site.resolver.requests


def test_a_resource_that_nobody_may_choose_is_refused_and_shown(alice: Browser) -> None:
    page = alice.open(**FORM, processors="2")
    assert page.status_code == 400
    assert "cannot be chosen at this hub" in page.text


def test_a_form_offers_the_volumes_of_ones_groups_and_no_others(site: Site) -> None:
    physicist, stranger = Browser(site, "physicist").log_in(), Browser(site).log_in()
    page = physicist.open().text
    assert '<option value="data">read only</option>' in page
    assert "data:rw" not in page
    assert "finance" not in page
    assert "Data of this hub" not in stranger.open().text
    page = physicist.open(**FORM, mount="data").text
    assert "<li>volumes/data: read only</li>" in page
    edited = physicist.open(**FORM, mount="data", edit="1").text
    assert '<option value="data" selected>' in edited


@pytest.mark.parametrize("mount", ["finance", "data:rw", "no-such", "data data", HOSTILE])
def test_a_link_with_a_volume_that_is_not_for_this_person_leads_to_the_form(
    site: Site, mount: str
) -> None:
    page = Browser(site, "physicist").log_in().open(**FORM, mount=mount)
    assert page.status_code == 400
    assert 'id="mount-problem"' in page.text
    assert "/srv/" not in page.text
    assert HOSTILE not in page.text
    assert not site.resolver.requests


def test_a_posted_volume_is_judged_again(site: Site) -> None:
    physicist = Browser(site, "physicist").log_in()
    page = physicist.open(**FORM, mount="data")
    refused = physicist.press(page, "launch", mount="finance")
    assert 'id="mount-problem"' in refused.text
    assert "course" not in physicist.servers()


def test_a_repository_that_the_hub_bans_is_not_asked_for(alice: Browser) -> None:
    page = alice.open(repo="gh/evil/repo/main")
    assert page.status_code == 400
    assert "does not launch this repository" in text_of(page)
    assert not alice.site.resolver.requests


def test_the_form_remembers_what_was_launched_last(alice: Browser) -> None:
    launched(alice, **FORM)
    assert 'value="gh/org/repo/main"' in alice.open().text


def test_edit_leads_to_the_form_with_everything_filled_in(alice: Browser) -> None:
    page = alice.open(**FORM)
    (edit,) = re.findall(r'href="([^"]+edit=1)"', page.text)
    form = alice.get(unescape(edit))
    assert 'value="week 1/a.ipynb"' in form.text
    assert "Suggested: repo" in text_of(form)


# --- the confirmation


def test_the_confirmation_says_what_would_run_and_where_it_comes_from(alice: Browser) -> None:
    resolves(
        alice.site,
        code=[{"file": "requirements.txt", "line": 3, "text": "x is built from a git repository"}],
        left_out=[{"file": "apt.txt", "line": 1, "text": "packages of the system"}],
        hosts=["pypi.example.org"],
        start="start",
    )
    headers = {"Referer": "https://evil.example.org/page"}
    page = alice.get(PATH, params={**FORM, "memory_gb": "2"}, headers=headers)
    said = text_of(page)
    for each in (
        *("evil.example.org", URL, COMMIT, "(main)", "week 1/a.ipynb", "course", "Python 3.13"),
        *("requirements.txt:3 x is built", "apt.txt:1", "pypi.example.org", "2 GB of memory"),
    ):
        assert each in said
    assert alice.site.resolver.requests == [{"repository": URL, "ref": "main"}]


def test_the_page_says_whose_link_it_was_after_a_login_too(site: Site) -> None:
    browser = Browser(site)
    headers = {"Referer": "https://evil.example.org/page"}
    login = browser.get(PATH, params=FORM, headers=headers)
    assert login.url.path == "/hub/login"
    fields = {"username": browser.name, "_xsrf": hidden(login)["_xsrf"]}
    page = browser.post(str(login.url), data=fields)
    assert "A link at evil.example.org has led you here" in text_of(page)
    # A page that the person opens later is not that site's.
    assert "evil.example.org" not in browser.open(**FORM).text


def test_the_source_of_one_link_is_not_said_of_another(site: Site) -> None:
    browser = Browser(site)
    headers = {"Referer": "https://evil.example.org/page"}
    browser.get(PATH, params=FORM, headers=headers)
    browser.log_in()
    assert "evil.example.org" not in browser.open(**{**FORM, "name": "other"}).text


def test_versions_of_its_day_are_offered_for_an_old_commit_without_a_lock(alice: Browser) -> None:
    def offered(date: str, kind: str = "requirements.txt", **form: str) -> list[str]:
        resolved = {**RESOLVED, "date": date, "environment": {**ENVIRONMENT, "kind": kind}}
        alice.site.resolver.lines = [{"resolved": resolved}]
        page = alice.open(**FORM, **form)
        return re.findall(r'href="([^"]+)">use versions as of 2021-05-01', page.text)

    (link,) = offered("2021-05-01T12:00:00+00:00")
    assert "use versions as of" not in alice.get(unescape(link)).text
    assert not offered("2021-05-01T12:00:00+00:00", "uv.lock")
    assert not offered("9999-05-01T12:00:00+00:00")
    assert not offered("")


def test_a_link_alone_starts_nothing(alice: Browser) -> None:
    for extra in ({}, {"decision": "launch"}, {"ask": "never-ref", "commit": COMMIT}):
        assert 'value="launch"' in alice.open(**FORM, **extra).text
    assert alice.get(f"{PATH}launch", params={**FORM, "decision": "launch"}).status_code == 405
    assert not alice.site.builder.requests
    assert alice.site.started_with(alice.name, "course") is None


def test_a_form_of_another_site_launches_nothing(alice: Browser) -> None:
    page = alice.open(**FORM)
    fields = {**hidden(page), "decision": "launch"}
    for forged in (
        {},
        {"_xsrf": "guessed"},
        {"_xsrf": hidden(Browser(alice.site).log_in().open(**FORM))["_xsrf"]},
    ):
        sent = {name: value for name, value in fields.items() if name != "_xsrf"}
        answer = alice.post(f"{PATH}launch", data={**sent, **forged})
        assert answer.status_code == 403
    assert not alice.site.builder.requests


@pytest.mark.parametrize("commit", ["", "main", "0" * 39, "../../x"])
def test_something_that_is_no_commit_is_not_launched(alice: Browser, commit: str) -> None:
    page = alice.press(alice.open(**FORM), "launch", commit=commit)
    assert page.status_code == 400
    assert not alice.site.builder.requests


def test_what_cannot_be_built_has_reasons_and_no_button(alice: Browser) -> None:
    remark = {"file": "Dockerfile", "line": 1, "text": "a Dockerfile is not supported"}
    resolves(alice.site, refused=[remark])
    page = alice.open(**FORM)
    assert "Dockerfile:1 a Dockerfile is not supported" in text_of(page)
    assert "decision" not in page.text


def test_a_commit_that_anybody_could_have_made_and_a_new_address_are_said(alice: Browser) -> None:
    resolved = {**RESOLVED, "is_reachable": False, "repository": "https://github.com/new/repo"}
    alice.site.resolver.lines = [{"resolved": resolved}]
    page = alice.open(**FORM)
    assert 'id="unreachable"' in page.text
    assert "which is now https://github.com/new/repo" in text_of(page)


def test_the_branch_that_a_repository_chooses_is_named(alice: Browser) -> None:
    said = text_of(alice.open(repo=URL, name="course"))
    assert f"{COMMIT} (main)" in said
    assert "each commit of the branch that it chooses (main)" in said


def test_a_doi_is_shown_with_its_record_version_and_files(alice: Browser) -> None:
    published = {
        **{"title": "Waves <b>", "version": "1.2", "doi": "10.5281/zenodo.8", "kind": "Software"},
        **{"page": "https://zenodo.org/records/8", "unpacked": "waves-1.2.zip"},
    }
    state = "ab" * 32
    resolved = {
        **{**RESOLVED, "ref": "", "commit": state, "published": published},
        **{
            "repository": "https://doi.org/10.5281/zenodo.7",
            "files": 1234,
            "size_bytes": 5_600_000,
        },
    }
    alice.site.resolver.lines = [{"resolved": resolved}]
    page = alice.open(repo="zenodo/10.5281/Zenodo.7/", name="waves")
    said = text_of(page)
    assert "Waves <b> (Software), at https://zenodo.org/records/8" in said
    assert "1.2, 10.5281/zenodo.8" in said
    assert "1,234, 5.6 MB, unpacked from waves-1.2.zip" in said
    assert "Published 2026-05-01" in said
    assert "ask again for each version of this DOI" in said
    assert 'href="https://mybinder.org/v2/zenodo/10.5281/zenodo.7/"' in page.text
    (request,) = alice.site.resolver.requests
    assert request == {"repository": "https://doi.org/10.5281/zenodo.7", "ref": ""}
    assert target(alice.press(page, "launch"))
    assert alice.site.resolver.requests[-1]["ref"] == state


def test_a_doi_has_no_branch_and_no_password(alice: Browser) -> None:
    page = alice.open(repo="10.5281/zenodo.7", ref="main", private="yes")
    assert page.status_code == 400
    assert "a DOI has no branches and tags" in text_of(page)
    assert "only what everybody may read has a DOI here" in text_of(page)
    assert not alice.site.resolver.requests


def test_a_repository_that_asks_for_nothing_gets_the_hubs_environment(alice: Browser) -> None:
    resolves(alice.site, kind="", files=[], python="")
    page = alice.open(**FORM)
    assert "that of this hub" in text_of(page)
    assert target(alice.press(page, "launch"))
    assert not alice.site.builder.requests


def test_another_commit_than_the_approved_one_is_not_built(alice: Browser) -> None:
    page = alice.open(**FORM)
    resolves(alice.site, LATER)
    refused = alice.press(page, "launch")
    assert f"expected {COMMIT}" in text_of(refused)
    assert not alice.site.builder.requests


@pytest.mark.parametrize(
    "changes", [{"files": ["../../state/x"]}, {"files": ["/etc/passwd"]}, {"directory": "../state"}]
)
def test_a_hijacked_resolver_cannot_name_files_elsewhere(
    alice: Browser, changes: dict[str, Any]
) -> None:
    if "directory" in changes:
        alice.site.resolver.lines = [{"resolved": {**RESOLVED, **changes}}]
    else:
        resolves(alice.site, **changes)
    assert alice.open(**FORM).status_code == 400


def test_what_the_resolver_refuses_is_on_the_form(alice: Browser) -> None:
    refused = {"refused": "there is no branch main", "hint": "There is: master"}
    alice.site.resolver.lines = [refused]
    page = alice.open(**FORM)
    assert page.status_code == 400
    assert "there is no branch main. There is: master" in text_of(page)
    assert 'value="course"' in page.text


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense\n",
        b"[" * 100_000 + b"\n",
        {"resolved": {"commit": "main"}},
        {"resolved": {**RESOLVED, "environment": {**ENVIRONMENT, "python": ["x"]}}},
        b"x" * (2 << 20),
    ],
)
def test_a_resolver_that_answers_nonsense_is_not_believed(alice: Browser, line: Any) -> None:
    alice.site.resolver.lines = [line]
    page = alice.open(**FORM)
    assert page.status_code == 400
    assert 'role="alert"' in page.text


def test_the_buttons_work_after_a_second_and_only_on_a_page_of_its_own(alice: Browser) -> None:
    assert "Cross-Origin-Opener-Policy" not in alice.open().headers  # which browsers refuse here
    page = alice.get(PATH, params=FORM, headers={"X-Forwarded-Proto": "https"})
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert re.search(r'class="[^"]*\blate">\s*<button', page.text)
    style = alice.get(f"{PATH}launch.css")
    assert style.headers["Content-Type"].startswith("text/css")
    assert "animation: late 1s step-end" in style.text


@pytest.mark.parametrize(
    ("referer", "source"),
    [
        ("https://evil.org/a", "evil.org"),
        ("https://user:secret@evil.org:99/a", "evil.org:99"),
        ("http://HUB.org/hub/home", ""),
        ("", ""),
        ("about:blank", ""),
    ],
)
def test_the_page_says_whose_link_it_was(referer: str, source: str) -> None:
    assert source_of({"Referer": referer}, "hub.org") == source


# --- the launch


def test_a_launch_starts_the_server_with_the_id_of_what_was_approved(alice: Browser) -> None:
    page = launched(alice, **FORM)
    assert "Installing numpy" in text_of(page)
    (order,) = alice.site.builder.orders
    assert order == {"committed": "2026-05-01", "files": {"requirements.txt": "numpy\n"}}
    options = alice.site.started_with(alice.name, "course")
    found = approved(alice.site.records, alice.name, options["launch"])
    assert found.environment == KEY
    assert found.configuration.commit == COMMIT
    goal = f"/user/{alice.name}/course/lab/tree/week%25201/a.ipynb"
    assert target(page) == f"/hub/spawn-pending/{alice.name}/course?next={goal}"
    alice.wait_for("course")
    answer = alice.get(target(page), follow_redirects=False)
    assert answer.headers["Location"] == goal.replace("%25", "%")


def test_a_launch_without_a_name_makes_another_server_each_time(alice: Browser) -> None:
    for _ in range(2):
        launched(alice, repo=URL)
    names = [name for name in alice.servers() if name]
    assert len(names) == 2
    assert all(name.startswith("launch-") for name in names)


def test_the_log_comes_line_by_line_while_it_is_built(
    alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "_QUIET_S", 0.05)
    goes_on = threading.Event()
    alice.site.builder.lines = [{"text": "numpy"}, goes_on, DONE]
    page = alice.open(**FORM)
    fields = {**hidden(page), "decision": "launch"}
    seen = ""
    with alice.stream("POST", f"{PATH}launch", data=fields) as answer:
        for chunk in answer.iter_text():
            seen += chunk
            # It is also quiet for longer than proxies permit.
            is_quiet = "numpy\n" in seen and seen.count("<!-- -->") > 2
            if is_quiet and not goes_on.is_set():
                assert alice.site.started_with(alice.name, "course") is None
                goes_on.set()
    assert goes_on.is_set()
    assert "is starting" in seen


def test_names_of_people_may_have_any_characters(site: Site) -> None:
    person = Browser(site, "zoë o'x & <b>@example.org").log_in()
    page = launched(person, **FORM)
    person.wait_for("course")
    answer = person.get(target(page), follow_redirects=False)
    path = "/user/zo%C3%AB%20o%27x%20%26%20%3Cb%3E@example.org/course/lab/tree/week%201/a.ipynb"
    assert answer.headers["Location"] == path


def test_a_page_that_is_opened_twice_starts_the_server_once(alice: Browser) -> None:
    page = launched(alice, **FORM)
    alice.stop("course")
    again = alice.get(page.url.path)
    assert target(again) == target(page)
    assert alice.servers()["course"]["stopped"]


def test_a_server_that_starts_slowly_is_shown_by_jupyterhubs_page(alice: Browser) -> None:
    slow = alice.site.directory / f"{alice.name} is slow"
    slow.touch()
    page = launched(alice, **FORM)
    assert alice.servers()["course"]["pending"] == "spawn"
    assert "Your server is starting" in text_of(alice.get(target(page)))
    # The same again does not disturb it.
    assert "Your server is starting" in text_of(alice.open(**FORM))
    slow.unlink()
    alice.wait_for("course")


def test_a_server_that_still_starts_is_updated_once_it_can_be_stopped(alice: Browser) -> None:
    slow = alice.site.directory / f"{alice.name} is slow"
    slow.touch()
    launched(alice, **FORM)
    resolves(alice.site, LATER)
    page = alice.open(**FORM)
    fields = {**hidden(page), "decision": "update"}
    with alice.stream("POST", f"{PATH}launch", data=fields) as answer:
        for chunk in answer.iter_text():
            if "Stopping course" in chunk:
                slow.unlink()
    alice.wait_for("course")
    options = alice.site.started_with(alice.name, "course")
    found = approved(alice.site.records, alice.name, options["launch"])
    assert found.configuration.commit == LATER


def test_a_closed_page_goes_on_where_it_was(alice: Browser) -> None:
    waits = threading.Event()
    alice.site.builder.lines = [{"text": "numpy"}, waits]
    page = alice.open(**FORM)
    fields = {**hidden(page), "decision": "launch"}
    with alice.stream("POST", f"{PATH}launch", data=fields) as answer:
        assert "Launching" in next(answer.iter_text())
        path = answer.url.path
    waits.set()
    assert alice.site.started_with(alice.name, "course") is None
    alice.site.reset()
    assert "is starting" in text_of(alice.get(path))
    assert alice.site.started_with(alice.name, "course")


def test_one_person_cannot_take_all_places_of_builds(alice: Browser) -> None:
    goes_on = threading.Event()
    alice.site.builder.lines = [{"text": "numpy"}, goes_on, DONE]
    pages: list[httpx.Response] = []

    def launch(name: str) -> None:
        pages.append(launched(alice, repo=URL, name=name))

    alice.open()  # one login is enough
    first = [threading.Thread(target=launch, args=(name,)) for name in ("one", "two")]
    for each in first:
        each.start()
    eventually(lambda: len(alice.site.builder.requests) == 2, 60, "two builds")
    third = launched(alice, repo=URL, name="three")
    assert "2 of your launches are being built already" in text_of(third)
    goes_on.set()
    for each in first:
        each.join(60)
    assert all(target(page) for page in pages)
    assert target(alice.get(third.url.path))


def test_a_page_that_is_loaded_again_while_it_is_built_takes_no_place_of_a_build(
    alice: Browser,
) -> None:
    goes_on = threading.Event()
    alice.site.builder.lines = [{"text": "numpy"}, goes_on, DONE]
    alice.open()
    with contextlib.ExitStack() as windows:
        for name in ("one", "two"):
            fields = {**hidden(alice.open(repo=URL, name=name)), "decision": "launch"}
            first = alice.stream("POST", f"{PATH}launch", data=fields)
            path = windows.enter_context(first).url.path
        eventually(lambda: len(alice.site.builder.requests) == 2, 60, "two builds")
        again = windows.enter_context(alice.stream("GET", path))
        eventually(lambda: len(alice.site.builder.requests) == 3, 60, "the page again")
        goes_on.set()
        again.read()
        assert target(again)


def test_a_failed_build_says_why_and_starts_nothing(alice: Browser) -> None:
    failed = {"outcome": "failed", "text": "numpy<1 and pandas>2 conflict", "hint": "Drop one"}
    alice.site.builder.lines = [failed]
    page = launched(alice, **FORM)
    assert "numpy<1 and pandas>2 conflict. Drop one." in text_of(page)
    assert ">Try again<" not in page.text, "it would be the same again"
    assert not target(page)
    assert alice.site.started_with(alice.name, "course") is None
    alice.site.reset()
    assert "is starting" in text_of(alice.get(page.url.path))


def test_versions_of_the_commits_date_are_offered_and_approved_like_everything(
    alice: Browser,
) -> None:
    failed = {"outcome": "failed", "text": "no solution", "offer": "2026-05-01"}
    alice.site.builder.lines = [failed]
    page = launched(alice, **FORM)
    (link,) = re.findall(r'href="([^"]+)">Use packages as of 2026-05-01', page.text)
    alice.site.reset()
    asked = alice.get(unescape(link))
    assert "the usual indexes as of 2026-05-01" in text_of(asked)
    assert target(alice.press(asked, "launch"))
    (order,) = alice.site.builder.orders
    assert order["as_of"] == "2026-05-01"


def test_building_from_source_is_offered_and_approved_like_everything(alice: Browser) -> None:
    failed = {"outcome": "failed", "text": "no solution", "sources": "alpha beta"}
    alice.site.builder.lines = [failed]
    page = launched(alice, **FORM)
    (link,) = re.findall(r'href="([^"]+)">Build them from source', page.text)
    alice.site.reset()
    asked = alice.get(unescape(link))
    assert "alpha, beta: built from source, as you have asked" in text_of(asked)
    assert "reaches the hosts from which packages come" in text_of(asked)
    assert target(alice.press(asked, "launch"))
    (order,) = alice.site.builder.orders
    assert order["built"] == ["alpha", "beta"]
    assert order["is_online"]


@pytest.mark.parametrize(
    ("lines", "ended"),
    [
        ([], {"ended": {}}),
        ([b"x\n"], {"ended": {}}),
        ([{"text": "numpy"}], {"ended": {}}),
        ([{"outcome": "done", "key": "../../etc"}], {"ended": {}}),
        ([DONE], {"refused": "no such unit"}),
        ([DONE], "nonsense"),
    ],
)
def test_a_builder_that_ends_early_starts_nothing(
    alice: Browser, lines: list[Any], ended: Any
) -> None:
    alice.site.builder.lines, alice.site.builder.ended = lines, ended
    page = launched(alice, **FORM)
    assert 'id="problem"' in page.text
    assert '<a class="btn btn-primary" href="">Try again</a>' in page.text
    assert alice.site.started_with(alice.name, "course") is None


def test_nobody_sees_or_uses_the_launch_of_another(alice: Browser) -> None:
    path = launched(alice, **FORM).url.path
    other = Browser(alice.site).log_in()
    assert other.get(path).status_code == 404
    id = alice.site.started_with(alice.name, "course")["launch"]
    with pytest.raises(LittlestHubError, match="has approved no configuration"):
        approved(alice.site.records, other.name, id)


# --- do not ask again


def test_exactly_this_is_launched_without_a_question_if_somebody_said_so(alice: Browser) -> None:
    page = alice.press(alice.open(**FORM), "launch", ask="never-commit")
    assert target(page)
    alice.stop("course")
    assert target(alice.open(**FORM))
    assert not alice.servers()["course"]["stopped"]
    alice.stop("course")
    for changed in (
        {"name": "other"},
        {"memory_gb": "1"},
        {"as_of": "2026-01-01"},
        {"repo": "gh/org/repo/dev"},
    ):
        assert not target(alice.open(**{**FORM, **changed}))
    resolves(alice.site, LATER)
    assert not target(alice.open(**FORM))
    assert alice.servers()["course"]["stopped"]


def test_each_commit_of_a_branch_only_if_somebody_said_so(alice: Browser) -> None:
    page = alice.open(**FORM)
    assert "postBuild" in text_of(page)
    alice.press(page, "launch", ask="never-ref")
    resolves(alice.site, LATER)
    # A server that runs is never replaced without a question.
    assert 'value="update"' in alice.open(**FORM).text
    alice.press(alice.open(**FORM), "update")
    alice.stop("course")
    assert target(alice.open(**FORM))


def test_a_frame_or_a_picture_starts_nothing_even_then(alice: Browser) -> None:
    alice.press(alice.open(**FORM), "launch", ask="never-commit")
    alice.stop("course")
    for kind in ("iframe", "image", "empty"):
        page = alice.get(PATH, params=FORM, headers={"Sec-Fetch-Dest": kind})
        assert not target(page)
    assert alice.servers()["course"]["stopped"]


def test_a_link_that_names_no_server_always_asks(alice: Browser) -> None:
    form = {"repo": URL}
    page = alice.open(**form)
    assert "never-commit" not in page.text
    alice.press(page, "launch", ask="never-commit")
    assert 'value="launch"' in alice.open(**form).text


def test_asking_again_is_one_button(alice: Browser) -> None:
    alice.press(alice.open(**FORM), "launch", ask="never-commit")
    alice.stop("course")
    page = alice.open()
    assert "1 launch starts without a question" in text_of(page)
    alice.post(f"{PATH}ask-again", data=hidden(page))
    assert not target(alice.open(**FORM))


# --- the same name again


def test_the_same_again_opens_the_server_that_runs(alice: Browser) -> None:
    launched(alice, **FORM)
    answer = alice.get(PATH, params=FORM, follow_redirects=False)
    assert answer.headers["Location"].startswith(f"/hub/spawn-pending/{alice.name}/course?next=")
    other = alice.get(PATH, params={**FORM, "path": "b.ipynb"}, follow_redirects=False)
    assert other.headers["Location"].endswith("/lab/tree/b.ipynb")


def test_the_same_again_starts_the_server_that_is_stopped(alice: Browser) -> None:
    launched(alice, **FORM)
    alice.stop("course")
    page = alice.open(**FORM)
    assert "Start it again" in page.text
    assert target(alice.press(page, "launch"))
    assert not alice.servers()["course"]["stopped"]


def test_what_has_changed_is_said_and_nothing_happens_until_somebody_decides(
    alice: Browser,
) -> None:
    launched(alice, **FORM)
    before = alice.site.started_with(alice.name, "course")
    resolves(alice.site, LATER)
    page = alice.open(**FORM, memory_gb="2")
    said = text_of(page)
    assert f"commit: {COMMIT[:12]} becomes {LATER[:12]}" in said
    assert "memory (MB): as usual becomes 2048" in said
    (keep,) = re.findall(r'href="(/hub/spawn-pending/[^"]+)">Keep it as it is', page.text)
    assert alice.site.started_with(alice.name, "course") == before
    assert keep.endswith("/course/lab")

    updated = alice.press(page, "update")
    assert "Stopping course" in text_of(updated)
    assert target(updated)
    after = alice.site.started_with(alice.name, "course")
    found = approved(alice.site.records, alice.name, after["launch"]).configuration
    assert (found.commit, found.memory_mb) == (LATER, 2048)


def test_the_server_goes_on_until_the_new_environment_is_there(alice: Browser) -> None:
    launched(alice, **FORM)
    resolves(alice.site, LATER)
    alice.site.builder.lines = [{"outcome": "failed", "text": "no"}]
    alice.wait_for("course")
    alice.press(alice.open(**FORM), "update")
    assert alice.servers()["course"]["ready"]


def test_another_server_leaves_the_first_as_it_is(alice: Browser) -> None:
    launched(alice, **FORM)
    before = alice.site.started_with(alice.name, "course")
    resolves(alice.site, LATER)
    alice.press(alice.open(**FORM), "another")
    assert alice.site.started_with(alice.name, "course") == before
    assert alice.site.started_with(alice.name, "course-2")


def test_a_server_that_was_made_elsewhere_is_never_replaced(alice: Browser) -> None:
    page = alice.get("/hub/home")
    headers = {"X-XSRFToken": hidden(page)["_xsrf"], "Sec-Fetch-Mode": "cors"}
    path = f"/hub/api/users/{alice.name}/servers/course"
    assert alice.post(path, headers=headers, json={}).is_success
    alice.wait_for("course")
    asked = alice.open(**FORM)
    assert 'id="foreign"' in asked.text
    assert 'value="update"' not in asked.text
    for decision in ("launch", "update"):
        fields = {**hidden(asked), "decision": decision}
        assert 'id="foreign"' in alice.post(f"{PATH}launch", data=fields).text
    assert alice.site.started_with(alice.name, "course") == {}


def test_the_faster_of_two_windows_wins_and_the_other_asks_again(alice: Browser) -> None:
    first, second = alice.open(**FORM), alice.open(**FORM, memory_gb="1")
    alice.press(first, "launch")
    assert 'id="changed"' in alice.press(second, "launch").text


# --- a repository that is gone


GONE = {"refused": f"there is no repository at {URL}, or it is private", "hint": ""}


def test_a_server_whose_repository_is_gone_starts_as_it_was(alice: Browser) -> None:
    launched(alice, **FORM)
    alice.stop("course")
    (before,) = alice.site.builder.orders
    alice.site.reset()
    alice.site.resolver.lines = [GONE]
    # Another file may be asked for; what opens is what was launched.
    page = alice.open(**{**FORM, "path": "other.ipynb"})
    assert page.status_code == 400
    assert "You have launched course before" in text_of(page)
    assert target(alice.press(page, "launch"))
    assert alice.site.builder.orders == [before]
    assert not alice.servers()["course"]["stopped"]
    assert 'id="again"' not in alice.open(**FORM).text, "it runs"


def test_only_the_same_launch_starts_without_its_repository(alice: Browser) -> None:
    launched(alice, **FORM)
    alice.stop("course")
    alice.site.resolver.lines = [GONE]
    for changed in ({"memory_gb": "1"}, {"name": "other"}, {"repo": "gh/org/repo/dev"}):
        assert 'id="again"' not in alice.open(**{**FORM, **changed}).text
    bob = Browser(alice.site).log_in()
    assert 'id="again"' not in bob.open(**FORM).text
    # Nor by the request of the button, for somebody who has not launched it.
    alice.site.reset()
    page = bob.open(**FORM)
    alice.site.resolver.lines = [GONE]
    failed = bob.press(page, "launch")
    assert "there is no repository" in text_of(failed)
    assert not target(failed)
    assert not alice.site.builder.requests


def test_orders_of_servers_stay_and_old_ones_of_no_server_go(
    alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "MOST_ORDERS", 1)
    monkeypatch.setattr(records, "NEW_S", -1)
    orders = alice.site.records / "orders"
    for name, as_of in (("first", "2026-01-01"), ("second", "2026-01-02"), ("third", "2026-01-03")):
        launched(alice, repo=URL, name=name, as_of=as_of)
    dates = [json.loads(each.read_text()).get("as_of") for each in orders.glob("*.json")]
    assert {"2026-01-01", "2026-01-02", "2026-01-03"} <= {*dates}
    alice.stop("first")
    page = alice.get(f"{PATH}servers/delete", params={"server": "first"})
    alice.post(f"{PATH}servers/delete", data=hidden(page))
    launched(alice, repo=URL, name="fourth", as_of="2026-01-04")
    dates = [json.loads(each.read_text()).get("as_of") for each in orders.glob("*.json")]
    assert "2026-01-01" not in dates
    assert {"2026-01-02", "2026-01-03", "2026-01-04"} <= {*dates}


# --- links


def test_everybody_gets_the_badge(site: Site) -> None:
    answer = Browser(site).get(f"{PATH}badge.svg")
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert "max-age" in answer.headers["Cache-Control"]
    assert "launch on Physics &amp; &lt;Hub&gt;" in answer.text


def test_the_page_of_links_has_a_badge_for_each_format(alice: Browser) -> None:
    page = alice.get(f"{PATH}links", params=FORM)
    snippets = [unescape(each) for each in re.findall(r"<textarea[^>]*>\n([^<]*)<", page.text)]
    link = "repo=gh%2Forg%2Frepo%2Fmain&path=week%201%2Fa.ipynb&name=course"
    assert len(snippets) == 3
    assert all(link in unescape(each) for each in snippets)
    assert all("/services/launch/badge.svg" in each for each in snippets)
    assert "https://other.example.org/jupyter/services/launch/?repo=" in page.text
    assert "https://mybinder.org/v2/gh/org/repo/main" in page.text


def test_links_of_binder_work_when_only_the_host_is_changed(alice: Browser) -> None:
    for link, spec in (
        ("gh/org/repo/main?labpath=week%201/a.ipynb", URL),
        (
            "git/https%3A%2F%2Fgitlab.example.org%2Fa%2Fb/main?urlpath=lab/tree/week%201/a.ipynb",
            "https://gitlab.example.org/a/b",
        ),
        (
            "gl/group%2Fsub%2Frepo/main?filepath=week%201/a.ipynb",
            "https://gitlab.com/group/sub/repo",
        ),
    ):
        said = text_of(alice.get(f"/hub/v2/{link}"))
        assert spec in said
        assert "week 1/a.ipynb" in said
        redirected = alice.get(f"/v2/{link}", follow_redirects=False)
        assert redirected.headers["Location"].startswith(f"/hub/v2/{link.partition('?')[0]}")


# --- what the service may do


def test_the_service_may_read_start_and_stop_the_persons_own_servers_and_nothing_else(
    alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    upstream = Servers.person

    async def person(self: Servers) -> Any:
        seen.append(self._token)
        return await upstream(self)

    monkeypatch.setattr(Servers, "person", person)
    alice.open()
    (token,) = seen
    hub = httpx.Client(
        base_url=f"http://127.0.0.1:{alice.site.hub_port}/hub/api",
        headers={"Authorization": f"token {token}"},
        trust_env=False,
    )
    scopes = set(hub.get("/user").json()["scopes"])
    own = {each.replace("!user", f"!user={alice.name}") for each in SCOPES}
    parts = {f"read:users:{part}!user={alice.name}" for part in ("name", "groups", "activity")}
    assert scopes == own | parts | {"access:services!service=launch"}
    other = Browser(alice.site).log_in()
    assert hub.get(f"/users/{other.name}").status_code == 404
    assert hub.post(f"/users/{other.name}/servers/course").status_code == 404
    assert hub.post(f"/users/{alice.name}/tokens").status_code == 403


def test_a_token_of_an_administrator_does_no_more(site: Site) -> None:
    boss = Browser(site, "boss").log_in()
    assert target(launched(boss, **FORM))
    assert site.started_with("boss", "course")


# --- texts of strangers, and everybody's eyes


class Outline(HTMLParser):
    """The parts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def pages(browser: Browser) -> dict[str, httpx.Response]:
    """Return one page of each kind, full of hostile texts."""
    remark = {"file": HOSTILE, "line": 1, "text": HOSTILE}
    lists: dict[str, Any] = {
        "code": [remark],
        "left_out": [remark],
        "hosts": [HOSTILE],
        "files": [HOSTILE],
    }
    headers = {"Referer": f"https://{HOSTILE}.example.org/"}
    form = browser.open()
    wrong = browser.open(repo=HOSTILE, path=HOSTILE, name=HOSTILE)
    browser.site.resolver.lines = [{"refused": HOSTILE, "hint": HOSTILE}]
    refused = browser.open(**FORM)
    resolves(browser.site, **lists)
    names = ("title", "version", "doi", "kind", "page", "unpacked")
    browser.site.resolver.lines[0]["resolved"]["published"] = dict.fromkeys(names, HOSTILE)
    record = browser.open(**FORM)
    resolves(browser.site, **lists)
    confirmation = browser.get(PATH, params=FORM, headers=headers)
    browser.site.builder.lines = [
        {"text": HOSTILE},
        {"outcome": "failed", "text": HOSTILE, "hint": HOSTILE, "offer": HOSTILE},
    ]
    failed = browser.press(confirmation, "launch")
    browser.site.builder.lines = [{"text": HOSTILE}, DONE]
    started = browser.press(browser.open(**FORM), "launch")
    resolves(browser.site, LATER, **lists)
    changed = browser.open(**FORM)
    links = browser.get(f"{PATH}links", params={**FORM, "path": HOSTILE.replace("\\", "")})
    return {
        **{"form": form, "wrong": wrong, "refused": refused, "confirmation": confirmation},
        **{
            "record": record,
            "failed": failed,
            "started": started,
            "changed": changed,
            "links": links,
        },
        "missing": browser.get(f"{PATH}launching/{'0' * 32}"),
    }


def test_texts_of_strangers_are_texts_and_every_page_is_without_scripts(alice: Browser) -> None:
    for name, page in pages(alice).items():
        assert "default-src 'none'" in page.headers["Content-Security-Policy"], name
        for tag, attributes in Outline(page.text).tags:
            assert tag != "script", name
            assert tag != "img" or (attributes["src"] or "").startswith("/services/"), name
            assert not [each for each in attributes if each.startswith("on") or each == "style"]


def test_every_field_has_a_label_and_every_page_one_heading(alice: Browser) -> None:
    for name, page in pages(alice).items():
        tags = Outline(page.text).tags
        ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        labels = {attributes["for"] for tag, attributes in tags if tag == "label"}
        for tag, attributes in tags:
            if tag in ("input", "textarea") and attributes.get("type") != "hidden":
                assert attributes["id"] in labels, name
            described = (attributes.get("aria-describedby") or "").split()
            assert set(described) <= set(ids), name
        assert [tag for tag, _ in tags].count("h1") == 1, name
        assert ("html", {"lang": "en"}) in tags, name


def test_records_hold_no_token(alice: Browser) -> None:
    launched(alice, **FORM)
    files = [each for each in alice.site.records.rglob("*") if each.is_file()]
    assert files
    for file in files:
        assert "token" not in file.read_text()
        json.loads(Path(file).read_text())
