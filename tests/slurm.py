"""A Slurm cluster of booted machines: a head and nodes, which share homes, releases, an exchange.

The machines are connected by a bridge in the network namespace of the head, so the kernel removes
it together with the head. What they share is on the host, as a file server would have it.
"""

import contextlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from littlest_hub.layout import DEFAULT_BASE
from tests.client import Person
from tests.courses import EXCHANGE
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

WHERE = "import os, socket\nprint(socket.gethostname(), os.environ['SLURM_JOB_ID'])"
"""A cell that prints the node and the number of its job."""
PACKAGES = ("munge", "polkitd", "slurm-client", "slurmctld", "slurmd", "sudo")
# wireguard-go: the kernel may have no WireGuard; wg-quick(8) then takes it.
WIREGUARD = ("iproute2", "wireguard-go", "wireguard-tools")
NETWORK = "10.77.0"
HEAD = "head"

# A machine may lack cgroup controllers here, so limits are used for planning but not enforced;
# config_overrides lets the nodes have more CPUs than the machine (slurm.conf(5)).
CONFIGURATION = """
ClusterName=littlest
SlurmctldHost={head}
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SlurmdTimeout=20
NodeName={nodes} CPUs={processors} RealMemory=4000
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
"""


class Cluster:
    """A head and nodes: `with Cluster(directory) as cluster:`.

    Args:
        directory: an empty directory of the host for what the machines share.
        nodes: names of the nodes.
        processors: number that each of them claims to have.
        packages: more packages of all machines, which have one image and one key of munge.
    """

    def __init__(
        self,
        directory: Path,
        nodes: Sequence[str] = ("c1", "c2"),
        *,
        processors: int = 2,
        packages: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.exchange = directory / "exchange"
        """The exchange of courses, as the host sees it."""
        self.names = tuple(nodes)
        self._processors = processors
        self._packages = (*PACKAGES, *WIREGUARD, *packages)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Cluster":
        """Boot the machines, and return once the nodes accept jobs."""
        shared = {
            "/home": self.directory / "home",
            EXCHANGE: self.exchange,
            str(DEFAULT_BASE / "releases"): self.directory / "releases",
        }
        with contextlib.ExitStack() as stack:
            for directory in shared.values():
                directory.mkdir(mode=0o755)
                # Half a gigabyte, of which pytest would keep three; the last step of the exit.
                stack.callback(shutil.rmtree, directory, ignore_errors=True)
            self.machines = {
                name: stack.enter_context(
                    Machine("bookworm", packages=self._packages, shared=shared)
                )
                for name in (HEAD, *self.names)
            }
            self.head = self.machines[HEAD]
            self._connect()
            for name, machine in self.machines.items():
                self._configure(name, machine)
            self.head.systemctl("start", "slurmctld")
            for name in self.names:
                self.machines[name].systemctl("start", "slurmd")
            eventually(self.is_idle, 60, "the nodes to be idle")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _connect(self) -> None:
        inside = self.head.in_network
        _run(inside(["ip", "link", "add", "cluster0", "type", "bridge"]))
        _run(inside(["ip", "address", "add", f"{NETWORK}.1/24", "dev", "cluster0"]))
        _run(inside(["ip", "link", "set", "cluster0", "up"]))
        for number, name in enumerate(self.names, 11):
            node = self.machines[name]
            port = f"to-{name}"
            peer = ["peer", "name", "cluster0", "netns", str(node.leader)]
            _run(inside(["ip", "link", "add", port, "type", "veth", *peer]))
            _run(inside(["ip", "link", "set", port, "master", "cluster0", "up"]))
            address = ["ip", "address", "add", f"{NETWORK}.{number}/24", "dev", "cluster0"]
            _run(node.in_network(address))
            _run(node.in_network(["ip", "link", "set", "cluster0", "up"]))

    def _configure(self, name: str, machine: Machine) -> None:
        nodes = enumerate(self.names, 11)
        addresses = [f"{NETWORK}.{number} {node}\n" for number, node in nodes]
        hosts = f"127.0.0.1 localhost\n{NETWORK}.1 {HEAD}\n{''.join(addresses)}"
        machine.put("/etc/hosts", hosts)
        machine.put("/etc/hostname", f"{name}\n")
        machine.run(["hostname", name])
        configuration = CONFIGURATION.format(
            head=HEAD, nodes=",".join(self.names), processors=self._processors
        )
        machine.put("/etc/slurm/slurm.conf", configuration)
        # No plugin above uses cgroups, but slurmd detects their version, and fails on a host that
        # has both.
        machine.put("/etc/slurm/cgroup.conf", "CgroupPlugin=cgroup/v1\n")
        # The image has one key, so all machines have the same.
        machine.systemctl("restart", "munge")

    def is_idle(self) -> bool:
        """Return whether all nodes accept jobs, and run none."""
        listed = self.head.run(["sinfo", "--noheader", "--Node", "--format=%t"]).stdout.split()
        assert listed == ["idle"] * len(self.names), listed
        return True

    def add_user(self, name: str, password: str) -> None:
        """Create an account with the same number on all machines."""
        self.head.add_user(name, password)
        uid = self.head.run(["id", "-u", name]).stdout.strip()
        for node in self.names:
            self.machines[node].run(["useradd", "--uid", uid, "--shell", "/bin/bash", name])

    @contextlib.contextmanager
    def person(self, hub: Hub, name: str) -> Iterator[Person]:
        """Yield a new user, logged in; stop their server at the end."""
        password = secrets.token_urlsafe()
        self.add_user(name, password)
        with Person(hub.url, name, password) as person:
            person.log_in()
            try:
                yield person
            finally:
                if self.jobs(name):
                    person.stop_server()

    def jobs(self, user: str) -> dict[str, str]:
        """Return the states of somebody's jobs in the queue, by number."""
        listed = self.head.run(["squeue", "--noheader", f"--user={user}", "--format=%i %T"])
        return dict(line.split() for line in listed.stdout.splitlines())

    @contextlib.contextmanager
    def filled(self) -> Iterator[str]:
        """Occupy every processor that is free, with one job; yield its number."""
        free = self.head.run(["sinfo", "--noheader", "--format=%C"]).stdout.split("/")[1]
        options = [f"--ntasks={free}", "--output=/dev/null", "--chdir=/", "--parsable"]
        number = self.head.run(["sbatch", *options, "--wrap=sleep 3600"]).stdout.strip()
        try:
            yield number
        finally:
            self.cancel(number)

    def cancel(self, number: str) -> None:
        """Cancel a job, as an administrator does."""
        self.head.run(["scancel", "--quiet", number])

    @contextlib.contextmanager
    def lost(self, name: str) -> Iterator[None]:
        """Take a node off the network; afterwards it is back, without its jobs."""
        node = self.machines[name]
        link = ["ip", "link", "set", "cluster0"]
        _run(node.in_network([*link, "down"]))
        try:
            yield
        finally:
            node.run(["systemctl", "kill", "--signal=KILL", "slurmd"])
            _run(node.in_network([*link, "up"]))
            node.systemctl("restart", "slurmd")
            listed = ["sinfo", "--noheader", f"--nodes={name}", "--format=%t"]
            eventually(lambda: self.head.run(listed).stdout.strip() in ("idle", "alloc"), 90, name)

    @contextlib.contextmanager
    def configured(
        self, more: str = "", replacing: Mapping[str, str] | None = None
    ) -> Iterator[None]:
        """Add lines to slurm.conf of all machines, or replace words of it; jobs go on."""
        path = "/etc/slurm/slurm.conf"
        present = self.head.read(path)
        changed = f"{present}\n{more}"
        for old, new in (replacing or {}).items():
            changed = changed.replace(old, new)
        self._reconfigure(path, changed)
        try:
            yield
        finally:
            self._reconfigure(path, present)

    def _reconfigure(self, path: str, text: str) -> None:
        for machine in self.machines.values():
            machine.put(path, text)
        # The controller first: it refuses nodes whose configuration differs from its own.
        self.head.systemctl("restart", "slurmctld")
        for name in self.names:
            self.machines[name].systemctl("restart", "slurmd")
        listed = ["sinfo", "--noheader", "--partition=main", "--Node", "--format=%t"]

        def is_up() -> bool:
            found = self.head.run(listed).stdout.split()
            return len(found) == len(self.names) and {*found} <= {"idle", "mix", "alloc"}

        eventually(is_up, 90, "the nodes to be up")

    def await_journal(self, since_s: float, text: str) -> None:
        """Wait until the hub has logged a text since a time."""
        eventually(lambda: text in self.hub_journal(since_s), 90, f"the hub to log {text!r}")

    def hub_journal(self, since_s: float) -> str:
        """Return what the hub has logged since a time."""
        options = ["--unit=littlest-hub", f"--since=@{since_s:.0f}", "--no-pager"]
        return self.head.run(["journalctl", *options]).stdout


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
