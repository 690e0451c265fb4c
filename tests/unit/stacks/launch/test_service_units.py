"""The units of the service and of the starter of builds, and the starter's only request."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch.pages import VARIABLES
from littlest_hub.stacks.launch.resolver import units as resolver
from littlest_hub.stacks.launch.service_units import units
from littlest_hub.stacks.launch.starter import answer
from littlest_hub.units.unit import service_directives

LAYOUT, STACK = Layout(DEFAULT_BASE), EnabledStack("launch", port=9000)
SERVICE, STARTER = "littlest-hub.launch.service", "littlest-hub.launch-starter@.service"
ID = "ab" * 32


def texts() -> dict[str, str]:
    return {unit.name: unit.text() for unit in units(LAYOUT, STACK)}


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units as files, by name, with those that they need; their commands exist."""
    files = {}
    found = {**texts(), **{unit.name: unit.text() for unit in resolver.units(LAYOUT, STACK)}}
    for name, text in found.items():
        files[name] = tmp_path / name
        command = re.sub(r"^(Exec\w+=[-+]*)/\S+", r"\1/bin/true", text, flags=re.M)
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
@pytest.mark.parametrize(("name", "exposure"), [(SERVICE, 1.6), (STARTER, 2.0)])
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    security = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes"),
            *(f"--threshold={exposure * 10:.0f}", written[name]),
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


def test_the_starter_is_root_without_capabilities_and_network() -> None:
    found = service_directives(texts()[STARTER])
    assert ("CapabilityBoundingSet", "") in found
    assert ("PrivateNetwork", "yes") in found
    assert not [value for key, value in found if key in ("User", "DynamicUser", "ReadWritePaths")]


def test_the_starter_starts_the_order_that_is_named() -> None:
    started: list[str] = []
    assert answer(json.dumps({"order": ID}).encode(), started.append) == {"ended": {}}
    assert started == [ID]


@pytest.mark.parametrize(
    "request_",
    [
        *(b"", b"{", b"[]", b"null", b"[" * 199, b"\xff"),
        *(b'{"order": "x"}', b'{"order": 1}', b'{"order": null}', b'{"unit": "ssh.service"}'),
        json.dumps({"order": f"{ID}.service"}).encode(),
        json.dumps({"order": f"{ID}\n"}).encode(),
        json.dumps({"order": "../" + ID}).encode(),
        json.dumps({"order": ID.upper()}).encode(),
        json.dumps({"order": ID, "command": "id"}).encode(),
        json.dumps({"order": ID}).encode() + b" " * 200,
    ],
)
def test_the_starter_starts_nothing_else(request_: bytes) -> None:
    started: list[str] = []
    assert "refused" in answer(request_, started.append)
    assert started == []


def test_the_starter_says_why_systemd_refuses() -> None:
    def refuse(_: str) -> None:
        raise LittlestHubError("systemctl start took too long", "Look at it")

    found = answer(json.dumps({"order": ID}).encode(), refuse)
    assert found == {"refused": "systemctl start took too long", "hint": "Look at it"}
