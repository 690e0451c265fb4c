"""Names of accounts: valid for any login, and never the same for two of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.stacks.classroom.accounts.names import (
    LONGEST,
    LONGEST_LOGIN_BYTES,
    candidates,
    is_login,
    is_reserved,
    plain,
)

VALID = re.compile(r"[a-z][a-z0-9_-]{0,30}")
PREFIXES = st.sampled_from(["", "jupyter-", "s_"])


@given(st.text(min_size=1, max_size=80), PREFIXES)
def test_any_login_gets_valid_names(login: str, prefix: str) -> None:
    found = list(candidates(login, prefix))
    assert len(found) >= 100
    assert len(set(found)) == len(found)
    for name in found:
        assert VALID.fullmatch(name), name
        assert name.startswith(prefix)


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60), PREFIXES)
def test_two_logins_do_not_have_the_same_first_name(one: str, other: str, prefix: str) -> None:
    if one != other:
        assert next(candidates(one, prefix)) != next(candidates(other, prefix))


@pytest.mark.parametrize(
    ("login", "prefix", "name"),
    [
        ("alice", "", "alice"),
        ("alice", "jupyter-", "jupyter-alice"),
        ("1st", "jupyter-", "jupyter-1st"),
    ],
)
def test_a_login_that_is_a_valid_name_is_kept(login: str, prefix: str, name: str) -> None:
    assert next(candidates(login, prefix)) == name


@pytest.mark.parametrize(
    ("login", "beginning"),
    [
        ("Alice", "jupyter-alice-"),
        ("alice@example.org", "jupyter-alice-example-"),
        ("Zoë von Ürzig", "jupyter-zoe-von-urzig-"),
        ("日本", "jupyter-user-"),
        ("a" * 60, "jupyter-aaaaaaaaaaaaaa-"),
    ],
)
def test_another_login_is_simplified_and_gets_a_digest(login: str, beginning: str) -> None:
    name = next(candidates(login, "jupyter-"))
    assert name.startswith(beginning)
    assert re.search(r"-[0-9a-f]{8}$", name)
    assert len(name) <= LONGEST


def test_a_name_without_a_prefix_begins_with_a_letter() -> None:
    assert next(candidates("1st", "")).startswith("u1st-")


@pytest.mark.parametrize("login", ["root", "ROOT", "admin", "sudo", "lhub-proxy", "ｒｏｏｔ"])  # noqa: RUF001
def test_names_of_the_system_are_reserved(login: str) -> None:
    assert is_reserved(login)
    assert not plain(login)
    assert login not in list(candidates(login, ""))


@pytest.mark.parametrize(
    "login", ["", " alice", "alice\n", "a/b", "a\0b", "-rf", "x" * (LONGEST_LOGIN_BYTES + 1)]
)
def test_what_is_no_name_of_a_user_is_refused(login: str) -> None:
    assert not is_login(login)


@pytest.mark.parametrize("login", ["alice", "Alice B.", "alice@example.org", "日本", "x" * 255])
def test_names_of_users_are_accepted(login: str) -> None:
    assert is_login(login)
