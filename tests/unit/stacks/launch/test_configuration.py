"""The configuration to which somebody says yes: valid, with an id that changes with each field."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.configuration import (
    Caps,
    Configuration,
    FormError,
    of_form,
    of_json,
)
from littlest_hub.stacks.launch.links import Form
from littlest_hub.stacks.launch.repository import Policy

POLICY, CAPS = Policy(), Caps(memory_gb=4, processors=2, hours=8)
COMMIT, LATER = "0123456789" * 4, "9876543210" * 4
FULL = Form("gh/org/repo/main", "", "w 1/a.ipynb", "", "course", "1.5", "0.5", "2")
CONFIGURATION = Configuration(
    "https://github.com/org/repo", "main", COMMIT, "w 1/a.ipynb", "", "course", 1536, 50, 120
)
OTHER: dict[str, Any] = {
    "repository": "https://github.com/org/other",
    "ref": "dev",
    "commit": LATER,
    "path": "b.ipynb",
    "urlpath": "rstudio",
    "name": "course-2",
    "memory_mb": 2048,
    "cpu_percent": 100,
    "minutes": 60,
    "as_of": "2026-05-01",
    "built": "alpha beta",
    "mounts": "data",
    "share": "bob carol",
    "temporary": True,
    "private": True,
    "webdav": "https://cloud.example.org/data",
}


def test_a_form_becomes_a_configuration_at_a_commit() -> None:
    assert of_form(FULL, POLICY, CAPS).at(COMMIT) == CONFIGURATION


def test_what_is_left_out_is_usual_and_not_in_the_canonical_form() -> None:
    found = of_form(Form("https://github.com/org/repo.git"), POLICY, CAPS)
    assert found == Configuration("https://github.com/org/repo")
    assert found.canonical == '{"repository":"https://github.com/org/repo"}'
    # Ids are in the records of hubs: they stay what they are.
    assert found.id == "fe4f18a134264a86a69701798c22c159dd1ce4d6f256eaa7c964e526f036de79"


def test_ways_to_name_the_same_have_the_same_id() -> None:
    forms = (
        Form("gh/org/repo/main"),
        Form("https://github.com/org/repo", "main"),
        Form(" https://GITHUB.com/org/repo.git/ ", " main ", "/", memory_gb=" "),
        Form("gh/org/repo/main", "main"),
    )
    assert len({of_form(form, POLICY, CAPS).id for form in forms}) == 1


@pytest.mark.parametrize("field", [each.name for each in fields(Configuration)])
def test_each_field_changes_the_id_and_is_named_as_the_change(field: str) -> None:
    other = replace(CONFIGURATION, **{field: OTHER[field]})
    assert other.id != CONFIGURATION.id
    assert CONFIGURATION.changes(other) == (field,)
    assert not CONFIGURATION.is_among({other.id})


def test_the_same_has_no_changes() -> None:
    assert CONFIGURATION.changes(of_json(CONFIGURATION.canonical)) == ()


def test_an_approval_is_for_one_commit_or_for_whichever_the_ref_has() -> None:
    later = CONFIGURATION.at(LATER)
    assert CONFIGURATION.is_among({CONFIGURATION.id})
    assert not later.is_among({CONFIGURATION.id})
    assert later.is_among({of_form(FULL, POLICY, CAPS).id})
    assert not CONFIGURATION.is_among(set())


configurations = st.builds(
    Configuration,
    *[st.text(st.characters(exclude_categories=["Cs"]), max_size=9)] * 6,
    *[st.integers(0, 10**6)] * 3,
)


@given(configurations, configurations)
def test_the_canonical_form_is_ascii_comes_back_and_is_unique(
    one: Configuration, two: Configuration
) -> None:
    assert one.canonical.isascii()
    assert of_json(one.canonical) == one
    assert (one.id == two.id) is (one == two)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "3", "{}", '{"ref":"main"}', '{"repository":3}', "{" * 10_000, "[" * 100_000),
        '{"repository":"x","later":"field"}',
        '{"repository": "x"}',
        '{"ref":"","repository":"x"}',
        '{"minutes":true,"repository":"x"}',
        '{"minutes":1.0,"repository":"x"}',
        '{"repository":"x","repository":"x"}',
    ],
)
def test_what_this_release_has_not_written_is_refused(text: str) -> None:
    with pytest.raises(LittlestHubError, match="no configuration that this release has written"):
        of_json(text)


def test_the_page_that_opens_is_a_file_or_another_page() -> None:
    assert CONFIGURATION.page == "lab/tree/w%201/a.ipynb"
    assert replace(CONFIGURATION, path="").page == "lab"
    assert replace(CONFIGURATION, path="", urlpath="rstudio").page == "rstudio"


@pytest.mark.parametrize("commit", ["main", COMMIT[:7], "", f"{COMMIT}\n"])
def test_a_commit_is_named_in_full(commit: str) -> None:
    with pytest.raises(LittlestHubError, match="no full name of a commit"):
        CONFIGURATION.at(commit)


@pytest.mark.parametrize(
    ("form", "problems"),
    [
        (Form(), {"repo": "expected the address of a git repository"}),
        (
            Form("ext::x", "-x", "../x", "a?b", "A", "5", "x", "-1"),
            {
                "repo": "expected the address of a git repository",
                "ref": "no branch, tag or commit",
                "path": "no path in the repository",
                "urlpath": "no page of a server",
                "name": "cannot be the name of a server",
                "memory_gb": "found '5', expected a number from 0.25 to 4",
                "processors": "found 'x', expected a number from 0.1 to 2",
                "hours": "found '-1', expected a number from 0.25 to 8",
            },
        ),
        (Form("gh/org/repo/main", "dev"), {"ref": "expected nothing, or main"}),
        (Form("gh/org/repo", "", "a", "b"), {"urlpath": "expected a file or a page, found both"}),
        (Form("gh/org/repo", hours="1e3"), {"hours": "found '1e3'"}),
        (Form("gh/org/repo", hours="nan"), {"hours": "found 'nan'"}),
        (Form("gh/org/repo", as_of="2026-02-30"), {"as_of": "expected a date such as"}),
        (Form("gh/org/repo", as_of="20260201"), {"as_of": "found '20260201'"}),
        (Form("gh/org/repo", built="alpha -x"), {"built": "found '-x', expected names"}),
        (Form("gh/org/repo", built="a " * 51), {"built": "found 51 names, expected at most 50"}),
        (Form("gh/org/repo", hours="\u0662"), {"hours": "expected a number"}),
        (Form("gh/org/repo", memory_gb="0"), {"memory_gb": "found '0'"}),
    ],
)
def test_all_that_is_wrong_is_said_by_field(form: Form, problems: dict[str, str]) -> None:
    with pytest.raises(FormError) as error:
        of_form(form, POLICY, CAPS)
    assert error.value.problems.keys() == problems.keys()
    for name, text in problems.items():
        assert text in error.value.problems[name]
        assert f"{name}: " in error.value.message


def test_what_has_no_cap_cannot_be_chosen() -> None:
    with pytest.raises(FormError, match="hours: it cannot be chosen at this hub"):
        of_form(Form("gh/org/repo", hours="1"), POLICY, Caps(memory_gb=1))


def test_the_canonical_form_has_the_names_of_the_fields() -> None:
    assert json.loads(CONFIGURATION.canonical).keys() == OTHER.keys() - {
        "urlpath",
        "as_of",
        "built",
        "mounts",
        "share",
        "private",
        "temporary",
        "webdav",
    }


def test_names_of_packages_that_are_built_have_one_spelling() -> None:
    texts = ("b,A", " a  B ", "a b", "A, b, a")
    assert {of_form(Form("gh/org/repo", built=text), POLICY, CAPS).built for text in texts} == {
        "a b"
    }
