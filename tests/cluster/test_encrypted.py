"""Traffic between head node and nodes in WireGuard, as the page says (`make test-cluster`)."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping

import pytest

from tests.cluster.test_a_job import ALL_OF_A_NODE
from tests.cluster.test_nodes import examine
from tests.documentation import ROOT, code
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.slurm import HEAD, Cluster

pytestmark = pytest.mark.long

MAKE_KEY = (
    "wg genkey | install -m 0600 /dev/stdin /etc/wireguard/key; wg pubkey </etc/wireguard/key"
)
# A program that records all packets of the head's interface to the nodes (packet(7)).
LISTENER = """
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
    wire.bind(("cluster0", 0))
    with open("/var/tmp/wire", "wb", buffering=0) as seen:
        while True:
            seen.write(wire.recv(1 << 20))
"""
SECRET = "import os\nprint(os.environ['JUPYTERHUB_API_TOKEN'])"


@pytest.fixture(scope="module")
def addresses(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A tunnel between the head and each node, as the page describes it: addresses by name."""
    blocks = code(ROOT / "docs/how-to/slurm.md")
    of_head = next(block for block in blocks if block.startswith("[Interface]"))
    head = next(block for block in blocks if block.startswith("[Peer]"))
    own, _, peer = of_head.partition("[Peer]")
    keys = {name: each.run(["sh", "-c", MAKE_KEY]).stdout.strip() for name, each in _all(cluster)}
    found = {HEAD: "10.99.0.1", **{name: f"10.99.0.1{name[1:]}" for name in cluster.names}}
    peers = ""
    for name in cluster.names:
        mine = own.replace(f"{found[HEAD]}/", f"{found[name]}/")
        text = f"{mine}{head.replace('…', keys[HEAD]).replace('head.cluster', HEAD)}"
        cluster.machines[name].put("/etc/wireguard/cluster.conf", text, mode=0o600)
        theirs = peer.replace("…", keys[name]).replace("10.99.0.11", found[name])
        peers += f"[Peer]{theirs}"
    cluster.head.put("/etc/wireguard/cluster.conf", f"{own}{peers}", mode=0o600)
    for _, machine in _all(cluster):
        machine.run(["systemctl", "enable", "--now", "wg-quick@cluster"])
    yield found
    for _, machine in _all(cluster):
        machine.run(["systemctl", "disable", "--now", "wg-quick@cluster"])


def _all(cluster: Cluster) -> list[tuple[str, Machine]]:
    return list(cluster.machines.items())


@contextlib.contextmanager
def named(cluster: Cluster, addresses: Mapping[str, str]) -> Iterator[None]:
    """Let the head know the nodes by names such as c1.wg."""
    hosts = cluster.head.read("/etc/hosts")
    more = "".join(f"{addresses[name]} {name}.wg\n" for name in cluster.names)
    cluster.head.put("/etc/hosts", hosts + more)
    try:
        yield
    finally:
        cluster.head.put("/etc/hosts", hosts)


def overheard(cluster: Cluster, hub: Hub) -> list[bool]:
    """Work on a node; return whether a listener reads the server's token, and what is printed."""
    said = f"said-{secrets.token_hex()}"
    python = [hub.path("hub/bin/python3"), "-I", "-c", LISTENER]
    cluster.head.run(["systemd-run", "--quiet", "--unit=listener", *python])
    try:
        eventually(
            lambda: cluster.head.run(["stat", "/var/tmp/wire"], check=False).stdout, 30, "it"
        )
        with cluster.person(hub, f"wired{secrets.token_hex(2)}") as person:
            person.submit_form(ALL_OF_A_NODE)
            person.await_server(timeout_s=120)
            token = person.run_cell(SECRET).strip()
            assert person.run_cell(f"print({said[:9]!r} + {said[9:]!r})") == f"{said}\n"
    finally:
        cluster.head.systemctl("stop", "listener")
    search = ["grep", "--text", "--quiet", "--fixed-strings"]
    found = [
        cluster.head.run([*search, text, "/var/tmp/wire"], check=False).returncode == 0
        for text in (token, said)
    ]
    cluster.head.run(["rm", "/var/tmp/wire"])
    return found


@pytest.mark.row(28)
def test_in_a_tunnel_as_the_page_describes_it_nobody_between_the_machines_reads_anything(
    cluster: Cluster, hub: Hub, addresses: dict[str, str]
) -> None:
    assert overheard(cluster, hub) == [True, True], "without it, whoever listens reads both"
    through = (
        f'c.SlurmSpawner.hub_connect_url = "http://{addresses[HEAD]}"\n'
        'c.SlurmSpawner.node_address = "{node}.wg"\n'
    )
    of_slurm = {
        f"SlurmctldHost={HEAD}": f"SlurmctldHost={HEAD}({addresses[HEAD]})",
        "NodeName=c1,c2": f"NodeName=c1,c2 NodeAddr={addresses['c1']},{addresses['c2']}",
    }
    with named(cluster, addresses), hub.fragment("60-tunnel.py", through):
        said = examine(hub)
        assert said.returncode == 0, said.stdout
        assert said.stdout.count(f"reaches http://{addresses[HEAD]}, is reached at c") == 2
        token, printed = overheard(cluster, hub)
        assert not printed
        assert token, "it is in the script, which Slurm sends in its own way"
        with cluster.configured(replacing=of_slurm):
            assert overheard(cluster, hub) == [False, False]
