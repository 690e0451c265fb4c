"""The gallery: what people publish, who sees it, what is counted."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import Configuration
from littlest_hub.stacks.launch.gallery import MOST_OF_PERSON, Gallery
from tests.unit.stacks.launch.hub_and_service import PATH, Browser, Site, hidden

FORM = {"repo": "gh/org/repo/main", "path": "a.ipynb"}
HOSTILE = "</h3><script>alert(1)</script>\"'"
LAUNCH = Configuration("https://github.com/org/repo", "main", path="a.ipynb")


@pytest.fixture
def site(running_hub: Site) -> Site:
    running_hub.reset()
    Gallery(running_hub.records)._file.unlink(missing_ok=True)
    return running_hub


def publish(person: Browser, title: str, about: str = "", **form: str) -> httpx.Response:
    """Fill in the form of the page with the link, and send it."""
    page = person.get(f"{PATH}links", params={**FORM, **form})
    return person.post(
        f"{PATH}gallery/publish", data={**hidden(page), "title": title, "about": about}
    )


def gallery(person: Browser, words: str = "") -> str:
    return person.get(f"{PATH}gallery", params={"q": words}).text


def decide(person: Browser, key: str, decision: str) -> int:
    fields = {"_xsrf": hidden(person.open(**FORM))["_xsrf"], "key": key, "decision": decision}
    return person.post(f"{PATH}gallery/decide", data=fields).status_code


def only_key(site: Site) -> str:
    (key,) = Gallery(site.records).entries()
    return key


def test_what_somebody_publishes_is_seen_once_an_administrator_shows_it(site: Site) -> None:
    alice, bob, boss = (Browser(site, *name).log_in() for name in ((), (), ("boss",)))
    assert publish(alice, "Statistics", "The first week").is_success
    assert "Waits for an administrator" in gallery(alice)
    assert "Statistics" not in gallery(bob)
    key = only_key(site)
    assert decide(bob, key, "show") == 404
    assert decide(alice, key, "show") == 403
    assert decide(boss, key, "show") == 200
    page = gallery(bob)
    assert "Statistics" in page
    assert f"published by {alice.name}" in page
    assert 'value="remove"' not in page
    assert decide(bob, key, "remove") == 403
    assert decide(alice, key, "remove") == 200
    assert "Statistics" not in gallery(bob)


def test_launches_are_counted_wherever_their_link_was(site: Site) -> None:
    boss, bob = Browser(site, "boss").log_in(), Browser(site).log_in()
    publish(boss, "Counted", name="mine", share=bob.name)
    assert "launched 0 times" in gallery(bob)
    bob.press(bob.open(**FORM, name="own-name"), "launch")
    assert "launched 1 time" in gallery(bob)
    bob.press(bob.open(repo=FORM["repo"], path="b.ipynb", name="other"), "launch")
    assert "launched 1 time" in gallery(bob)


def test_nothing_about_the_publishers_own_server_is_published(site: Site) -> None:
    boss, bob = Browser(site, "boss").log_in(), Browser(site).log_in()
    publish(boss, "Own", name="secret-name", share=bob.name, hours="2")
    page = gallery(bob)
    assert "secret-name" not in page
    assert "share=" not in page
    assert "hours=" not in page


def test_a_search_finds_entries_with_all_words(site: Site) -> None:
    boss = Browser(site, "boss").log_in()
    publish(boss, "Statistics", "with pandas", path="1.ipynb")
    publish(boss, "Physics", "with numpy", path="2.ipynb")
    assert "Physics" not in gallery(boss, "pandas STAT")
    assert "Statistics" in gallery(boss, "pandas STAT")
    assert "Nothing has these words" in gallery(boss, "pandas numpy")


def test_hostile_texts_are_texts(site: Site) -> None:
    boss = Browser(site, "boss").log_in()
    publish(boss, HOSTILE, HOSTILE)
    assert "<script>" not in gallery(boss)
    assert "<script>" not in gallery(boss, HOSTILE)
    assert publish(boss, "x" * 81, path="2.ipynb").status_code == 400
    assert publish(boss, " ", path="2.ipynb").status_code == 400
    assert "already" in publish(boss, "again").text


def test_what_cannot_be_launched_is_not_published(site: Site) -> None:
    alice = Browser(site).log_in()
    xsrf = hidden(alice.open(**FORM))["_xsrf"]
    for form in ({"repo": "gh/evil/repo"}, {"repo": "file:///etc"}, {}):
        fields = {"_xsrf": xsrf, "title": "x", **form}
        assert alice.post(f"{PATH}gallery/publish", data=fields).status_code == 400
    assert alice.post(f"{PATH}gallery/publish", data=FORM).status_code == 403, "no token"


def test_one_person_does_not_fill_the_gallery(tmp_path: Path) -> None:
    found = Gallery(tmp_path)
    for number in range(MOST_OF_PERSON):
        found.publish(Configuration(f"https://github.com/org/{number}"), "x", "", "alice")
    with pytest.raises(LittlestHubError, match="at most"):
        found.publish(LAUNCH, "x", "", "alice")
    found.publish(LAUNCH, "x", "", "bob")


def test_a_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    found = Gallery(tmp_path)
    for text in ("{", "[1]", '[{"launch": {}}]', "[" * 100_000):
        found._file.write_text(text)
        assert found.entries() == {}
    found.publish(LAUNCH, "x", "", "alice")
    assert len(found.entries()) == 1


# --- one click for a class


def test_members_of_the_class_are_not_asked_and_others_are(site: Site) -> None:
    form = {"repo": "gh/org/week1/main", "path": "a.ipynb", "name": "week1"}
    physicist, stranger = Browser(site, "physicist").log_in(), Browser(site).log_in()
    assert 'id="decide"' in stranger.open(**form).text
    assert 'id="decide"' in physicist.open(**{**form, "path": "b.ipynb"}).text
    assert 'id="decide"' in physicist.open(**form, hours="2").text
    page = physicist.open(**form)
    assert "/launching/" in str(page.url)
    physicist.wait_for("week1")
    assert "week1" not in stranger.servers()
