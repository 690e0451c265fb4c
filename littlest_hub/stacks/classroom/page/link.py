"""The link to the teacher's page at the top of the hub's pages."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass

from littlest_hub import installation
from littlest_hub.stacks.classroom.logins.people import People, file_of


@dataclass(frozen=True)
class PageLink:
    """The text of the link, with the number of people who wait when a page is made."""

    has_sign_up: bool

    def __str__(self) -> str:
        number = 0
        if not self.has_sign_up:
            return "Class"
        with contextlib.suppress(sqlite3.Error, OSError):
            number = People(file_of(installation.of_this_release())).number_waiting()
        return f"Class ({number})" if number else "Class"
