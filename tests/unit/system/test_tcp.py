"""Listening sockets and their owners."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from littlest_hub.system import cgroups, tcp
from littlest_hub.system.tcp import (
    SocketOwner,
    describe_listener,
    listener_at,
    listeners,
    parse,
    processes_of,
)
from tests.network import free_port

pytestmark = pytest.mark.unit

LISTEN = """
import socket
with socket.create_server(("127.0.0.1", 0)) as s:
    print(s.getsockname()[1], flush=True)
    input()
"""


def test_the_program_that_listens_at_a_port_is_named() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        port = int(process.stdout.readline())
        try:
            assert f"(process {process.pid})" in describe_listener(port)
        finally:
            process.stdin.write("\n")
            process.stdin.flush()
    assert describe_listener(port) == ""


@pytest.mark.needs("root")
def test_without_permission_to_see_programs_the_unit_or_user_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        code = (
            "import os; from littlest_hub.system.tcp import describe_listener;"
            "os.setgroups([]); os.setuid(65534);"
            f"print(describe_listener({held.getsockname()[1]}))"
        )
        seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    answer = seen.stdout.strip()
    assert answer.endswith((".service", ".scope", "user root")), (seen.stdout, seen.stderr)


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0
   1: 0100007F:8E5F 0100007F:3A99 01 00000000:00000000 00:00000000 00000000  1001        0 18 1 0
"""
TABLE6 = """\
 sl local_address                         remote_address                        st ...
 0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 33 0 19
 1: 000080FE00000000FF005450B6AD1DFE:01BB 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 20
"""


def test_the_kernels_tables_are_read_in_ipv4_and_ipv6() -> None:
    found = [(one.address, one.port, one.uid, one.inode) for one in parse(TABLE)]
    assert found == [("127.0.0.1", 15001, 0, 17)]
    found = [(one.address, one.port, one.uid, one.inode) for one in parse(TABLE6)]
    assert found == [("::", 80, 33, 19), ("fe80::5054:ff:fe1d:adb6", 443, 0, 20)]


def test_a_listening_socket_has_address_owner_and_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        (found,) = (one for one in listeners() if one.port == port)
        inode = os.fstat(held.fileno()).st_ino
        assert (found.address, found.uid, found.inode) == ("127.0.0.1", os.geteuid(), inode)
        owner = listener_at("127.0.0.1", port)
        assert owner
        assert (owner.uid, owner.inode) == (os.geteuid(), inode)
        assert processes_of([inode, 1]) == {inode: os.getpid()}


def test_each_socket_at_a_port_has_the_cgroup_of_its_unit() -> None:
    ours = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip()
    with socket.create_server(("127.0.0.1", 0)) as one:
        found = listener_at("127.0.0.1", one.getsockname()[1])
    assert found
    if found.cgroup is None or not cgroups.ids(ours):
        pytest.skip("the kernel does not say, or has no cgroups of version 2 for us")
    assert found.cgroup in cgroups.ids(ours)
    assert found.cgroup not in cgroups.ids(f"{ours}/elsewhere")


@pytest.mark.row(27)
@pytest.mark.parametrize("diagnosed", [True, False])
@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("127.0.0.2", {"127.0.0.2"}),
        ("::1", {"::1"}),
        ("0.0.0.0", {"127.0.0.1", "127.0.0.2"}),
        ("::", {"127.0.0.1", "127.0.0.2", "::1"}),
    ],
)
def test_a_listener_counts_only_at_the_addresses_that_it_gets_connections_of(
    monkeypatch: pytest.MonkeyPatch, host: str, reached: set[str], diagnosed: bool
) -> None:
    if not diagnosed:
        monkeypatch.setattr(tcp, "_PROTOCOL", socket.IPPROTO_SCTP)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as held:
        port, inode = held.getsockname()[1], os.fstat(held.fileno()).st_ino
        found = {each: listener_at(each, port) for each in ("127.0.0.1", "127.0.0.2", "::1")}
    assert {address for address, owner in found.items() if owner} == reached
    assert {owner.inode for owner in found.values() if owner} == {inode}


@pytest.mark.row(27)
def test_of_two_listeners_the_one_that_gets_the_connections_counts() -> None:
    # The kernel's choice for one address may be in use at the other.
    port = free_port()
    with (
        socket.create_server(("::1", port), family=socket.AF_INET6),
        socket.create_server(("127.0.0.1", port)) as held,
    ):
        found = listener_at("127.0.0.1", port)
        assert found
        assert found.inode == os.fstat(held.fileno()).st_ino


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_owner_of_a_port_is_known_until_it_is_closed(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as held:
        port, inode = held.getsockname()[1], os.fstat(held.fileno()).st_ino
        found = listener_at(host, port)
        assert found
        for name, unknown in (("_NETLINK_SOCK_DIAG", 255), ("_PROTOCOL", socket.IPPROTO_SCTP)):
            with monkeypatch.context() as without:  # inet_diag, tcp_diag
                without.setattr(tcp, name, unknown)
                assert listener_at(host, port) == SocketOwner(found.uid, None, inode)
    assert listener_at(host, port) is None


def test_a_unit_that_does_not_run_has_no_cgroup() -> None:
    assert cgroups.ids("") == cgroups.ids("/") == set()
