"""Lines of the hub's log."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from jupyterhub import _xsrf_utils
from tornado.log import app_log

from littlest_hub.hub.logs import JournalFormatter, is_news

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["code", "state", "ticket", "token", "id_token", "access_token"])
def test_what_proves_who_somebody_is_does_not_get_into_the_journal(name: str) -> None:
    # As tornado logs a request that a handler refuses.
    text = f"403 GET /hub/oauth_callback?iss=https%3A&{name}=ABC-123.z&next=/hub/ (10.0.0.7): no"
    record = logging.LogRecord("tornado", logging.WARNING, "web.py", 1, "%s", (text,), None)
    line = JournalFormatter("%(message)s").format(record)
    assert line == f"<4>{text}".replace("ABC-123.z", "[secret]")


@pytest.mark.parametrize(
    ("level", "expected"),
    [(logging.INFO, ["something"]), (logging.DEBUG, ["Setting", "something"])],
)
def test_a_cookie_for_a_stranger_is_logged_only_for_debugging(
    monkeypatch: pytest.MonkeyPatch, level: int, expected: list[str]
) -> None:
    told: list[str] = []
    kept = SimpleNamespace(level=0, handle=lambda record: told.append(record.getMessage()))
    for name, value in (("filters", [is_news]), ("handlers", [kept]), ("propagate", False)):
        monkeypatch.setattr(app_log, name, value)
    before = app_log.level
    app_log.setLevel(level)
    try:
        handler = SimpleNamespace(settings={}, set_cookie=lambda *_, **__: None)
        _xsrf_utils._set_xsrf_cookie(handler, b"x", authenticated=False, xsrf_token=b"t")
        app_log.info("something else")
    finally:
        app_log.setLevel(before)
    assert [each.split()[0] for each in told] == expected
