"""Pages of volumes of groups, with a real hub and root's helper: who sees, makes, deletes what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.unit.stacks.launch.hub_and_service import PATH, Browser, Site, hidden
from tests.unit.stacks.launch.test_pages import HOSTILE, text_of

LAB = "Lab & <b>"
FORM = {"repo": "gh/org/repo/main", "name": "course"}


@pytest.fixture
def site(running_hub: Site) -> Site:
    """A hub where members of `makers` may make two volumes each, for groups that they are in."""
    running_hub.reset()
    return running_hub


@pytest.fixture
def maker(site: Site) -> Browser:
    """Return a person who may make volumes and is in the group LAB."""
    return Browser(site, "maker").log_in()


def fields_of(browser: Browser) -> dict[str, str]:
    """Return what every form of the service contains; the page may have none for this person."""
    return {"_xsrf": hidden(browser.open(**FORM))["_xsrf"]}


def make(browser: Browser, name: str, group: str = LAB, writers: str = "all") -> httpx.Response:
    fields = {**fields_of(browser), "group": group, "name": name, "writers": writers}
    return browser.post(f"{PATH}volumes/make", data=fields)


def names(browser: Browser) -> list[str]:
    """Return the names of the volumes that somebody sees."""
    return [each["name"] for each in api(browser, "GET").json()["volumes"]]


def api(browser: Browser, method: str, more: str = "", who: str = "", body: Any = None) -> Any:
    headers = {"X-XSRFToken": hidden(browser.get("/hub/home"))["_xsrf"], "Sec-Fetch-Mode": "cors"}
    path = f"/hub/api/launch-volumes/{who or browser.name}{more}"
    content = json.dumps(body) if body is not None else None
    return browser.request(method, path, headers=headers, content=content)


@contextmanager
def made(browser: Browser, name: str, group: str = LAB, writers: str = "all") -> Iterator[str]:
    """Make a volume for the time of the block, and yield its full name."""
    before = {*names(browser)}
    page = make(browser, name, group, writers)
    (found,) = {*names(browser)} - before
    assert found in page.text
    try:
        yield found
    finally:
        api(Browser(browser.site, "boss").log_in(), "DELETE", f"/{found}")


def test_members_see_a_volume_of_their_group_and_others_do_not(site: Site, maker: Browser) -> None:
    member, other = Browser(site, "member").log_in(), Browser(site, "physicist").log_in()
    with made(maker, "data", writers="owner") as name:
        page = member.get(f"{PATH}volumes")
        assert f"{name} For the group {LAB}, made by maker." in text_of(page)
        assert "Only maker may write; other members read." in text_of(page)
        assert f'<option value="{name}">read only</option>' in member.open().text
        assert f'value="{name}:rw"' not in member.open().text
        assert f'value="{name}:rw"' in maker.open().text
        assert "Your groups have none." in text_of(other.get(f"{PATH}volumes"))
        assert name not in other.open().text
        refused = other.open(**FORM, mount=name)
        assert refused.status_code == 400
        assert f"there is no volume {name!r} for you (any more)" in text_of(refused)
        assert f"<li>volumes/{name}: read only</li>" in member.open(**FORM, mount=name).text
    assert names(member) == []
    assert member.open(**FORM, mount=name).status_code == 400


def test_a_volume_that_all_write_is_offered_so(site: Site, maker: Browser) -> None:
    member = Browser(site, "member").log_in()
    with made(maker, "open") as name:
        assert (
            f"<li>volumes/{name}: read and write</li>"
            in member.open(**FORM, mount=f"{name}:rw").text
        )


def test_who_is_not_named_makes_none(site: Site) -> None:
    member = Browser(site, "member").log_in()
    assert "Make a volume" not in text_of(member.get(f"{PATH}volumes"))
    page = make(member, "mine")
    assert page.status_code == 400
    assert "You may make no volumes at this hub." in text_of(page)
    assert names(member) == []


def test_a_volume_is_for_a_group_that_its_maker_is_in(maker: Browser) -> None:
    fields = {**fields_of(maker), "name": "mine"}
    for group in ("physics", "no-such", "*", "guests", "", HOSTILE, "a\0b"):
        page = maker.post(f"{PATH}volumes/make", data={**fields, "group": group})
        assert page.status_code == 400, group
        assert HOSTILE not in page.text
    assert names(maker) == []


def test_a_wrong_name_is_refused_with_what_was_typed(maker: Browser) -> None:
    fields = {**fields_of(maker), "group": LAB}
    for name in ("", "../../etc", "a/b", "A", "a.b", "x" * 33, HOSTILE, "a\0b", "ü"):
        page = maker.post(f"{PATH}volumes/make", data={**fields, "name": name})
        assert page.status_code == 400, name
        assert "expected a name of at most 32 lower-case letters" in text_of(page)
        assert HOSTILE not in page.text
    assert names(maker) == []


def test_the_number_is_limited(maker: Browser) -> None:
    with made(maker, "one"), made(maker, "two"):
        page = make(maker, "three")
        assert "You have 2 volumes; expected fewer" in text_of(page)
        assert 'id="full"' in maker.get(f"{PATH}volumes").text
        assert len(names(maker)) == 2


def test_a_name_that_is_taken_is_refused_within_the_group_only(site: Site, maker: Browser) -> None:
    other = Browser(site, "member2").log_in()
    with made(maker, "data"), made(other, "data", "chem"):
        assert f"There is a volume {names(maker)[0]} already." in text_of(make(maker, "data"))
        assert names(other) == ["chem.data"]


def test_deleting_asks_and_says_who_loses_it(site: Site, maker: Browser) -> None:
    member = Browser(site, "member").log_in()
    with made(maker, "data") as name:
        address = f"{PATH}volumes/delete?volume={name}"
        assert member.get(address).status_code == 404
        fields = {**fields_of(member), "volume": name}
        assert member.post(f"{PATH}volumes/delete", data=fields).status_code == 404
        assert api(member, "DELETE", f"/{name}").status_code == 403
        page = maker.get(address)
        assert f"All members of {LAB} lose it, and everything in it: maker, member." in text_of(
            page
        )
        assert name in names(maker), "nothing is deleted by a link"
        maker.post(f"{PATH}volumes/delete", data={**hidden(page), "volume": name})
        assert names(maker) == []
        assert maker.get(address).status_code == 404


def test_administrators_see_and_delete_all(site: Site, maker: Browser) -> None:
    boss = Browser(site, "boss").log_in()
    with made(maker, "data") as name:
        page = boss.get(f"{PATH}volumes")
        assert "You are no member of this group, and see it as an administrator." in text_of(page)
        assert name not in boss.open().text.replace(f"{PATH}volumes", "")
        assert "maker, member" in text_of(boss.get(f"{PATH}volumes/delete?volume={name}"))
    assert names(maker) == []


def test_nobody_acts_for_somebody_else(site: Site, maker: Browser) -> None:
    member = Browser(site, "member").log_in()
    with made(maker, "data") as name:
        assert api(member, "GET", who="maker").status_code in (403, 404)
        body = {"group": LAB, "name": "x", "is_written_by_all": True}
        assert api(member, "POST", who="maker", body=body).status_code in (403, 404)
        assert api(member, "DELETE", f"/{name}", who="maker").status_code in (403, 404)
        assert names(maker) == [name]


def test_another_body_is_refused(maker: Browser) -> None:
    bodies: list[Any] = [[], "x", {}, {"group": ["physics"]}, {"group": LAB, "name": 5}]
    for body in bodies:
        assert api(maker, "POST", body=body).status_code in (400, 403), body
    assert names(maker) == []


def test_a_page_of_another_site_makes_and_deletes_nothing(maker: Browser) -> None:
    with made(maker, "data") as name:
        for path, fields in (
            ("make", {"group": LAB, "name": "evil", "writers": "all"}),
            ("delete", {"volume": name}),
        ):
            answer = maker.post(
                f"{PATH}volumes/{path}", data=fields, headers={"Sec-Fetch-Site": "cross-site"}
            )
            assert answer.status_code == 403
        assert names(maker) == [name]
