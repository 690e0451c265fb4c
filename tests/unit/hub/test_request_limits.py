"""Limits of values that users store in the hub's database."""

from __future__ import annotations

from typing import Any

import pytest
from jupyterhub import orm, roles
from tornado.web import HTTPError

from littlest_hub.hub import request_limits
from littlest_hub.hub.request_limits import limit_stored_values
from littlest_hub.hub.spawn_options import LIMIT_BYTES

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", autouse=True)
def limits() -> None:
    limit_stored_values()


@pytest.mark.row(30)
@pytest.mark.parametrize(
    ("kind", "column", "length"),
    [
        (orm.User, "name", 255),
        (orm.Group, "name", 255),
        (orm.Spawner, "name", 255),
        (orm.Spawner, "display_name", 255),
        (orm.APIToken, "note", 1023),
        (orm.APIToken, "session_id", 255),
        (orm.OAuthCode, "session_id", 255),
        (orm.OAuthCode, "redirect_uri", 1023),
    ],
)
def test_a_text_is_not_longer_than_its_column(kind: Any, column: str, length: int) -> None:
    setattr(kind(), column, "x" * length)
    setattr(kind(), column, None)
    with pytest.raises(HTTPError, match=f"{kind.__name__}.{column}: .* at most {length}"):
        kind(**{column: "x" * (length + 1)})


@pytest.mark.row(30)
def test_options_of_a_server_are_stored_up_to_their_limit() -> None:
    size = LIMIT_BYTES
    spawner = orm.Spawner(user_options={"image": "x" * (size - 40), "number": [1, 2]})
    orm.Spawner(user_options=None)
    for options in (
        {"image": "x" * size},
        {"x" * size: 1},
        {"deep": [{"list": ["x"] * (size // 5)}]},
        # Stored in base64.
        {"file": b"x" * (size * 3 // 4)},
    ):
        with pytest.raises(HTTPError, match="at most"):
            spawner.user_options = options
    assert len(spawner.user_options["image"]) == size - 40


@pytest.mark.row(30)
def test_a_user_has_no_more_tokens_than_the_hub_can_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MOST_TOKENS", 3)
    db = orm.new_session_factory("sqlite:///:memory:")()
    alice, bob = orm.User(name="alice"), orm.User(name="bob")
    db.add_all([alice, bob, orm.OAuthClient(identifier="jupyterhub")])
    create_default_roles(db)
    for _ in range(3):
        alice.new_api_token()
    with pytest.raises(HTTPError, match="3 tokens at most"):
        alice.new_api_token()
    # As other requests do, which share the session.
    bob.new_api_token()
    db.delete(alice.api_tokens[0])
    db.commit()
    alice.new_api_token()
    assert (len(alice.api_tokens), len(bob.api_tokens)) == (3, 1)


def create_default_roles(db: Any) -> None:
    for role in roles.get_default_roles():
        roles.create_role(db, role)
