"""IP addresses that the hub may connect to for somebody else, since they belong to the internet.

A repository's host is chosen by whoever wrote a link. Its name is resolved once, by
`system.addresses`; what is connected to is an address from here, so that a second answer of the
name server changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from littlest_hub.errors import LittlestHubError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's registries of special-purpose addresses (RFC 6890), which Python's `is_global` knows
# differently from version to version.
_NOT_GLOBAL: tuple[Network, ...] = (
    *(
        IPv4Network(each)
        for each in (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24"),
            *("192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            # A service of Azure for the machine itself: its documentation, "What is IP address
            # 168.63.129.16?".
            "168.63.129.16/32",
        )
    ),
    *(
        IPv6Network(each)
        # Protocol assignments with Teredo and ORCHID, documentation, 6to4 and AS112. Teredo and
        # 6to4 contain IPv4 addresses, of which anybody may choose any.
        for each in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
    ),
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""The only global unicast addresses that IANA has assigned so far; RFC 4291, 2.4."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""Prefix with which an IPv6 network reaches IPv4; RFC 6052, 2.1."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks, such as 10.1.0.0/16, that a setting lists.

    Raises:
        LittlestHubError: one is none.
    """
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise LittlestHubError(
                f"{text!r} is no network ({error}); expected such as 10.1.0.0/16 or 10.1.2.3"
            ) from None
    return tuple(found)


def denied() -> tuple[Network, ...]:
    """Return all networks that are not of the internet, for the packet filter of a unit.

    It sees packets, so addresses of IPv4 that are mapped into IPv6 are those of IPv4.
    """
    elsewhere = (
        *IPv6Network("::/3").address_exclude(_NAT64),
        *(IPv6Network("4000::/2"), IPv6Network("8000::/1")),
    )
    through_nat64 = (
        IPv6Network((int(_NAT64[0]) | int(each[0]), 96 + each.prefixlen))
        for each in _NOT_GLOBAL
        if isinstance(each, IPv4Network)
    )
    return (*_NOT_GLOBAL, *sorted(elsewhere), *through_nat64)


def permitted(
    host: str,
    answers: Collection[str],
    excepted: Collection[Network] = (),
    own: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the addresses of a host to connect to, IPv4 first.

    Args:
        host: its name, for messages.
        answers: its addresses, as the name server has them.
        excepted: networks that are not public, and that the administrator permits.
        own: addresses of this machine, whose firewall may let more through from itself.

    Raises:
        LittlestHubError: it has none, or one of them is not permitted. Then none is: a mixture is
            no accident.
    """
    if not answers:
        raise LittlestHubError(f"{host} has no address")
    found = []
    for text in answers:
        try:
            address = ip_address(text)
        except ValueError:
            raise LittlestHubError(f"{host}: {text!r} is no IP address") from None
        if not _is_permitted(_embedded(address), excepted, own):
            raise LittlestHubError(
                f"{host} has the address {text}, which is not one of the internet; expected a"
                " public address, or one in a network that the administrator has listed"
            )
        found.append(address)
    return tuple(str(each) for each in sorted(set(found), key=lambda each: (each.version, each)))


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that the kernel or the network would connect to instead."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_permitted(address: Address, excepted: Collection[Network], own: Collection[str]) -> bool:
    if any(address in network for network in excepted):
        return True
    if str(address) in own or any(address in network for network in _NOT_GLOBAL):
        return False
    if isinstance(address, IPv6Address):
        return address in _GLOBAL_V6 and address.scope_id is None
    return True
