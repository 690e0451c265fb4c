"""Servers that are shared: who gets access, who may start them, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyterhub import orm

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.stacks.launch.records import Records
from littlest_hub.stacks.launch.shares import grants
from littlest_hub.stacks.launch.shares.people import checked
from tests.unit.stacks.launch.hub_and_service import PATH, Browser, Site, hidden

FORM = {"repo": "gh/org/repo/main"}


@pytest.fixture
def site(running_hub: Site) -> Site:
    running_hub.reset()
    return running_hub


@pytest.fixture
def alice(site: Site) -> Browser:
    return Browser(site).log_in()


@pytest.fixture
def bob(site: Site) -> Browser:
    return Browser(site).log_in()


def shared(owner: Browser, name: str, *people: str) -> None:
    """Launch a server for these people as well, and wait until it runs."""
    page = owner.open(**FORM, name=name, share=" ".join(people))
    owner.press(page, "launch")
    owner.wait_for(name)


def page_of(owner: Browser, name: str) -> str:
    return f"/hub/launch-shared/{owner.name}/{name}"


def start(person: Browser, owner: Browser, name: str, **more: str) -> httpx.Response:
    """Press the button that starts a server of somebody else."""
    fields = {"_xsrf": hidden(person.get("/hub/home"))["_xsrf"], **more}
    return person.post(page_of(owner, name), data=fields, follow_redirects=False)


def api(person: Browser, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {
        "X-XSRFToken": hidden(person.get("/hub/home"))["_xsrf"],
        "Sec-Fetch-Mode": "cors",
    }
    return person.request(method, f"/hub/api/{path}", json=body, headers=headers)


def remove(owner: Browser, name: str, person: str) -> httpx.Response:
    """Press the button that takes access from somebody."""
    fields = {"_xsrf": hidden(owner.open(**FORM))["_xsrf"], "server": name}
    return owner.post(f"{PATH}servers/remove", data={**fields, "name": person})


# --- names


@pytest.mark.parametrize(
    "text", ["../boss", "a/b", "a\0b", "%s", "<script>", "-rf", "a" * 65, "group:staff", "*"]
)
def test_names_that_no_user_has_are_refused(text: str) -> None:
    with pytest.raises(LittlestHubError):
        checked(text, 10)


def test_names_have_one_spelling_and_a_limit() -> None:
    assert checked(" carol, bob bob", 2) == "bob carol"
    with pytest.raises(LittlestHubError, match="at most 2"):
        checked("a b c", 2)
    with pytest.raises(LittlestHubError, match="cannot be shared at this hub"):
        checked("bob", 0)
    assert checked("", 0) == ""


# --- the database


def test_a_server_is_shared_with_exactly_those_and_only_to_be_used() -> None:
    db = orm.new_session_factory("sqlite:///:memory:")()
    users = {name: orm.User(name=name) for name in ("alice", "bob", "carol", "mallory")}
    server = orm.Spawner(name="proj", user=users["alice"])
    db.add_all([*users.values(), server])
    db.commit()
    # What somebody has given by other means: too much, to others, or to whoever has a code.
    orm.Share.grant(db, server, users["mallory"])
    orm.Share.grant(db, server, users["bob"], ["access:servers", "start:servers"])
    orm.ShareCode.new(db, server, scopes=["access:servers"])
    for _ in range(2):
        assert grants.apply(db, server, ["bob", "carol", "nobody"]) == ["nobody"]
        found = {share.user.name: {*share.scopes} for share in db.query(orm.Share)}
        scopes = {"access:servers!server=alice/proj", "read:servers!server=alice/proj"}
        assert found == {"bob": scopes, "carol": scopes}
        assert db.query(orm.ShareCode).count() == 0
    assert grants.has_access(db, server, users["bob"])
    assert not grants.has_access(db, server, users["mallory"])
    grants.apply(db, server, [])
    assert db.query(orm.Share).count() == 0


# --- records


def test_who_has_been_removed_stays_out_until_the_owner_is_asked_again(tmp_path: Path) -> None:
    records = Records(tmp_path, "alice", "2026")
    configuration = Configuration("https://github.com/org/repo", share="bob carol", name="proj")
    id = records.approve(configuration)
    records.do_not_ask(id)
    records.remove(id, "bob")
    assert records.approved(id).people == ["carol"]
    assert records.unasked == ()
    records.approve(configuration, "ab" * 32)
    assert records.approved(id).people == ["carol"]
    records.approve(configuration, is_asked=True)
    assert records.approved(id).people == ["bob", "carol"]
    assert records.approved(id).environment == "ab" * 32


# --- pages


def test_a_confirmation_names_those_who_get_access(alice: Browser, bob: Browser) -> None:
    page = alice.open(**FORM, name="named", share=bob.name)
    assert f'<strong id="share">{bob.name}</strong>' in page.text


@pytest.mark.parametrize("name", ["nobody-here", "boss nobody-here", "../boss"])
def test_a_server_is_not_shared_with_somebody_whom_the_hub_does_not_know(
    alice: Browser, name: str
) -> None:
    page = alice.open(**FORM, name="unknown", share=name)
    assert page.status_code == 400
    assert 'id="share-problem"' in page.text
    assert not alice.site.resolver.requests


def test_a_shared_server_needs_a_name_and_other_people(alice: Browser, bob: Browser) -> None:
    assert 'id="name-problem"' in alice.open(**FORM, share=bob.name).text
    assert "which is you" in alice.open(**FORM, name="mine", share=alice.name).text


def test_a_collaborator_uses_a_server_and_starts_it_as_its_owner_has_launched_it(
    alice: Browser, bob: Browser
) -> None:
    shared(alice, "proj", bob.name)
    assert f"{alice.name}/proj" in bob.get("/hub/home").text
    assert f"{alice.name}/proj" in bob.get(f"{PATH}servers").text
    assert f"used by {bob.name}, who lose it" in alice.get("/hub/home").text
    opened = bob.get(page_of(alice, "proj"), follow_redirects=False)
    assert opened.headers["Location"] == f"/user/{alice.name}/proj/"
    alice.stop("proj")
    before = alice.site.started_with(alice.name, "proj")
    assert "start-shared" in bob.get(page_of(alice, "proj")).text
    assert alice.servers()["proj"]["stopped"], "looking starts nothing"
    done = start(bob, alice, "proj", launch="0" * 64, repo="https://evil.example.org/x")
    assert done.headers["Location"] == f"/user/{alice.name}/proj/"
    assert alice.site.started_with(alice.name, "proj") == before


def test_a_collaborator_can_do_nothing_else(alice: Browser, bob: Browser) -> None:
    shared(alice, "only", bob.name)
    options = {"user_options": {"launch": "0" * 64}}
    server = f"users/{alice.name}/servers/only"
    attempts = [
        ("POST", server, options),
        ("POST", f"users/{alice.name}/servers/other", options),
        ("DELETE", server, None),
        ("PATCH", server, options),
        ("PUT", f"users/{alice.name}/servers/other", options),
        ("GET", f"users/{alice.name}", None),
        ("POST", f"shares/{alice.name}/only", {"user": "boss"}),
        ("POST", f"share-codes/{alice.name}/only", {}),
        ("POST", f"launch-shares/{alice.name}/only", {}),
    ]
    for method, path, body in attempts:
        assert api(bob, method, path, body).status_code in (403, 404), (method, path)
    assert bob.get(f"/hub/spawn/{alice.name}/only").status_code in (403, 404)


def test_the_token_of_a_shared_server_is_good_for_that_server_alone(
    alice: Browser, bob: Browser, site: Site
) -> None:
    """All who use the server can read the token: it is in the environment of its processes."""
    shared(alice, "token", bob.name)
    hub = httpx.Client(
        base_url=f"http://127.0.0.1:{site.hub_port}/hub/api",
        headers={"Authorization": f"token {site.token_of(alice.name, 'token')}"},
        trust_env=False,
    )
    assert {*hub.get("/user").json()["scopes"]} == {
        f"access:servers!server={alice.name}/token",
        f"users:activity!user={alice.name}",
        f"read:users:activity!user={alice.name}",
        f"read:users:groups!user={alice.name}",
        f"read:users:name!user={alice.name}",
    }
    body = {"user_options": {"launch": "0" * 64}}
    attempts = [
        ("POST", f"/users/{alice.name}/servers/token", body),
        ("POST", f"/users/{alice.name}/servers/another", body),
        ("DELETE", f"/users/{alice.name}/servers/token", None),
        ("POST", f"/users/{alice.name}/tokens", {}),
        ("POST", f"/shares/{alice.name}/token", {"user": "boss"}),
        ("POST", f"/launch-shares/{alice.name}/token", {}),
        ("GET", f"/users/{bob.name}", None),
        ("GET", "/users", None),
    ]
    for method, path, sent in attempts:
        assert hub.request(method, path, json=sent).status_code in (403, 404), (method, path)


def test_a_stranger_is_told_nothing(alice: Browser, bob: Browser, site: Site) -> None:
    shared(alice, "hidden", bob.name)
    carol = Browser(site).log_in()
    said = [
        carol.get(page_of(alice, name)).text.replace(name, "X") for name in ("hidden", "no-such")
    ]
    assert "There is no such server" in said[0]
    assert start(carol, alice, "hidden").status_code == 404
    assert f"{alice.name}/hidden" not in carol.get("/hub/home").text


def test_taking_access_stops_the_server_and_lasts(alice: Browser, bob: Browser) -> None:
    shared(alice, "taken", bob.name)
    page = remove(alice, "taken", bob.name)
    assert f">{bob.name}<" not in page.text
    assert alice.servers()["taken"]["stopped"]
    assert bob.get(page_of(alice, "taken")).status_code == 404
    assert start(bob, alice, "taken").status_code == 404
    # A start as it was last, from JupyterHub's page, lets nobody in again.
    assert api(alice, "POST", f"users/{alice.name}/servers/taken").is_success
    alice.wait_for("taken")
    assert bob.get(page_of(alice, "taken")).status_code == 404
    alice.stop("taken")
    alice.press(alice.open(**FORM, name="taken", share=bob.name), "launch")
    alice.wait_for("taken")
    assert bob.get(page_of(alice, "taken"), follow_redirects=False).status_code == 302


def test_access_is_taken_by_the_owner_alone(alice: Browser, bob: Browser) -> None:
    shared(alice, "owned", bob.name)
    assert remove(bob, "owned", bob.name).status_code == 404
    assert remove(alice, "owned", "boss").status_code == 404
    no_token = alice.post(f"{PATH}servers/remove", data={"server": "owned", "name": bob.name})
    assert no_token.status_code == 403
    assert not alice.servers()["owned"]["stopped"]


def test_a_share_that_somebody_gives_by_other_means_ends_with_the_next_start(
    alice: Browser, bob: Browser, site: Site
) -> None:
    shared(alice, "exact", bob.name)
    boss, carol = Browser(site, "boss").log_in(), Browser(site).log_in()
    body = {"user": carol.name, "scopes": [f"start:servers!server={alice.name}/exact"]}
    given = api(boss, "POST", f"shares/{alice.name}/exact", body)
    assert given.is_success, given.text
    alice.stop("exact")
    assert api(alice, "POST", f"users/{alice.name}/servers/exact").is_success
    alice.wait_for("exact")
    found = json.loads(api(boss, "GET", f"shares/{alice.name}/exact").text)
    shares = found["items"] if isinstance(found, dict) else found
    assert [each["user"]["name"] for each in shares] == [bob.name]


def test_deleting_says_who_loses_access(alice: Browser, bob: Browser) -> None:
    shared(alice, "deleted", bob.name)
    page = alice.get(f"{PATH}servers/delete", params={"server": "deleted"})
    assert f"{bob.name} loses access to it" in page.text
    assert "deleted" in alice.servers(), "looking deletes nothing"
    alice.post(f"{PATH}servers/delete", data=hidden(page))
    assert "deleted" not in alice.servers()
    assert f"{alice.name}/deleted" not in bob.get("/hub/home").text
