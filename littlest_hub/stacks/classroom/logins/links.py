"""The links of a class at the top of the hub's pages."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import Any

from littlest_hub import installation
from littlest_hub.stacks.classroom.logins.people import People, file_of


@dataclass(frozen=True)
class PeopleLink:
    """The text of the link to the people, with how many of them wait when a page is made."""

    def __str__(self) -> str:
        number = 0
        with contextlib.suppress(sqlite3.Error, OSError):
            number = People(file_of(installation.of_this_release())).number_waiting()
        return f"People ({number})" if number else "People"


def links() -> list[dict[str, Any]]:
    """Return them, as `c.Pages.links` has them."""
    return [
        {"text": PeopleLink(), "path": "hub/people", "scope": "admin:users"},
        {"text": "Password", "path": "hub/change-password", "scope": ""},
    ]
