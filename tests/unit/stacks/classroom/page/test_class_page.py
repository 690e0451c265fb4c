"""The teacher's page and `class start`, with a real hub and root's helper for accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from littlest_hub.stacks.classroom import command as classroom
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.table import Account
from littlest_hub.stacks.classroom.group_start import command
from tests.unit.stacks.classroom.page import class_site
from tests.unit.stacks.classroom.page.class_site import PAGE, Browser, Site, text_of


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with class_site.running() as found:
        yield found


@pytest.fixture(scope="module")
def alice(site: Site) -> Iterator[Browser]:
    with closing(Browser(site, "alice")) as found:
        yield found


def test_who_never_chose_a_password_was_never_seen_whoever_starts_the_server(
    site: Site, alice: Browser
) -> None:
    assert "Last seen: 20" in alice.about("alice")
    assert "Last seen: never." in alice.about("s01")
    assert "Last seen: never." in alice.about("bob")
    assert command.Hub(site.layout).start("chemistry", "s01") == ("started", "")
    assert "Server runs" in alice.about("s01")
    assert "Last seen: never." in alice.about("s01")


def test_no_button_ends_work_before_a_question_is_answered(site: Site, alice: Browser) -> None:
    command.Hub(site.layout).start("physics", "bob")
    page = alice.get(PAGE).text
    buttons = set(re.findall(r'name="decision" value="([^"]+)"', page))
    assert {"ask-remove", "ask-lock", "ask-stop", "ask-restart"} <= buttons
    assert buttons.isdisjoint({"remove", "lock", "stop", "restart"})
    for decision in ("remove", "lock", "stop", "restart"):
        asked = alice.decide(f"ask-{decision}", name="bob")
        assert f"{decision.capitalize()}" in text_of(asked.text)
        assert "what is not saved in a file is lost" in text_of(asked.text)
        assert re.findall(r'name="decision" value="([^"]+)"', asked.text) == [decision]
        assert 'name="name" value="bob"' in asked.text
    assert "Server runs" in alice.about("bob")
    for decision in ("ask-", "ask-approve", "ask-ask-remove"):
        assert alice.decide(decision, name="bob").status_code == 400
    hostile = alice.decide("ask-remove", name="<b>'; rm").text
    assert "<b>'" not in hostile
    with closing(Browser(site, "bob")) as bob:
        assert bob.post(PAGE, data={"decision": "ask-remove", "name": "maria"}).status_code == 403


def test_remove_says_how_to_undo_it_and_that_works(site: Site, alice: Browser) -> None:
    account = Account("jupyter-bob", 60_000, "/home/jupyter-bob", "1 bob")
    table.update(site.layout, lambda found: found.with_account("bob", account))
    said = text_of(alice.decide("ask-remove", name="bob").text)
    assert "The files stay" in said
    keep = f"{site.layout.command} class keep bob"
    assert f"sudo {keep}" in said
    removed = text_of(alice.decide("remove", name="bob").text)
    assert "bob is not in this class any more. Files stay. To undo it: add bob again" in removed
    assert f"sudo {keep}" in removed
    assert alice.about("bob") == ""
    assert table.read(site.layout).accounts["bob"].person == "nobody"
    assert "bob chooses a password" in text_of(alice.decide("add", new_name="bob").text)
    assert classroom.run(site.layout, ["keep", "bob"]) == 0
    # The next user of that name is the owner.
    assert table.read(site.layout).accounts["bob"].person == ""
    assert "Last seen: " in alice.about("bob")


def test_who_was_removed_gets_no_server_with_the_group(site: Site, alice: Browser) -> None:
    alice.decide("remove", name="maria")
    hub = command.Hub(site.layout)
    assert hub.members("mathematics")["members"] == {"dora": "", "maria": "gone"}
    assert hub.start("mathematics", "maria") == ("gone", "")
    said = alice.decide("start_group", group="mathematics").text
    assert "mathematics: 1 server starts" in said
