"""Names of launched servers: JupyterHub accepts each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub.slugs import is_valid_safe_slug

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.repository import Repository
from littlest_hub.stacks.launch.server_name import another, checked, random, suggested


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/org/Course_2026.git", "course-2026"),
        (
            "https://github.com/org/python-data-science-handbook-notebooks",
            "python-data-science-handbook-n",
        ),
        ("https://gist.github.com/user/0123abcd", "x-0123abcd"),
        ("https://git.example.org/--", "x"),
    ],
)
def test_a_name_is_suggested_from_the_repositorys(url: str, name: str) -> None:
    assert suggested(Repository(url)) == name


@given(st.text(min_size=1, max_size=60).filter(lambda text: "/" not in text))
def test_each_suggestion_is_valid(text: str) -> None:
    name = suggested(Repository(f"https://git.example.org/{text}"))
    assert is_valid_safe_slug(name)
    assert checked(name) == name


def test_random_names_are_valid_and_differ() -> None:
    names = {random() for _ in range(100)}
    assert len(names) == 100
    assert all(map(is_valid_safe_slug, names))


def test_another_name_is_the_first_that_is_free() -> None:
    assert another("course", ()) == "course"
    assert another("course", {"course", "course-2"}) == "course-3"
    long = "a" * 27 + "-bb"
    assert another(long, {long}) == "a" * 27 + "-2"
    assert is_valid_safe_slug(another(long, {long}))


@pytest.mark.parametrize(
    "name", ["A", "1a", "a--b", "a-", "-a", "a b", "a/b", "\u00fc", "a" * 31, "a\nb", "a_b"]
)
def test_a_name_that_jupyterhub_refuses_is_refused_with_the_rules(name: str) -> None:
    with pytest.raises(LittlestHubError, match="at most 30 lower-case letters"):
        checked(name)


def test_no_name_stays_none() -> None:
    assert checked(" ") == ""
