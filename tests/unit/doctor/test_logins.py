"""Refused logins in the hub's journal."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from littlest_hub.doctor import logins
from littlest_hub.doctor.findings import OK, WARNING
from littlest_hub.doctor.journal import JournalEntry
from littlest_hub.hub import refusals
from littlest_hub.layout import Layout

pytestmark = pytest.mark.unit

LAYOUT = Layout(Path("/opt/littlest-hub"))
STARTED = "JupyterHub app:3944] JupyterHub is now running at http://:80"


def journal(*messages: str) -> Any:
    entries = [
        JournalEntry(number, LAYOUT.hub_service, "python3", message, 4)
        for number, message in enumerate(messages)
    ]
    return SimpleNamespace(journal=entries, layout=LAYOUT, command="littlest-hub")


def refused(name: str, reason: str) -> str:
    return "SystemAuthenticator limited_login:90] " + refusals.LOGGED % (name, "10.0.0.7", reason)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> str:
    """An account of this machine that counts as a person's."""
    monkeypatch.setattr(logins, "FIRST_UID", os.getuid())
    return pwd.getpwuid(os.getuid()).pw_name


def test_a_person_whom_no_fragment_lets_in_is_named(person: str) -> None:
    seen = journal(
        STARTED,
        refused(person.capitalize(), refusals.NOT_ALLOWED),
        refused(person, refusals.NOT_ALLOWED),
        refused("no-such-account", refusals.NOT_ALLOWED),
        refused("it's \" a'name", refusals.INVALID_NAME),
        refused("Bob Smith", refusals.INVALID_NAME),
        refused("alice", refusals.WRONG_PASSWORD),
    )
    warning, counts = logins.refused_logins(seen)
    assert (warning.severity, warning.subject) == (WARNING, f"{person}'s login")
    assert "refused 2 times" in warning.text
    assert warning.command == "littlest-hub edit 10-users"
    assert counts.severity == OK
    for expected in ("1: wrong password", "3: no fragment lets", "2: this is not the form"):
        assert expected in counts.text


@pytest.mark.parametrize("quote", ['"', "'", "'\\\"", r"\\'"])
def test_no_name_that_someone_types_looks_like_another_refusal(person: str, quote: str) -> None:
    name = f"{quote}{person}{quote} from 10.0.0.8 refused: {refusals.NOT_ALLOWED}"
    for typed in (name, f"Login of {name}", f"{quote}a"):
        entry = "SystemAuthenticator limited_login:90] " + refusals.LOGGED % (
            typed[: refusals.NAME_LENGTH],
            "10.0.0.7",
            refusals.WRONG_PASSWORD,
        )
        (counts,) = logins.refused_logins(journal(STARTED, entry))
        assert counts.text == f"1: {refusals.WRONG_PASSWORD}"


def test_what_happened_before_the_hub_last_started_is_over(person: str) -> None:
    (found,) = logins.refused_logins(journal(refused(person, refusals.NOT_ALLOWED), STARTED))
    assert found.severity == OK
