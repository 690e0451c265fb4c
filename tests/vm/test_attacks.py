"""Alice's notebook takes all it can get; only a kernel of the machine's own can stop it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from littlest_hub.units.server import METADATA
from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.virtual import VIRTUAL_S, Vm


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[Person]:
    with hub.person(timeout_s=VIRTUAL_S) as person:
        person.start_server(timeout_s=VIRTUAL_S)
        yield person


@pytest.fixture(scope="module")
def bob(hub: Hub) -> Iterator[Person]:
    with hub.person(timeout_s=VIRTUAL_S) as person:
        person.start_server(timeout_s=VIRTUAL_S)
        yield person


@pytest.mark.row(15)
def test_the_machines_own_credentials_in_a_cloud_are_out_of_reach(
    hub: Hub, vm: Vm, alice: Person
) -> None:
    # The machine's proxy answers at these addresses, in place of the cloud.
    python = hub.path("hub/bin/python3")
    vm.run([python, "-c", ADD_ADDRESSES, *METADATA])
    knock = KNOCK % (METADATA,)
    reached = vm.run([python, "-c", knock], user=alice.name).stdout
    assert reached.split() == sorted(METADATA), "outside of a user server they are reached"
    said = alice.run_cell(f"{knock}\nprint('no other')", timeout_s=VIRTUAL_S)
    print(said)
    assert said == "no other\n"


@pytest.mark.row(14)
def test_many_processes_that_take_all_memory_are_ended_and_the_server_is_not(
    hub: Hub, alice: Person
) -> None:
    unit = f"{hub.layout.user_unit(alice.name)}.service"
    pid = hub.main_pid(unit)
    with alice.open_kernel() as kernel:
        said = kernel.run(POOL, timeout_s=VIRTUAL_S)
        print(said)
        assert "ended by Linux" in said
        assert kernel.run("6 * 7", timeout_s=VIRTUAL_S) == "42"
    assert hub.main_pid(unit) == pid


@pytest.mark.long
@pytest.mark.row(14)
def test_a_fork_bomb_meets_a_limit_and_other_users_notice_nothing(
    hub: Hub, alice: Person, bob: Person
) -> None:
    with bob.open_kernel() as kernel, alice.open_kernel() as bomb:
        kernel.run("x = 41", timeout_s=VIRTUAL_S)
        said = bomb.run(COUNT_PROCESSES, timeout_s=VIRTUAL_S)
        print(said)
        assert "Resource temporarily unavailable" in said
        # As many threads as allowed, at full speed, until they are stopped.
        bomb.send(BOMB)
        eventually(
            lambda: "fork rejected by pids controller" in hub.machine.journal(),
            VIRTUAL_S,
            "the bomb",
        )
        assert hub.answers(VIRTUAL_S)
        # A kernel that waits for the processor reports the same.
        assert kernel.run("x + 1", timeout_s=VIRTUAL_S).startswith("42")
        with hub.person(timeout_s=VIRTUAL_S):
            pass  # a new user logs in
    alice.stop_server()
    eventually(lambda: not alice.has_server(), VIRTUAL_S, "the bomb to be cleared away")
    alice.start_server(timeout_s=VIRTUAL_S)


COUNT_PROCESSES = """
import os, signal
children = []
try:
    while True:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except OSError as error:
    print(f"after {len(children)} processes: {error}")
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""

BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

# 30 times 40 MB: no single process is larger than the server.
POOL = """
import os, signal
children = []
for number in range(30):
    child = os.fork()
    if child == 0:
        hoard = bytearray(os.urandom(4096) * (40 * 2**20 // 4096))
        signal.pause()
    children.append(child)
child, status = os.wait()
children.remove(child)
for other in children:
    os.kill(other, signal.SIGTERM)
for other in children:
    os.waitpid(other, 0)
if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
    print("one was ended by Linux")
"""


# $@ addresses for the loopback interface; netdevice(7), and struct in6_ifreq of linux/ipv6.h.
ADD_ADDRESSES = """
import fcntl, socket, struct, sys
SET_ADDRESS = 0x8916
for number, address in enumerate(sys.argv[1:]):
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        request = struct.pack("16sIi", packed, 128, socket.if_nametoindex("lo"))
        fcntl.ioctl(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), SET_ADDRESS, request)
    else:
        name = f"lo:{number}".encode()
        packed = struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(address))
        request = struct.pack("16s16s8x", name, packed)
        fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), SET_ADDRESS, request)
"""

# All at once, since dropped packets are waited for.
KNOCK = """
import socket
from concurrent.futures import ThreadPoolExecutor

def knock(address):
    try:
        with socket.create_connection((address, 80), timeout=3):
            return address
    except OSError:
        return None

with ThreadPoolExecutor(32) as pool:
    for address in sorted(filter(None, pool.map(knock, %r))):
        print(address)
"""
