"""Fixtures for the tests of packages."""

from pathlib import Path

import pytest

from tests.unit.packages.here import Installation


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "base")
