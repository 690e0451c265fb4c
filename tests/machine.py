"""Throw-away machines with a booted systemd and no network, as context managers.

Everything a machine is made of lives in namespaces of one process, the launcher: its mounts (an
overlay in memory over a cached image), its network (one veth to this side, no route beyond it) and
its processes. When the launcher ends, and it ends with us whatever happens, the kernel takes all of
it away; nothing of the host is changed but one network interface and one cgroup of the machine's
own name.
"""

import contextlib
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import pexpect

from tests.eventually import NotInTimeError, eventually
from tests.image import Image

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NAMESPACES = ("--mount", "--net", "--pid", "--fork", "--mount-proc")

# $1 cgroup of the machine, $2 image, $3 an empty directory, $4 the machine's name, then nspawn's
# arguments. The machine sees nothing but cgroup v2, whatever mixture the host has: systemd 256 and
# later refuse anything else. The network arrives while we wait for its address on standard input.
LAUNCHER = """
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
read -r address
printf '127.0.0.1 localhost\\n%s %s\\n' "${address%/*}" "$name" >root/etc/hosts
ip link set lo up
ip address add "$address" dev host0
ip link set host0 up
exec systemd-nspawn --quiet --directory=root --machine="$name" --register=no --keep-unit \
    --capability=all --kill-signal=SIGRTMIN+3 --resolv-conf=off --timezone=off --link-journal=no \
    --console=pipe "$@" </dev/null
"""


class MachineError(RuntimeError):
    """A machine did not boot, or a command on it failed; the message has what it printed."""


class Machine:
    """`with Machine("bookworm") as m:` a server of that Debian release, offline, ours alone.

    Args:
        suite: Debian release.
        packages: Debian packages beyond those of a plain server.
        booted: False for what a chroot or an image build is: the same files, no systemd running.
    """

    running: list["Machine"] = []

    def __init__(
        self, suite: str = "bookworm", *, packages: Sequence[str] = (), booted: bool = True
    ) -> None:
        self.image = Image(suite, tuple(packages))
        self.booted = booted
        self._cleanup = contextlib.ExitStack()
        self._leader = 0
        self._copied: dict[Path, str] = {}

    def __enter__(self) -> "Machine":
        """Boot, and return once systemd has started everything.

        Raises:
            MachineError: it did not come up; with the console's last lines.
            ImageError: the image could not be made.
        """
        with contextlib.ExitStack() as cleanup:
            self._boot(cleanup)
            self._cleanup = cleanup.pop_all()
        Machine.running.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        Machine.running.remove(self)
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

        # pdeathsig: the machine ends with us even when we are killed.
        unshare = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--kill-child"]
        arguments = [str(cgroup), str(image), str(directory), name]
        init = ["--boot"] if self.booted else ["--as-pid2", "sleep", "infinity"]
        launcher = subprocess.Popen(
            [*unshare, "sh", "-c", LAUNCHER, "sh", *arguments, *init],
            stdin=subprocess.PIPE,
            stdout=console,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        cleanup.callback(_kill, launcher)
        try:
            eventually(lambda: _has_own_network(launcher.pid), 10, "the network namespace")
            self.address = cleanup.enter_context(_network(launcher))
            init_name = "systemd" if self.booted else "sleep"
            self._leader = eventually(
                lambda: _descendant(launcher, init_name), 20, f"{init_name} in the machine"
            )
            if self.booted:
                eventually(self._is_up, 60, "systemd to have started everything")
        except (MachineError, NotInTimeError, BrokenPipeError) as error:
            console.seek(0)
            tail = "".join(console.readlines()[-30:])
            raise MachineError(f"{self.image.suite} did not boot: {error}\n{tail}") from error

    def _is_up(self) -> bool:
        state = self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
        assert state in {"running", "degraded"}, state
        return True

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        check: bool = True,
        user: str = "root",
        timeout_s: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine, with a login's environment and what `env` adds to it.

        Raises:
            MachineError: `check`, and it did not exit with 0; or `timeout_s` seconds went by.
        """
        argv = [str(word) for word in command]
        try:
            done = subprocess.run(
                self._enter(argv, user),
                env=_login_environment(user, env),
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            printed = (error.stdout or b"") + (error.stderr or b"")
            raise MachineError(
                f"{argv} took more than {timeout_s:g} s:\n{printed.decode(errors='replace')}"
            ) from error
        if check and done.returncode != 0:
            raise MachineError(f"{argv} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def terminal(self, argv: Sequence[str], *, timeout_s: float = 120) -> "pexpect.spawn[str]":
        """Start a command as root in a terminal of its own; whoever called types the answers."""
        command, *arguments = self._enter(argv, "root")
        return pexpect.spawn(
            command,
            arguments,
            env={**_login_environment("root", None), "TERM": "xterm"},
            encoding="utf-8",
            timeout=timeout_s,
            dimensions=(40, 120),
        )

    def _enter(self, argv: Sequence[str], user: str) -> list[str]:
        """The command as seen from here: into the machine's cgroup, then into its namespaces.

        A process outside the machine's cgroups would confuse logind and outlive its stop.
        """
        cgroup_path = Path(f"/proc/{self._leader}/cgroup").read_text().split("0::/", 1)[1].strip()
        cgroup = _cgroup_mount() / cgroup_path / "cgroup.procs"
        join = ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(cgroup)]
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        enter = [_tool("nsenter"), f"--target={self._leader}", *namespaces]
        become = [] if user == "root" else ["runuser", "-u", user, "--"]
        return [*join, *enter, *become, *argv]

    def install(
        self,
        sh: Path,
        args: Sequence[str] = ("-b",),
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        user: str = "root",
        umask: int = 0o022,
    ) -> subprocess.CompletedProcess[str]:
        """Copy the installer over and run it as an administrator would: `bash installer -b`."""
        script = self.copy(sh, f"/var/tmp/{sh.name}")
        under_umask = 'umask "$1"; shift; exec bash "$@"'
        return self.run(
            ["sh", "-c", under_umask, "sh", f"{umask:03o}", script, *args],
            env=env,
            check=check,
            user=user,
            timeout_s=300,
        )

    def copy(self, source: Path, path: str) -> str:
        """Copy a file of this side to the machine, once, readable by all; returns `path`."""
        if self._copied.get(source) != path:
            with source.open("rb") as content:
                subprocess.run(
                    self._enter(["sh", "-c", 'cat >"$1" && chmod 0644 "$1"', "sh", path], "root"),
                    stdin=content,
                    env=_login_environment("root", None),
                    check=True,
                )
            self._copied[source] = path
        return path

    def put(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a text file as root, and the directories above it."""
        script = 'mkdir -p "${1%/*}" && cat >"$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], input=text)

    def read(self, path: str) -> str:
        """A text file of the machine."""
        return self.run(["cat", path]).stdout

    def systemctl(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`systemctl ARGS`."""
        return self.run(["systemctl", *args], check=check)

    def journal(self, unit: str | None = None, *, lines: int | None = None) -> str:
        """The journal since boot, of one unit (a pattern will do) or of everything."""
        only = [f"--unit={unit}"] if unit else []
        tail = [f"--lines={lines}"] if lines else []
        return self.run(["journalctl", "--boot", "--no-pager", *only, *tail], check=False).stdout

    def add_user(self, name: str, password: str) -> None:
        """A person's system account."""
        self.run(["useradd", "--create-home", "--shell", "/bin/bash", name])
        self.run(["chpasswd"], input=f"{name}:{password}\n")

    def forward(self, port: int, to_port: int) -> str:
        """Make a port of the machine's loopback reachable from here; returns the new URL.

        systemd-socket-proxyd(8), which every machine with systemd has.
        """
        listen = ["systemd-socket-activate", f"--listen=0.0.0.0:{port}"]
        proxy = ["/lib/systemd/systemd-socket-proxyd", f"127.0.0.1:{to_port}"]
        self.run(["systemd-run", "--quiet", "--collect", *listen, *proxy])
        return f"http://{self.address}:{port}"


@functools.cache
def why_no_machines() -> str | None:
    """Why this host cannot boot machines; None when it can."""
    if os.geteuid() != 0:
        return "booting a machine needs root"
    missing = [tool for tool in ("systemd-nspawn", "nsenter", "unshare", "ip") if not _which(tool)]
    if missing:
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


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=PATH)


def _tool(tool: str) -> str:
    return _which(tool) or tool


def _login_environment(user: str, env: Mapping[str, str] | None) -> dict[str, str]:
    home = "/root" if user == "root" else f"/home/{user}"
    return {"PATH": PATH, "HOME": home, "USER": user, "LANG": "C.UTF-8", **(env or {})}


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


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _has_own_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


@contextlib.contextmanager
def _network(launcher: subprocess.Popen[str]) -> Iterator[str]:
    """A veth between us and the launcher's namespace; yields the machine's address.

    The interface's name carries the number of the subnet, so the kernel keeps two machines, of
    whichever test processes, from taking the same one.
    """
    interface, subnet = _add_veth(launcher.pid)
    try:
        _ip("address", "add", f"{subnet}.1/30", "dev", interface)
        _ip("link", "set", interface, "up")
        stdin: IO[str] | None = launcher.stdin
        assert stdin is not None
        stdin.write(f"{subnet}.2/30\n")
        stdin.close()
        yield f"{subnet}.2"
    finally:
        _ip("link", "delete", interface, check=False)


def _add_veth(pid: int) -> tuple[str, str]:
    error = ""
    for number in range(1, 255):
        interface = f"lhub{number}"
        peer = ["peer", "name", "host0", "netns", str(pid)]
        done = _ip("link", "add", interface, "type", "veth", *peer, check=False)
        if done.returncode == 0:
            return interface, f"10.231.{number}"
        error = done.stderr.strip()
        if "exists" not in error:
            break
    raise MachineError(f"no network for the machine: {error}")


def _ip(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([_tool("ip"), *args], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise MachineError(f"ip {' '.join(args)}: {done.stderr.strip()}")
    return done


def _descendant(launcher: subprocess.Popen[str], name: str) -> int:
    """The process called `name` that the launcher started, however indirectly; 0 if there is none.

    nspawn has several children that come and go; init is the one that carries its own name.
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
