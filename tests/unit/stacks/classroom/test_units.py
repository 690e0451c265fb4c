"""The units of the class stack, verified and judged by systemd itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.classroom.units import units
from tests.unit import unit_files

pytestmark = pytest.mark.needs("systemd-analyze")


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units of the stack as files, by name."""
    return unit_files.write(units(Layout(DEFAULT_BASE), EnabledStack("class")), tmp_path)


def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    assert unit_files.complaints(written.values(), "class-") == []


@pytest.mark.row(16)
@pytest.mark.parametrize(
    ("name", "exposure"), [("accounts@", 7.5), ("environment@", 1.9), ("disk", 1.5)]
)
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    unit_files.exposes_at_most(written[f"littlest-hub.class-{name}.service"], exposure)
