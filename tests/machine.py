"""Throw-away machines with a booted systemd and no network, as context managers.

A machine consists of the namespaces of one process, the launcher: its mounts (an overlay in memory
over a cached image), its network (one veth to the host and no route beyond it) and its processes.
The launcher ends with this process, whatever happens, and then the kernel removes all of it. On the
host, a machine changes nothing but one network interface and one cgroup of its own name.
"""

import contextlib
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.eventually import NotInTimeError, eventually
from tests.image import Image
from tests.network import CONFIGURE, network
from tests.server import PATH, MachineError, Server, as_login

TOOLS = ("ip", "nsenter", "systemd-nspawn", "unshare")
NAMESPACES = ("--mount", "--net", "--pid", "--fork", "--mount-proc")

# pidfd_getfd: a machine that is no container allows it, nspawn does not.
# $1 cgroup of the machine, $2 image, $3 an empty directory, $4 the machine's name, then nspawn's
# arguments. The machine sees only cgroup v2, even if the host has both versions: systemd 256 and
# later refuse anything else. The script waits on standard input for the address of its network.
LAUNCHER = f"""
set -eu
cgroup=$1 image=$2 directory=$3 name=$4
shift 4
echo 0 >"$cgroup/cgroup.procs"
mount -t tmpfs -o mode=0755 machine "$directory"
cd "$directory"
mkdir upper work root
mount -t overlay -o "lowerdir=$image,upperdir=upper,workdir=work" overlay root
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "$name" >root/etc/hostname
{CONFIGURE}
printf '127.0.0.1 localhost\\n%s %s\\n' "${{address%/*}}" "$name" >root/etc/hosts
exec systemd-nspawn --quiet --directory=root --machine="$name" --register=no --keep-unit \
    --capability=all --kill-signal=SIGRTMIN+3 --resolv-conf=off --timezone=off --link-journal=no \
    --system-call-filter=pidfd_getfd --console=pipe "$@" </dev/null
"""


class Machine(Server):
    """A server of one Debian release, without network: `with Machine("bookworm") as machine:`.

    Args:
        suite: Debian release.
        packages: Debian packages beyond those of a plain server.
        booted: False for a machine like a chroot or an image build: no systemd runs.
        shared: directories of the host by their paths in the machine, as a file server has them.
    """

    def __init__(
        self,
        suite: str = "bookworm",
        *,
        packages: Sequence[str] = (),
        booted: bool = True,
        shared: Mapping[str, Path] | None = None,
    ) -> None:
        super().__init__()
        self.title = suite
        self.image = Image(suite, tuple(packages))
        self.booted = booted
        self.shared = shared or {}
        self.files = Path()
        """The machine's file system as the host sees it, without what is mounted in it."""
        self._cleanup = contextlib.ExitStack()
        self.leader = 0

    def __enter__(self) -> "Machine":
        """Boot, and return once systemd has started everything.

        Raises:
            MachineError: it did not boot; the message has the console's last lines.
            ImageError: the image could not be made.
        """
        with contextlib.ExitStack() as cleanup:
            self._boot(cleanup)
            self._cleanup = cleanup.pop_all()
        Server.running.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        Server.running.remove(self)
        self._cleanup.close()

    def _boot(self, cleanup: contextlib.ExitStack) -> None:
        image = self.image.root()
        name = f"hub-{secrets.token_hex(4)}"
        directory = Path(tempfile.mkdtemp(prefix=f"littlest-{name}-"))
        cleanup.callback(directory.rmdir)
        console = cleanup.enter_context(tempfile.TemporaryFile(mode="w+"))  # noqa: SIM115
        cgroup = _cgroup_mount() / directory.name
        cgroup.mkdir()
        cleanup.callback(_remove_cgroup, cgroup)

        # pdeathsig: the machine ends with this process, even if that is killed.
        unshare = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--kill-child"]
        arguments = [str(cgroup), str(image), str(directory), name]
        init = ["--boot"] if self.booted else ["--as-pid2", "sleep", "infinity"]
        binds = [f"--bind={directory}:{path}" for path, directory in self.shared.items()]
        launcher = subprocess.Popen(
            [*unshare, "sh", "-c", LAUNCHER, "sh", *arguments, *binds, *init],
            stdin=subprocess.PIPE,
            stdout=console,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        cleanup.callback(launcher.wait)
        cleanup.callback(launcher.kill)
        self.files = Path(f"/proc/{launcher.pid}/root{directory}/root")
        try:
            self.address = cleanup.enter_context(network(launcher))
            init_name = "systemd" if self.booted else "sleep"
            self.leader = eventually(
                lambda: _descendant(launcher, init_name), 20, f"{init_name} in the machine"
            )
            if self.booted:
                eventually(self.is_up, 60, "systemd to have started everything")
        except (MachineError, NotInTimeError, BrokenPipeError) as error:
            console.seek(0)
            tail = "".join(console.readlines()[-30:])
            raise MachineError(f"{self.image.suite} did not boot: {error}\n{tail}") from error

    def enter(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        terminal: bool = False,
    ) -> list[str]:
        """Return the command that enters the machine's cgroup and namespaces and runs `argv`.

        A process outside the machine's cgroups would confuse logind and outlive the machine.
        """
        cgroup_path = Path(f"/proc/{self.leader}/cgroup").read_text().split("0::/", 1)[1].strip()
        cgroup = _cgroup_mount() / cgroup_path / "cgroup.procs"
        join = ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(cgroup)]
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        enter = ["nsenter", f"--target={self.leader}", *namespaces]
        # A session of its own: otherwise nsenter leads it, ends at Ctrl-C, and closes the
        # terminal while the command may still print something.
        session = ["setsid", "--ctty", "--wait"] if terminal else []
        return [*join, *enter, *session, *as_login(argv, user, env)]

    def in_network(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs a program of the host in the machine's network."""
        return ["nsenter", f"--target={self.leader}", "--net", *argv]

    def forward(self, port: int, to_port: int) -> str:
        """Make a port of the machine's loopback interface reachable, and return its URL.

        This uses systemd-socket-proxyd(8), which every machine with systemd has.
        """
        listen = ["systemd-socket-activate", f"--listen=0.0.0.0:{port}"]
        proxy = ["/lib/systemd/systemd-socket-proxyd", f"127.0.0.1:{to_port}"]
        self.run(["systemd-run", "--quiet", "--collect", *listen, *proxy])
        return f"http://{self.address}:{port}"


@functools.cache
def why_no_machines() -> str | None:
    """Return why this host cannot boot machines; None if it can."""
    if os.geteuid() != 0:
        return "booting a machine needs root"
    if missing := [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]:
        return f"not installed: {', '.join(missing)} (make deps)"
    try:
        _cgroup_mount()
    except MachineError as error:
        return str(error)
    mount = ["mount", "-t", "tmpfs", "probe", "/mnt"]
    namespaces = subprocess.run(["unshare", *NAMESPACES, *mount], capture_output=True, text=True)
    if namespaces.returncode != 0:
        return f"no namespaces to be had here: {namespaces.stderr.strip()}"
    return None


def _cgroup_mount() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(where)
    raise MachineError("no writable cgroup2 file system is mounted")


def _remove_cgroup(cgroup: Path) -> None:
    """Remove a cgroup and those below it, once the last process in them is gone."""
    events = cgroup / "cgroup.events"
    eventually(lambda: "populated 0" in events.read_text(), 60, f"{cgroup.name} to be empty")
    for directory, _, _ in os.walk(cgroup, topdown=False):
        Path(directory).rmdir()


def _descendant(launcher: subprocess.Popen[str], name: str) -> int:
    """Return the descendant of the launcher that is called `name`; 0 if there is none.

    nspawn has several short-lived children; init is the one with its own name.
    """
    if launcher.poll() is not None:
        raise MachineError(f"the launcher ended with {launcher.returncode}")
    parents: dict[int, int] = {}
    named: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = stat.read_text().rpartition(") ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(after.split()[1])
        if before.partition("(")[2] == name:
            named.append(pid)
    for pid in named:
        ancestor = pid
        while ancestor and ancestor != launcher.pid:
            ancestor = parents.get(ancestor, 0)
        if ancestor:
            return pid
    return 0
