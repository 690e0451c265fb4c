"""The units of the service, verified and judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import builder_units
from littlest_hub.stacks.launch.pages import VARIABLES
from littlest_hub.stacks.launch.resolver import units as resolver
from littlest_hub.stacks.launch.service_units import units
from littlest_hub.units.unit import service_directives

LAYOUT, STACK = Layout(DEFAULT_BASE), EnabledStack("launch", port=9000)
SERVICE = "littlest-hub.launch.service"


def texts() -> dict[str, str]:
    return {unit.name: unit.text() for unit in units(LAYOUT, STACK)}


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units as files, by name, with those that they need; their commands exist."""
    files = {}
    others = (*resolver.units(LAYOUT, STACK), *builder_units.units(LAYOUT, STACK))
    found = {**texts(), **{unit.name: unit.text() for unit in others}}
    for name, text in found.items():
        files[name] = tmp_path / name
        command = re.sub(r"^(Exec\w+=[-+]*)\S+", r"\1/bin/true", text, flags=re.M)
        files[name].write_text(re.sub(r"^StandardInput=file:.*\n", "", command, flags=re.M))
    return files


@pytest.mark.needs("systemd-analyze")
def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *written.values()],
        capture_output=True,
        text=True,
    )
    assert [line for line in verify.stderr.splitlines() if "launch" in line] == []


@pytest.mark.needs("systemd-analyze")
def test_the_service_exposes_little(written: dict[str, Path]) -> None:
    security = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes"),
            *("--threshold=16", written[SERVICE]),
        ],
        capture_output=True,
        text=True,
        env={"SYSTEMD_COLORS": "0", "COLUMNS": "120", "PATH": "/usr/bin:/bin"},
    )
    assert security.returncode == 0, security.stdout


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
    # Of the base directory it sees what is not hidden.
    assert told[VARIABLES["logs"]] == "/opt/littlest-hub/environments/launch/logs"


def test_the_service_writes_to_its_own_directory_only() -> None:
    found = service_directives(texts()[SERVICE])
    writable = [value for key, value in found if key == "BindPaths" and ".socket" not in value]
    assert writable == ["/opt/littlest-hub/state/stacks/launch/data"]
    assert not [value for key, value in found if key == "ReadWritePaths"]
