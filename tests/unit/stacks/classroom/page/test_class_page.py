"""The teacher's page and `class start`, with a real hub and root's helper for accounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from littlest_hub.stacks.classroom.group_start import command
from tests.unit.stacks.classroom.page import class_site
from tests.unit.stacks.classroom.page.class_site import Browser, Site


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


def test_who_was_removed_gets_no_server_with_the_group(site: Site, alice: Browser) -> None:
    alice.decide("remove", name="maria")
    hub = command.Hub(site.layout)
    assert hub.members("physics")["members"] == {"bob": "", "maria": "gone"}
    assert hub.start("physics", "maria") == ("gone", "")
    assert "physics: 1 server starts" in alice.decide("start_group", group="physics").text
