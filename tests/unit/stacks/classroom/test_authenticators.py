"""Logins with passwords that the hub keeps, and the passwords that it stores."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.hub.access import is_allowed
from littlest_hub.hub.authenticator import RefusedLoginError
from littlest_hub.stacks.classroom.logins import passwords
from littlest_hub.stacks.classroom.logins.authenticators import FirstUse, PasswordLogin, SignUp
from littlest_hub.stacks.classroom.logins.people import Standing

GOOD, OTHER = "seven blue umbrellas", "another blue umbrella"


def made(kind: Any, tmp_path: Path, **settings: Any) -> Any:
    return kind(file=str(tmp_path / "people.sqlite"), **settings)


def log_in(authenticator: PasswordLogin, name: str, password: str) -> str | None:
    login = {"username": name, "password": password}
    model = asyncio.run(authenticator.get_authenticated_user(None, login))
    return str(model["name"]) if model else None


def test_a_first_password_is_stored_of_whom_the_fragments_allow_alone(tmp_path: Path) -> None:
    hub = made(FirstUse, tmp_path, allowed_users={"ada", "bob"}, blocked_users={"ada"})
    for name in ("mallory", "ada", "../x", ""):
        assert log_in(hub, name, GOOD) is None
    assert not Path(hub.file).exists()
    assert log_in(hub, "Bob ", GOOD) == "bob"
    assert log_in(hub, "bob", OTHER) is None
    assert log_in(hub, "\uff22OB", GOOD) == "bob"


def test_an_administrator_needs_a_code_whatever_is_allowed(tmp_path: Path) -> None:
    hub = made(FirstUse, tmp_path, admin_users={"boss"}, allowed_users={"boss"}, allow_all=True)
    assert log_in(hub, "boss", GOOD) is None
    assert log_in(hub, "BOSS", GOOD) is None
    hub.people.grant("boss", "digest")
    assert log_in(hub, "boss", GOOD) is None
    hub.people.use_code("boss", "digest", passwords.hashed(GOOD))
    assert log_in(hub, "boss", GOOD) == "boss"


@pytest.mark.parametrize("kind", [FirstUse, SignUp])
def test_a_password_that_is_too_long_is_refused_and_not_cut(tmp_path: Path, kind: type) -> None:
    hub = made(kind, tmp_path, allowed_users={"bob"})
    hub.people.grant("bob", "digest")
    hub.people.use_code("bob", "digest", passwords.hashed("x1y2z3w4" * 9))
    with pytest.raises(RefusedLoginError, match="at most 72 bytes"):
        log_in(hub, "bob", "x1y2z3w4" * 9 + "!")
    assert log_in(hub, "bob", "x1y2z3w4" * 9) == "bob"


def test_a_first_password_that_is_bad_is_refused_with_the_reason(tmp_path: Path) -> None:
    hub = made(FirstUse, tmp_path, allowed_users={"bob"})
    with pytest.raises(RefusedLoginError, match="You choose your password now"):
        log_in(hub, "bob", "short")
    assert not Path(hub.file).exists()


def test_whoever_has_signed_up_gets_in_once_approved(tmp_path: Path) -> None:
    hub = made(SignUp, tmp_path, allow_all=True)
    hub.people.sign_up("bob", passwords.hashed(GOOD), "", "192.0.2.1", is_taken=False)
    assert log_in(hub, "bob", OTHER) is None
    with pytest.raises(RefusedLoginError, match="has not been approved"):
        log_in(hub, "bob", GOOD)
    hub.people.approve([each.request for each in hub.people.all(Standing.WAITING)])
    assert log_in(hub, "bob", GOOD) == "bob"
    assert log_in(hub, "carol", GOOD) is None


def test_a_reload_keeps_whoever_is_approved_and_no_one_else(tmp_path: Path) -> None:
    hub = made(SignUp, tmp_path)
    hub.people.grant("bob", "digest")
    hub.people.sign_up("eve", "hash", "", "192.0.2.1", is_taken=False)
    assert asyncio.run(is_allowed(hub, "bob")) is True
    assert asyncio.run(is_allowed(hub, "eve")) is False
    Path(hub.file).write_bytes(b"damaged" * 1000)
    assert asyncio.run(is_allowed(hub, "bob")) is None, "a damaged file locks no one out"
    with pytest.raises(RefusedLoginError, match="littlest-hub doctor"):
        log_in(hub, "bob", GOOD)


def test_names_of_administrators_and_of_the_system_are_taken(tmp_path: Path) -> None:
    hub = made(SignUp, tmp_path, admin_users={"boss"}, blocked_users={"eve"})
    taken = {each: asyncio.run(hub.is_taken(each)) for each in ("boss", "eve", "root", "bob")}
    assert taken == {"boss": True, "eve": True, "root": True, "bob": False}
