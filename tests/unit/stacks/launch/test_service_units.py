"""The units of the service, verified and judged by systemd itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch.builder import units as builder_units
from littlest_hub.stacks.launch.pages import VARIABLES
from littlest_hub.stacks.launch.resolver import units as resolver
from littlest_hub.stacks.launch.service.units import units
from littlest_hub.units.unit import service_directives
from tests.unit import unit_files

LAYOUT, STACK = Layout(DEFAULT_BASE), EnabledStack("launch", port=9000)
SERVICE = "littlest-hub.launch.service"


def texts() -> dict[str, str]:
    return {unit.name: unit.text() for unit in units(LAYOUT, STACK)}


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units as files, by name, with those that they need."""
    others = (*resolver.units(LAYOUT, STACK), *builder_units.units(LAYOUT, STACK))
    return unit_files.write((*units(LAYOUT, STACK), *others), tmp_path)


@pytest.mark.needs("systemd-analyze")
def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    assert unit_files.complaints(written.values(), "launch") == []


@pytest.mark.needs("systemd-analyze")
def test_the_service_exposes_little(written: dict[str, Path]) -> None:
    unit_files.exposes_at_most(written[SERVICE], 1.6)


def test_what_the_service_is_told_is_in_its_view() -> None:
    found = service_directives(texts()[SERVICE])
    bound = {
        value.rpartition(":")[2]
        for key, value in found
        if key in ("BindPaths", "BindReadOnlyPaths")
    }
    told = dict(value.split("=", 1) for key, value in found if key == "Environment")
    for name in ("resolver", "starter", "sources"):
        assert told[VARIABLES[name]] in bound
    # It sees those parts of the base directory that are not hidden.
    assert told[VARIABLES["logs"]] == "/opt/littlest-hub/environments/launch/logs"


def test_the_service_writes_to_its_own_directory_only() -> None:
    found = service_directives(texts()[SERVICE])
    writable = [value for key, value in found if key == "BindPaths" and ".socket" not in value]
    assert writable == ["/opt/littlest-hub/state/stacks/launch/data"]
    assert not [value for key, value in found if key == "ReadWritePaths"]
