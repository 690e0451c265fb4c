"""The page's words for people and their servers."""

from datetime import UTC, datetime

import pytest

from littlest_hub.stacks.classroom.page import view
from littlest_hub.stacks.classroom.page.usage import Usage
from littlest_hub.stacks.classroom.page.view import Member, Server


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, ""),
        (0, "0 MB"),
        (312_400_000, "312 MB"),
        (999_999_999, "1000 MB"),
        (2_147_483_648, "2.1 GB"),
        (3_500_000_000_000, "3.5 TB"),
    ],
)
def test_sizes_are_short(number: int | None, text: str) -> None:
    assert view.size(number) == text


def test_a_server_uses_what_is_known_of_it() -> None:
    assert view.load(Usage(312_000_000, 2_000_000_000, 1, 0.454)) == (
        "312 MB of 2.0 GB, 45 % of a processor"
    )
    assert view.load(Usage(312_000_000)) == "312 MB"
    assert view.load(Usage()) == view.load(None) == ""


def test_people_with_a_server_come_first() -> None:
    server = (Server("", "runs", "/user/zoe/"),)
    people = [Member("bob"), Member("zoe", servers=server), Member("alice")]
    assert [each.name for each in view.in_order(people)] == ["zoe", "alice", "bob"]


def test_moments_are_in_utc() -> None:
    moment = datetime(2026, 11, 29, 18, 30, tzinfo=UTC)
    expected = "2026-11-29 18:30 UTC"
    # JupyterHub's database has no time zone.
    assert view.when(moment) == view.when(moment.replace(tzinfo=None)) == expected
    assert view.when(moment.timestamp()) == expected
    assert view.when(None) == ""
