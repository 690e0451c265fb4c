"""Addresses of this machine and answers of the DNS."""

import socket
import threading

import pytest

from littlest_hub.system import addresses
from littlest_hub.system.addresses import (
    dns_problem,
    is_address,
    local_addresses,
    main_address,
    resolve,
    without_loopback,
)

pytestmark = pytest.mark.unit


def test_a_name_that_leads_to_another_machine_or_nowhere_is_a_problem() -> None:
    own = {"192.0.2.1", "127.0.0.1"}
    assert dns_problem("a.org", {"192.0.2.1", "2001:db8::1"}, own) == ""
    # From /etc/hosts: the DNS may say something else.
    assert dns_problem("a.org", {"127.0.1.1", "::1"}, own) == ""
    assert "leads to 192.0.2.9, which" in dns_problem("a.org", {"127.0.1.1", "192.0.2.9"}, own)
    assert "leads to 192.0.2.9" in dns_problem("a.org", {"192.0.2.9"}, own)
    assert "cannot be found (no such name)" in dns_problem("a.org", "no such name", own)


def test_the_addresses_of_this_machine_can_be_bound() -> None:
    found = local_addresses()
    assert "127.0.0.1" in found
    for address in found:
        # A link-local address would need its interface.
        if not address.startswith("fe80"):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family) as probe:
                probe.bind((address, 0))


def test_names_are_resolved_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(6, timeout=30)

    def getaddrinfo(name: str, port: None) -> list[tuple[object, ...]]:
        together.wait()
        if name == "missing":
            raise OSError(1, "no such name")
        return [(0, 0, 0, "", ("192.0.2.1", 0)), (0, 0, 0, "", ("2001:db8::1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answers = resolve(["a", "b", "c", "d", "e", "missing", "*.wild"])
    assert answers["a"] == answers["e"] == {"192.0.2.1", "2001:db8::1"}
    assert answers["missing"] == "no such name"
    assert answers["*.wild"] == set()


def test_a_name_server_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "LOOKUP_TIMEOUT_S", 0.1)
    is_over = threading.Event()

    def getaddrinfo(name: str, port: None) -> list[tuple[object, ...]]:
        is_over.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert resolve(["slow"]) == {"slow": "no answer within 0.1 s"}
    is_over.set()


def test_loopback_addresses_say_nothing_about_the_dns() -> None:
    found = {"127.0.1.1", "::1", "192.0.2.1", "fe80::1%eth0"}
    assert without_loopback(found) == {"192.0.2.1", "fe80::1%eth0"}


def test_an_ip_address_may_be_in_brackets() -> None:
    assert all(map(is_address, ["127.0.0.1", "::1", "[::1]", "192.0.2.1"]))
    assert not any(map(is_address, ["example.org", "", "1.2.3", "[]", "localhost"]))


def test_the_main_address_is_one_of_this_machine_that_others_can_reach() -> None:
    found = main_address()
    assert found in {"", *local_addresses()}
    assert not found.startswith(("127.", "fe80", "::1"))


def test_without_a_route_the_main_address_is_an_address_of_an_interface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    held = {"127.0.0.1", "::1", "fe80::1", "2001:db8::7", "198.51.100.20", "198.51.100.9"}
    monkeypatch.setattr(addresses, "local_addresses", lambda: held)
    assert main_address() == "198.51.100.9"
    monkeypatch.setattr(addresses, "local_addresses", lambda: {"127.0.0.1", "fe80::1"})
    assert main_address() == ""
