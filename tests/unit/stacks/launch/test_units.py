"""The units of the launch stack, verified and judged by systemd itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import units as all_units
from littlest_hub.stacks.launch.resolver.units import settings_of, units
from tests.unit import unit_files

RESOLVER = "littlest-hub.launch-resolver@.service"
NAMES = [
    "littlest-hub.launch-sources.service",
    *("littlest-hub.launch-resolver.socket", RESOLVER),
    *("littlest-hub.launch-names.socket", "littlest-hub.launch-names@.service"),
]
STACK = EnabledStack("launch", port=8123)
needs_systemd = pytest.mark.needs("systemd-analyze")


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units of the resolver as files, by name."""
    return unit_files.write(units(Layout(DEFAULT_BASE), STACK), tmp_path)


@needs_systemd
def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    assert [*written] == NAMES
    assert unit_files.complaints(written.values(), "launch-") == []


@needs_systemd
@pytest.mark.parametrize(
    ("name", "exposure"), [("resolver@", 1.1), ("names@", 1.1), ("sources", 2.2)]
)
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    unit_files.exposes_at_most(written[f"littlest-hub.launch-{name}.service"], exposure)


def test_networks_of_the_settings_are_let_through_and_no_others(tmp_path: Path) -> None:
    layout = Layout(DEFAULT_BASE, root=tmp_path)
    file = layout.on_disk(settings_of(layout))
    file.parent.mkdir(parents=True)

    def allowed() -> list[str]:
        service = {
            each.name: each for each in all_units.units(layout, EnabledStack("launch", port=8123))
        }[RESOLVER]
        found = service.sections["Service"]
        assert "127.0.0.0/8" in " ".join(e.value for e in found if e.key == "IPAddressDeny")
        return [each.value for each in found if each.key == "IPAddressAllow"]

    assert allowed() == []
    file.write_text(json.dumps({"networks": ["10.1.0.0/16", "fd00::/64"]}))
    assert allowed() == ["10.1.0.0/16 fd00::/64"]
    file.write_text(json.dumps({"networks": ["any"]}))
    with pytest.raises(LittlestHubError, match="'any' is no network"):
        allowed()


@needs_systemd
def test_systemd_verifies_the_units_that_follow_the_fragment(tmp_path: Path) -> None:
    layout = Layout(DEFAULT_BASE, root=tmp_path)
    found = [
        each
        for each in all_units.units(layout, STACK)
        if "-permissions" in each.name or "-kept" in each.name
    ]
    files = unit_files.write(found, tmp_path)
    assert unit_files.complaints(files.values(), "launch-") == []
    unit_files.exposes_at_most(files["littlest-hub.launch-permissions.service"], 2.2)
