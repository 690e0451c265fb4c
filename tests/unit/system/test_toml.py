"""TOML as traefik reads it, of whatever a fragment puts into a dictionary."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.system.toml import to_toml


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"codes": {"500", "400-499"}}, {"codes": ["400-499", "500"]}),
        ({"codes": frozenset({1})}, {"codes": [1]}),
        ({"codes": ("a", None, "b"), "none": None}, {"codes": ["a", "b"]}),
        ({"a": {"b": None, "c": [{"d": None, "e": 1}]}}, {"a": {"c": [{"e": 1}]}}),
        ({1: "one"}, {"1": "one"}),
    ],
)
def test_sets_tuples_and_none_become_arrays_and_nothing(
    data: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert tomllib.loads(to_toml(data)) == expected


def test_what_has_no_equivalent_in_toml_is_an_error_of_its_type() -> None:
    with pytest.raises(TypeError, match="Path"):
        to_toml({"file": Path("/x")})
