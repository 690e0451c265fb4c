"""The units of the builder, verified and judged by systemd itself."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.launch import address
from littlest_hub.stacks.launch.builder.starter import order_of
from littlest_hub.stacks.launch.builder.units import build_unit, units, user_of
from littlest_hub.stacks.launch.code.units import AT_ONCE, addresses_of, seen_by_builder
from littlest_hub.stacks.launch.environment.channels import ALIAS, Channels
from littlest_hub.units.unit import Unit, service_directives
from tests.unit import unit_files

LAYOUT = Layout(DEFAULT_BASE)
BUILD = "littlest-hub.launch-build@.service"
STARTER = "littlest-hub.launch-starter@.service"
CODE = "littlest-hub.launch-code-{}@.service"
CLEANING = "littlest-hub.launch-cleaning.service"


def found_units() -> list[Unit]:
    return [*units(LAYOUT, EnabledStack("launch"), ["10.1.0.0/16", "127.0.0.53"])]


def texts() -> dict[str, str]:
    return {unit.name: unit.text() for unit in found_units()}


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """All units as files, by name."""
    return unit_files.write(found_units(), tmp_path)


@pytest.mark.needs("systemd-analyze")
def test_systemd_verifies_the_units_without_a_warning(written: dict[str, Path]) -> None:
    assert unit_files.complaints(written.values(), "launch-") == []


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize(
    ("name", "exposure"),
    [(BUILD, 2.2), (CLEANING, 1.3), (STARTER, 1.8), (CODE.format(0), 1.1)],
)
def test_services_expose_little(written: dict[str, Path], name: str, exposure: float) -> None:
    unit_files.exposes_at_most(written[name], exposure)


def test_a_build_knows_the_channels_that_are_permitted() -> None:
    usual = f"127.0.0.53 conda-forge={ALIAS}/conda-forge\n"
    assert f"builder.program build %i 10.1.0.0/16 {usual}" in texts()[BUILD]
    channels = Channels({"own": "https://conda.example.org/own"})
    found = units(LAYOUT, EnabledStack("launch"), channels=channels)
    [own] = [each.text() for each in found if each.name == BUILD]
    assert "build %i own=https://conda.example.org/own\n" in own


def test_a_build_writes_to_one_directory_and_has_no_rights() -> None:
    found = service_directives(texts()[BUILD])
    assert [value for key, value in found if key == "ReadWritePaths"] == [
        "/opt/littlest-hub/environments/launch"
    ]
    assert ("User", "lhub-build") in found
    assert ("CapabilityBoundingSet", "") in found
    assert not [value for key, value in found if key.startswith("Exec") and value[0] in "+!-"]


def test_code_of_two_builds_has_different_users_and_no_network() -> None:
    found = [service_directives(texts()[CODE.format(number)]) for number in range(AT_ONCE)]
    users = {value for each in found for key, value in each if key == "User"}
    assert len(users) == AT_ONCE
    for number, each in enumerate(found):
        assert {("DynamicUser", "yes"), ("PrivateNetwork", "yes")} <= set(each)
        assert not [value for key, value in each if key == "ReadWritePaths"]
        memory = f"/run/littlest-hub.launch-code-{number}-tmp/%i"
        bound = [value for key, value in each if key == "BindPaths"]
        assert bound == [f"{memory}:/tmp {memory}:/var/tmp"]
        assert not [value for key, value in each if key.startswith("Exec") and value[0] in "+!-"]
        socket = texts()[CODE.format(number).replace("@.service", ".socket")]
        assert {"MaxConnections=1", "DirectoryMode=0700"} <= set(socket.splitlines())
    [*bound] = [v for k, v in service_directives(texts()[BUILD]) if k == "BindPaths"]
    both = zip(addresses_of(LAYOUT), seen_by_builder(LAYOUT), strict=True)
    assert bound == [f"-{address}:{path}" for address, path in both]


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
