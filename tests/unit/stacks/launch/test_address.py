"""Addresses that may be connected to for somebody else: the internet's, and listed ones."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.launch.address import denied, networks, permitted

PUBLIC_V4, PUBLIC_V6 = "140.82.121.4", "2606:50c0:8000::153"


def test_public_addresses_are_permitted_and_ipv4_comes_first() -> None:
    assert permitted("git.example.org", [PUBLIC_V6, "9.9.9.9", PUBLIC_V4, "9.9.9.9"]) == (
        *("9.9.9.9", PUBLIC_V4, PUBLIC_V6),
    )


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "100.64.0.1",
        ),
        *("169.254.169.254", "192.0.0.192", "192.0.2.1", "198.18.0.1", "203.0.113.7", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
        *("::1", "::", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1"),
        *("2001:db8::1", "2001::1", "2001:10::1", "3fff::1", "5f00::1", "4000::1"),
        # IPv4 addresses in IPv6 ones: mapped, compatible, NAT64, 6to4, Teredo, ISATAP.
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8", "2002:7f00:1::"),
        *("2002:0808:0808::", "2001:0:7f00:1::", "fe80::5efe:127.0.0.1"),
        "2606:50c0:8000::153%eth0",
    ],
)
def test_an_address_that_is_not_the_internets_is_refused_even_beside_one_that_is(
    address: str,
) -> None:
    for answers in ([address], [PUBLIC_V4, address]):
        with pytest.raises(LittlestHubError, match="not one of the internet"):
            permitted("git.example.org", answers)


@pytest.mark.parametrize("address", ["64:ff9b::8c52:7904", "::ffff:140.82.121.4"])
def test_a_public_ipv4_address_may_be_reached_through_ipv6(address: str) -> None:
    (found,) = permitted("git.example.org", [address])
    assert ip_address(found) == ip_address(address)


@pytest.mark.parametrize("text", ["010.0.0.1", "127.1", "0x7f000001", "localhost", "", "1.2.3.4\n"])
def test_what_is_no_address_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(LittlestHubError, match="no IP address"):
        permitted("git.example.org", [text])


def test_a_host_without_addresses_is_named() -> None:
    with pytest.raises(LittlestHubError, match=r"git\.example\.org has no address"):
        permitted("git.example.org", [])


def test_an_administrator_lists_networks_and_nothing_beside_them() -> None:
    listed = networks(["10.1.0.0/16", "fd00::/64", "127.0.0.1"])
    answers = ["10.1.2.3", "fd00::5", "::ffff:10.1.2.4", "127.0.0.1", PUBLIC_V4]
    assert len(permitted("gitlab.internal", answers, listed)) == len(answers)
    for address in ("10.2.0.1", "fd00:0:0:1::1", "127.0.0.2"):
        with pytest.raises(LittlestHubError):
            permitted("gitlab.internal", [address], listed)


@pytest.mark.parametrize("text", ["10.1.0.1/16", "10.1", "gitlab.internal", "10.0.0.0/33"])
def test_a_wrong_network_in_a_setting_is_named(text: str) -> None:
    with pytest.raises(LittlestHubError, match=f"'{text}' is no network"):
        networks([text])


def test_the_machines_own_public_address_is_refused_unless_it_is_listed() -> None:
    own = {PUBLIC_V4, PUBLIC_V6}
    for address in (*own, f"::ffff:{PUBLIC_V4}"):
        with pytest.raises(LittlestHubError):
            permitted("hub.example.org", [address], own=own)
    assert permitted("hub.example.org", [PUBLIC_V4], networks([PUBLIC_V4]), own) == (PUBLIC_V4,)


@given(st.ip_addresses())
def test_python_knows_no_permitted_address_that_is_not_global(
    address: IPv4Address | IPv6Address,
) -> None:
    try:
        permitted("git.example.org", [str(address)])
    except LittlestHubError:
        return
    inner = getattr(address, "ipv4_mapped", None) or address
    is_nat64 = str(address).startswith("64:ff9b::")
    assert is_nat64 or (inner.is_global and not inner.is_multicast and not inner.is_reserved)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_an_ipv6_one_is_judged_as_itself(address: IPv4Address) -> None:
    def is_permitted(text: str) -> bool:
        try:
            return bool(permitted("git.example.org", [text]))
        except LittlestHubError:
            return False

    expected = is_permitted(str(address))
    assert is_permitted(f"::ffff:{address}") is expected
    assert is_permitted(f"64:ff9b::{address}") is expected


@given(
    st.one_of(
        st.ip_addresses(),
        st.sampled_from([*denied()]).flatmap(
            lambda network: st.sampled_from(
                [network[0], network[-1], network[0] - 1 if int(network[0]) else network[0]]
            )
        ),
        st.integers(0, 2**32 - 1).map(lambda low: IPv6Address(int(IPv6Address("64:ff9b::")) | low)),
    )
)
def test_the_filter_of_a_unit_denies_what_is_not_permitted(
    address: IPv4Address | IPv6Address,
) -> None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return  # the kernel sends these as IPv4
    is_denied = any(address in network for network in denied())
    try:
        permitted("git.example.org", [str(address)])
    except LittlestHubError:
        assert is_denied
    else:
        assert not is_denied
