"""Addresses of this machine, and what names resolve to."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Collection
from pathlib import Path

from littlest_hub.system.tcp import family_of

LOOKUP_TIMEOUT_S = 3
_IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python has no name for it


def local_addresses() -> set[str]:
    """Return the IP addresses of this machine; 127.0.0.0/8 is represented by its first."""
    found = set(re.findall(r"\|-- (\S+)\n +/32 host LOCAL", _read(Path("/proc/net/fib_trie"))))
    for line in _read(Path("/proc/net/if_inet6")).splitlines():
        found.add(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    return found


def main_address() -> str:
    """Return the IP address by which other machines most likely reach this one; "": it has none.

    Packets to the internet would be sent from it. Without a route there, it is the first address
    that is not for this machine or its link alone.
    """
    for elsewhere in ("192.0.2.1", "2001:db8::1"):
        # Connecting UDP chooses a route and sends nothing. These addresses are for documentation
        # (RFC 5737, RFC 3849).
        kind = family_of(elsewhere), socket.SOCK_DGRAM
        with contextlib.suppress(OSError), socket.socket(*kind) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    found = [ipaddress.ip_address(address) for address in local_addresses()]
    others = [each for each in found if not (each.is_loopback or each.is_link_local)]
    return str(min(others, key=lambda each: (each.version, int(each)), default=""))


def nameservers() -> tuple[str, ...]:
    """Return the IP addresses that names are asked at (resolv.conf(5))."""
    found = re.findall(r"^nameserver[ \t]+([^\s%]+)", _read(Path("/etc/resolv.conf")), re.MULTILINE)
    return tuple(dict.fromkeys(each for each in found if is_address(each)))


def is_local(address: str) -> bool:
    """Return whether an IP address is one of this machine."""
    try:
        with socket.socket(family_of(address), socket.SOCK_STREAM) as probe:
            # It takes no port, of which none may be left.
            probe.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def is_ipv6_separate() -> bool:
    """Return whether an IPv6 socket takes no IPv4 connections by default (ip(7), ipv6(7))."""
    return _read(Path("/proc/sys/net/ipv6/bindv6only")).strip() == "1"


def addresses_of(host: str) -> set[str]:
    """Return the IP addresses of a host; none for a name that has none, or for ""."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)} if host else set()
    except (OSError, UnicodeError):
        return set()


def resolve(names: Collection[str]) -> dict[str, set[str] | str]:
    """Resolve host names, all at the same time.

    Returns:
        By name: its addresses, or the reason why there are none. A wildcard has none.
    """
    answers: dict[str, set[str] | str] = {
        name: set() if name.startswith("*.") else f"no answer within {LOOKUP_TIMEOUT_S} s"
        for name in names
    }

    def ask(name: str) -> None:
        try:
            answers[name] = {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
        except (OSError, UnicodeError) as error:
            answers[name] = str(getattr(error, "strerror", None) or error)

    asked = [name for name, answer in answers.items() if answer]
    # Daemon threads: the C library waits for an unreachable name server without a limit.
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in asked]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + LOOKUP_TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def dns_problem(name: str, answer: set[str] | str, own_addresses: Collection[str]) -> str:
    """Return why a name does not lead visitors to this machine; "": it does, as far as we know.

    Args:
        name: the host name.
        answer: its addresses, or the reason why there are none, of `resolve`.
        own_addresses: the addresses of this machine; none if they are unknown.
    """
    if isinstance(answer, str):
        return f"{name} cannot be found ({answer}); expected an entry for it in the DNS"
    public = without_loopback(answer)
    if public and own_addresses and not public & set(own_addresses):
        return (
            f"{name} leads to {', '.join(sorted(public))}, which is not an address of this machine;"
            " expected this machine's address, or one that forwards visitors to it"
        )
    return ""


def without_loopback(addresses: Collection[str]) -> set[str]:
    """Return the addresses that other machines may get for the same name.

    Debian's /etc/hosts maps a machine's own name to 127.0.1.1, which says nothing about the DNS.
    """
    # A link-local address has its interface after "%".
    return {a for a in addresses if not ipaddress.ip_address(a.partition("%")[0]).is_loopback}


def in_url(address: str) -> str:
    """Return an IP address as it is written in a URL: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def is_address(text: str) -> bool:
    """Return whether a text is an IP address; IPv6 may be in brackets."""
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
