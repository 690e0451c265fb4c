"""Recipes, exclusions and advisories are read, or refused with a line, whatever they contain."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from construct import advisory_list, exclusions, recipe
from littlest_hub.errors import LittlestHubError

ROOT = Path(recipe.__file__).parents[1]
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.dates()
SHAPES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(SCALARS, inner, max_size=2),
    max_leaves=4,
)


def read_recipe(path: Path) -> object:
    return recipe.read_recipe(path.parent)


@pytest.mark.parametrize(
    ("read", "example"),
    [
        (read_recipe, "recipe/python/recipe.yaml"),
        (exclusions.read, "recipe/exclusions.yaml"),
        (advisory_list.read, "construct/advisories.yaml"),
    ],
)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_shape_is_read_or_refused_with_a_line(
    read: Callable[[Path], object], example: str, data: st.DataObject
) -> None:
    whole = changed(start_of(example), data)
    refusal = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(yaml.safe_dump(whole))
        try:
            read(path)
        except LittlestHubError as error:
            refusal = error.message
    assert refusal is None or re.match(r".*/recipe\.yaml:\d+: ", refusal)


@cache
def start_of(example: str) -> object:
    """Return one of our files, or the first entries of a list."""
    whole = yaml.safe_load((ROOT / example).read_text())
    return whole[:2] if isinstance(whole, list) else whole


def changed(whole: object, data: st.DataObject) -> object:
    """Return a document with another value at one place."""
    if not isinstance(whole, dict | list) or not whole or data.draw(st.booleans()):
        return data.draw(SHAPES)
    if isinstance(whole, dict):
        key = data.draw(st.sampled_from(sorted(whole)))
        return whole | {key: changed(whole[key], data)}
    number = data.draw(st.integers(0, len(whole) - 1))
    return [*whole[:number], changed(whole[number], data), *whole[number + 1 :]]
