"""The selection of `make quick`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quick import LEFT_OUT, UNIT_TESTS, is_quick, third_party

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("file", ["test_layers.py", "test_layout.py", "test_quick.py"])
def test_pure_logic_is_quick(file: str) -> None:
    assert is_quick(UNIT_TESTS / file)


@pytest.mark.parametrize(
    ("lines", "package"),
    [
        ("import jupyterhub", "jupyterhub"),
        ("def f():\n    from littlest_hub.hub import config", "traitlets"),
        ("from construct import solve", "rattler"),
    ],
)
def test_imports_are_found_in_functions_and_behind_our_modules(
    lines: str, package: str, tmp_path: Path
) -> None:
    file = tmp_path / "test_own.py"
    file.write_text(lines)
    assert package in third_party(file)
    assert package in LEFT_OUT


def test_tests_of_the_hub_and_other_tiers_are_not_quick() -> None:
    assert not is_quick(UNIT_TESTS / "hub" / "test_config.py")
    assert not is_quick(UNIT_TESTS.parent / "container" / "test_proxy.py")
