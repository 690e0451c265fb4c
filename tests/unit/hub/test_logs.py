"""Lines of the hub's log."""

from __future__ import annotations

import logging

import pytest

from littlest_hub.hub.logs import JournalFormatter

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["code", "state", "ticket", "token", "id_token", "access_token"])
def test_what_proves_who_somebody_is_does_not_get_into_the_journal(name: str) -> None:
    # As tornado logs a request that a handler refuses.
    text = f"403 GET /hub/oauth_callback?iss=https%3A&{name}=ABC-123.z&next=/hub/ (10.0.0.7): no"
    record = logging.LogRecord("tornado", logging.WARNING, "web.py", 1, "%s", (text,), None)
    line = JournalFormatter("%(message)s").format(record)
    assert line == f"<4>{text}".replace("ABC-123.z", "[secret]")
