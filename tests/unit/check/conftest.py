"""Fixtures for the tests of the check."""

from pathlib import Path

import pytest

from littlest_hub.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation without fragments."""
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    layout.state.mkdir()
    return layout
