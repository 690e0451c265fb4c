"""Private repositories: a name and a token for one launch, and files that nobody else finds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from jupyterhub.utils import isoformat

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import Choices, Configuration, of_form, of_json
from littlest_hub.stacks.launch.fragment import Values
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.order import Order
from littlest_hub.stacks.launch.order import of_json as order_of_json
from littlest_hub.stacks.launch.records import digest_of
from littlest_hub.stacks.launch.repository import Policy
from littlest_hub.stacks.launch.resolver.connection import Credentials
from littlest_hub.stacks.launch.resolver.sources import Sources
from littlest_hub.stacks.launch.resolver.units import sources_of
from littlest_hub.stacks.launch.server.spawner import RefusedError
from littlest_hub.stacks.launch.service.access import MOST, Access
from littlest_hub.stacks.launch.settings import Settings
from tests.launch_site import Site as BuildSite
from tests.projects import project
from tests.unit.stacks.launch.hub_and_service import (
    COMMIT,
    PATH,
    URL,
    Browser,
    Site,
    hidden,
    target,
)
from tests.unit.stacks.launch.test_launch_spawner import CONFIGURATION, ME, SETTINGS, House

FORM = {"repo": URL, "ref": "main", "name": "course", "private": "yes"}
USER, TOKEN = "alice-at-work", "glpat-0123456789"
ALICE, BOB = "a1" * 32, "b0" * 32
"""Digests of two people."""


@pytest.fixture
def hub(running_hub: Site) -> Site:
    """A hub and the service, with a repository that asks for what can be built."""
    running_hub.reset()
    return running_hub


@pytest.fixture
def alice(hub: Site) -> Browser:
    return Browser(hub).log_in()


def opened(browser: Browser, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
    """Open a private repository with a name and a token, and return the page."""
    typed = {"user": USER, "password": TOKEN}
    fields = {**hidden(browser.open(**FORM)), **typed, **form}
    return browser.post(PATH, data=fields, headers=headers)


def is_confirmation(page: httpx.Response) -> bool:
    return 'id="decide"' in page.text


# --- pages


def test_a_private_repository_is_asked_for_with_a_name_and_a_token_before_anything_else(
    alice: Browser,
) -> None:
    page = alice.open(**FORM)
    assert "Your access to github.com" in page.text
    assert not is_confirmation(page)
    assert not alice.site.resolver.requests
    page = opened(alice)
    assert "Your name and token open it at github.com" in page.text
    assert 'id="never-commit"' not in page.text
    assert "mybinder.org" not in page.text
    (request,) = alice.site.resolver.requests
    assert (request["user"], request["password"]) == (USER, TOKEN)
    assert len(request["owner"]) == 64


def test_a_launch_uses_them_once_more_and_keeps_them_nowhere(alice: Browser) -> None:
    page = opened(alice)
    for secret in (USER, TOKEN):
        assert secret not in page.text
    done = alice.press(page, "launch")
    assert target(done)
    first, second = alice.site.resolver.requests
    assert second == {**first, "ref": COMMIT}
    (order,) = alice.site.builder.orders
    assert order["owner"] == first["owner"]
    for file in alice.site.directory.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert TOKEN.encode() not in data, file
            assert USER.encode() not in data, file


def test_names_and_tokens_that_open_nothing_are_said_to_do_so_and_kept_for_nothing(
    alice: Browser,
) -> None:
    refusal = f"there is no repository at {URL}, or this name and token do not open it (status 401)"
    alice.site.resolver.lines = [{"refused": refusal, "hint": ""}]
    page = opened(alice)
    assert page.status_code == 400
    assert f"{refusal}." in page.text
    assert TOKEN not in page.text
    assert USER not in page.text
    assert 'id="access"' in page.text, "nobody can try again"


@pytest.mark.parametrize("typed", [{"user": "", "password": ""}, {"user": " ", "password": " "}])
def test_nothing_typed_opens_nothing(alice: Browser, typed: dict[str, str]) -> None:
    page = opened(alice, None, **typed)
    assert page.status_code == 400
    assert "expected a name and a token" in page.text
    assert not alice.site.resolver.requests


def test_a_page_that_is_not_encrypted_takes_no_token(alice: Browser) -> None:
    page = alice.get(PATH, params=FORM, headers={"Host": "hub.example.org"})
    assert 'id="open"' in page.text
    assert 'name="password"' not in page.text
    page = opened(alice, {"Host": "hub.example.org"})
    assert page.status_code == 400
    assert "could be read on its way" in page.text
    assert not alice.site.resolver.requests
    for host in ("localhost.example.org", "127.0.0.1.example.org", "localhost@example.org"):
        assert opened(alice, {"Host": host}).status_code == 400
    rewritten = {"Host": "localhost", "Origin": "http://hub.example.org"}
    assert opened(alice, rewritten).status_code == 400
    assert not alice.site.resolver.requests
    encrypted = {"Host": "hub.example.org", "X-Forwarded-Proto": "https"}
    assert is_confirmation(opened(alice, encrypted))


@pytest.mark.parametrize("name", ["user", "password", "token", "access_token"])
@pytest.mark.parametrize("path", ["", "links", "launch"])
def test_a_link_with_a_secret_is_refused_before_a_login_too(
    hub: Site, name: str, path: str
) -> None:
    page = Browser(hub).get(f"{PATH}{path}", params={**FORM, name: TOKEN})
    assert page.status_code == 400
    assert f"this link contains a {name}" in page.text
    assert TOKEN not in page.text
    assert not hub.resolver.requests


def test_a_request_of_another_site_opens_nothing(alice: Browser) -> None:
    fields = {**FORM, "user": USER, "password": TOKEN, "_xsrf": "guessed"}
    answer = alice.post(PATH, data=fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert not alice.site.resolver.requests


def test_what_one_person_has_typed_launches_nothing_for_another(alice: Browser) -> None:
    fields = hidden(opened(alice))
    bob = Browser(alice.site).log_in()
    theirs = {**fields, "_xsrf": hidden(bob.open(**FORM))["_xsrf"], "decision": "launch"}
    alice.site.resolver.requests.clear()
    for access in (fields["access"], "", "0" * 32):
        page = bob.post(f"{PATH}launch", data={**theirs, "access": access})
        assert "Your access to github.com" in page.text
    assert not alice.site.resolver.requests
    assert "course" not in bob.servers()
    # Nor does it open another repository for the same person.
    other = {**fields, "decision": "launch", "repo": "https://github.com/org/other"}
    assert "Your access to github.com" in alice.post(f"{PATH}launch", data=other).text
    assert not alice.site.resolver.requests


def test_without_the_word_private_nothing_of_it_is_used(alice: Browser) -> None:
    fields = {**hidden(opened(alice)), "decision": "launch"}
    alice.site.resolver.requests.clear()
    fields.pop("private")
    assert target(alice.post(f"{PATH}launch", data=fields))
    assert [*alice.site.resolver.requests[0]] == ["repository", "ref"]
    assert "owner" not in alice.site.builder.orders[0]


def test_a_launch_that_failed_goes_on_with_the_same_token_until_its_server_starts(
    alice: Browser,
) -> None:
    page = opened(alice)
    alice.site.resolver.lines = [{"refused": "try later", "hint": ""}]
    failed = alice.press(page, "launch")
    assert "try later" in failed.text
    path = failed.url.path
    alice.site.reset()
    assert target(alice.get(path))
    fields = {**hidden(page), "decision": "launch"}
    assert "Your access to github.com" in alice.post(f"{PATH}launch", data=fields).text


def test_a_launch_whose_token_is_forgotten_says_so(alice: Browser) -> None:
    page = opened(alice)
    alice.site.resolver.lines = [{"refused": "try later", "hint": ""}]
    path = alice.press(page, "launch").url.path
    alice.site.reset()
    for _ in range(MOST):
        opened(alice)
    alice.site.resolver.requests.clear()
    assert f"the name and token for {URL} are not known any more" in alice.get(path).text
    assert not alice.site.resolver.requests
    assert "course" not in alice.servers()


def test_an_update_asks_again_and_a_server_that_is_there_opens_as_it_is(alice: Browser) -> None:
    alice.press(opened(alice), "launch")
    alice.wait_for("course")
    page = alice.open(**FORM)
    assert "Your access to github.com" in page.text
    assert "Open course as it is" in page.text
    alice.stop("course")


def test_a_private_server_does_not_start_without_its_repository(alice: Browser) -> None:
    """Its owner may have lost the right to read it."""
    alice.press(opened(alice), "launch")
    alice.stop("course")
    alice.site.resolver.lines = [{"refused": "this name and token do not open it", "hint": ""}]
    page = opened(alice)
    assert page.status_code == 400
    assert 'id="again"' not in page.text
    alice.site.reset()


def test_a_private_launch_is_neither_published_nor_counted(alice: Browser) -> None:
    boss = Browser(alice.site, "boss").log_in()
    page = alice.get(f"{PATH}links", params=FORM)
    assert "each person needs a name and a token of their own" in page.text
    assert 'id="publish"' not in page.text
    fields = {**FORM, "title": "Ours", "about": "", "_xsrf": hidden(alice.open(**FORM))["_xsrf"]}
    refused = alice.post(f"{PATH}gallery/publish", data=fields)
    assert refused.status_code == 400
    assert "Not published" in refused.text
    public = {
        **FORM,
        "private": "",
        "title": "A guess",
        "_xsrf": hidden(boss.open(**FORM))["_xsrf"],
    }
    assert boss.post(f"{PATH}gallery/publish", data=public).is_success
    alice.press(opened(alice), "launch")
    assert "launched 0 times" in " ".join(boss.get(f"{PATH}gallery").text.split())
    alice.stop("course")


def test_credentials_are_few_and_forgotten() -> None:
    async def keep() -> None:
        access, one = Access(), Credentials(USER, TOKEN)
        names = [access.keep(ALICE, URL, one) for _ in range(MOST + 2)]
        known = [name for name in names if access.of(name, ALICE, URL)]
        assert known == names[2:]
        access.begin(names[-1], "launch")
        assert access.of("launch", ALICE, URL) == one
        assert access.of(names[-1], ALICE, URL) is None
        assert access.of("launch", BOB, URL) is None
        assert access.of("launch", ALICE, f"{URL}2") is None
        access.forget("launch")
        access.forget("launch")
        assert access.of("launch", ALICE, URL) is None

    asyncio.run(keep())
    assert TOKEN not in repr(Credentials(USER, TOKEN))


# --- configurations, orders, settings


def test_being_private_is_a_part_of_what_is_approved() -> None:
    form = Form(repo=URL, private="yes")
    found = of_form(form, Policy(), SETTINGS.caps, Choices(may_be_private=True))
    assert found.private
    assert of_json(found.canonical) == found
    assert found.id != replace(found, private=False).id
    assert "private" not in Configuration(URL).canonical


def test_an_order_of_a_private_repository_is_one_persons() -> None:
    orders = [Order({"requirements.txt": "six\n"}, owner=each) for each in (ALICE, BOB, "")]
    assert len({each.id for each in orders}) == 3
    for each in orders:
        assert order_of_json(each.canonical, each.id) == each
    for owner in ("../x", "a" * 63, "A" * 64):
        bad = replace(orders[0], owner=owner)
        with pytest.raises(LittlestHubError, match="this is not the order"):
            order_of_json(bad.canonical, bad.id)


def test_names_that_come_again_inherit_nothing() -> None:
    assert digest_of("alice", "2026-01-01T00:00:00Z") != digest_of("alice", "2026-01-02T00:00:00Z")
    assert digest_of("a", "b c") != digest_of("a b", "c")


def test_files_have_another_place_for_each_person_and_the_usual_one_stays_as_it_was() -> None:
    sources = Sources(Path("/sources"))
    places = [sources.place(URL, COMMIT, owner).name for owner in (ALICE, BOB, "")]
    assert len({*places}) == 3
    assert [len(each) - len(COMMIT) - 1 for each in places] == [32, 32, 16]


def test_an_administrator_forbids_private_launches_and_asks_everybody_about_one() -> None:
    form = {"repo": URL, "name": "course", "private": "yes"}
    values = Values(prepared={"Ours": form}, one_click={"physics": ["Ours"]})
    assert values.problems() == [
        ("ONE_CLICK", "physics: 'Ours' is private, so everybody is asked for a token")
    ]
    (problem,) = Values(prepared={"Ours": form}, private=False).problems()
    assert "launches no private repositories" in problem[1]
    assert Values(private=1).problems()  # type: ignore[arg-type]
    settings = Values(private=False).settings()
    assert not settings.choices_for("alice", ()).may_be_private
    assert not Settings(guests=1).choices_of_guests.may_be_private


# --- builds


@pytest.mark.needs("unshare", "ip")
def test_the_environment_of_a_public_lock_is_shared_and_that_of_private_code_is_not(
    site: BuildSite,
) -> None:
    site.index.add("alpha", "1.0")
    wheels = {"requirements.txt": "alpha\n"}
    keys = [site.launch(wheels, owner=each).key for each in (ALICE, BOB, "")]
    assert len({*keys}) == 1
    project_ = project("own")
    keys = [site.launch(project_, owner=each).key for each in (ALICE, BOB, "")]
    assert len({*keys}) == 3


def test_others_on_the_machine_list_neither_logs_nor_environments(site: BuildSite) -> None:
    place = site.place
    for each in (place.built, place.records, place.results, place.logs):
        assert each.stat().st_mode & 0o777 == 0o711
    site.index.add("beta", "1.0")
    key = site.launch({"requirements.txt": "beta\n"}).key
    assert place.record(key).stat().st_mode & 0o777 == 0o600


# --- servers


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_server_finds_the_files_that_its_owner_has_opened_and_no_others(house: House) -> None:
    private = replace(CONFIGURATION, private=True)
    made = house.server(house.approve(private))
    owner = digest_of(ME, isoformat(made.user.orm_user.created))
    sources = Sources(sources_of(house.layout))
    place = sources.place(private.repository, private.commit, owner)
    assert made.launched().source == place
    # Files that were fetched for everybody, or for somebody else, are not shown.
    assert place != sources.place(private.repository, private.commit)
    assert made.launched().source != sources.place(private.repository, private.commit, BOB)
    public = house.server(house.approve())
    assert public.launched().source == sources.place(private.repository, private.commit)


def test_a_server_of_a_private_repository_does_not_start_where_it_is_forbidden(
    house: House,
) -> None:
    id = house.approve(replace(CONFIGURATION, private=True))
    forbidding = replace(SETTINGS, is_private_possible=False)
    with pytest.raises(RefusedError, match="launches no private repositories"):
        house.server(id, settings=forbidding).launched()


# --- memory


def test_a_process_that_hides_its_memory_goes_on() -> None:
    program = (
        "from littlest_hub.system.memory import hide_memory; import ctypes, subprocess;"
        "hide_memory(); subprocess.run(['true'], check=True); print(ctypes.CDLL(None).prctl(3))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr
