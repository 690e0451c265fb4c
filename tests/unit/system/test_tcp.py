"""Listening sockets and their owners."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from littlest_hub.system import tcp
from littlest_hub.system.tcp import (
    SocketOwner,
    cgroups_of,
    describe_listener,
    listeners,
    owners_at,
    parse,
    processes_of,
)

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


def test_without_permission_to_see_programs_the_unit_or_user_is_named() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who may not see programs")
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
        assert {held.uid for held in owners_at(port)} == {os.geteuid()}
        assert processes_of([inode, 1]) == {inode: os.getpid()}


def test_each_socket_at_a_port_has_the_cgroup_of_its_unit() -> None:
    ours = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip()
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.2", one.getsockname()[1])),
    ):
        found = {held.cgroup for held in owners_at(one.getsockname()[1])}
    if None in found or not cgroups_of(ours):
        pytest.skip("the kernel does not say, or has no cgroups of version 2 for us")
    assert len(found) == 1
    assert found <= cgroups_of(ours)
    assert not found & cgroups_of(f"{ours}/elsewhere")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_owner_of_a_port_is_known_until_it_is_closed(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as held:
        port = held.getsockname()[1]
        (found,) = owners_at(port)
        for name, unknown in (("_NETLINK_SOCK_DIAG", 255), ("_PROTOCOL", socket.IPPROTO_SCTP)):
            with monkeypatch.context() as without:  # inet_diag, tcp_diag
                without.setattr(tcp, name, unknown)
                assert owners_at(port) == {SocketOwner(found.uid, None)}
    assert not owners_at(port)


def test_a_unit_that_does_not_run_has_no_cgroup() -> None:
    assert cgroups_of("") == cgroups_of("/") == set()
