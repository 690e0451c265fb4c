"""The units of the builder, verified and judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import address
from littlest_hub.stacks.launch.builder_units import build_unit, units, user_of
from littlest_hub.stacks.launch.starter import order_of
from littlest_hub.units.unit import service_directives

LAYOUT = Layout(DEFAULT_BASE)
BUILD = "littlest-hub.launch-build@.service"
STARTER = "littlest-hub.launch-starter@.service"
CLEANING = "littlest-hub.launch-cleaning.service"


def texts() -> dict[str, str]:
    excepted = (IPv4Network("10.1.0.0/16"),)
    found = units(LAYOUT, EnabledStack("launch"), excepted, ("127.0.0.53",))
    return {unit.name: unit.text() for unit in found}


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units as files, by name; their commands exist."""
    files = {}
    for name, text in texts().items():
        files[name] = tmp_path / name
        files[name].write_text(re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", text, flags=re.M))
    return files


@pytest.mark.needs("systemd-analyze")
def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *written.values()],
        capture_output=True,
        text=True,
    )
    assert [line for line in verify.stderr.splitlines() if "launch-" in line] == []


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize(("name", "exposure"), [(BUILD, 2.2), (CLEANING, 1.3), (STARTER, 1.8)])
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    threshold = f"--threshold={exposure * 10:.0f}"
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", threshold, written[name]],
        capture_output=True,
        text=True,
        env={"SYSTEMD_COLORS": "0", "COLUMNS": "120", "PATH": "/usr/bin:/bin"},
    )
    assert security.returncode == 0, security.stdout


def test_a_build_writes_to_one_directory_and_has_no_rights() -> None:
    found = service_directives(texts()[BUILD])
    assert [value for key, value in found if key == "ReadWritePaths"] == [
        "/opt/littlest-hub/environments/launch"
    ]
    assert ("User", "lhub-build") in found
    assert ("CapabilityBoundingSet", "") in found
    assert not [value for key, value in found if key.startswith("Exec") and value[0] in "+!-"]


def test_the_name_of_the_user_fits_whatever_the_hub_is_called() -> None:
    assert len(user_of(Layout(Path("/opt") / ("x" * 20)))) <= 31
    assert build_unit(LAYOUT, "0" * 64) == f"littlest-hub.launch-build@{'0' * 64}.service"


@given(st.ip_addresses())
def test_the_firewall_denies_what_the_resolver_does_not_permit(found: object) -> None:
    given_address = ip_address(str(found).partition("%")[0])
    denied = any(given_address in network for network in address.denied())
    try:
        address.permitted("example.org", [str(given_address)])
        permitted = True
    except LittlestHubError:
        permitted = False
    # An IPv4 address in an IPv6 one: the kernel connects to the former, which is judged then.
    embeds = given_address in ip_network("::ffff:0:0/96") or given_address in ip_network(
        "64:ff9b::/96"
    )
    assert permitted != denied or embeds


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"\n",
        b'{"order": "../../etc"}',
        b'{"order": 1}',
        b'{"order": ["a"]}',
        b'["order"]',
        b'{"order": "' + b"0" * 64 + b'\\n"}',
        b"[" * 200,
        b'{"order": "' + b"A" * 64 + b'"}',
    ],
)
def test_the_starter_takes_the_id_of_an_order_and_nothing_else(request_line: bytes) -> None:
    assert order_of(b'{"order": "' + b"0" * 64 + b'", "more": 1}\n') == "0" * 64
    with pytest.raises(LittlestHubError, match=r"expected the id of an order|is no key"):
        order_of(request_line)
