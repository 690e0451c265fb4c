"""Throw-away virtual machines, with a kernel and a power switch of their own.

They use the same Debian images as tests/machine.py, plus Debian's user-mode Linux: a kernel that
is a program of this machine, needs no rights and no processor with virtualization, and executes
other programs' code as it is. It has one processor. Each machine has a new disk, with nothing
specific to the tests: name, network and ssh(1) key are on the kernel's command line.
"""

import contextlib
import functools
import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.eventually import NotInTimeError, eventually
from tests.image import UML, Image
from tests.machine import Machine
from tests.network import network
from tests.server import PATH, MachineError, Server, as_login

PACKAGES = (UML, "kmod", "openssh-server")
TOOLS = ("ip", "mke2fs", "nsenter", "setpriv", "ssh", "ssh-keygen", "unshare")
DISK_SIZE = "6G"  # sparse
MEMORY = "2G"
VIRTUAL_S = 300
"""Time limit of a command: system calls are slow there, and this machine may be busy."""
# The launcher runs this in its namespace; the machine has the address, so the namespace must not.
CONNECT = """
read -r address
ip link set lo up
ip link set host0 up
"""


class Vm(Server):
    """A virtual server of one Debian release, without network: `with Vm("bookworm") as vm:`.

    Args:
        suite: Debian release.
        prepare: changes its disk before it boots, at the host's speed; no systemd runs.
        packages: Debian packages beyond those of a plain server.
        memory: as the kernel's option mem= has it.
        is_prepared_booted: systemd runs while `prepare` does.
    """

    patience_s = VIRTUAL_S

    def __init__(
        self,
        suite: str = "bookworm",
        prepare: Callable[[Machine], object] | None = None,
        packages: Sequence[str] = (),
        *,
        memory: str = MEMORY,
        is_prepared_booted: bool = False,
    ) -> None:
        super().__init__()
        self._prepare = prepare
        self._memory = memory
        self._is_prepared_booted = is_prepared_booted
        self.title = f"virtual {suite}"
        self.image = Image(suite, (*PACKAGES, *packages))
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> "Vm":
        """Boot, and return once systemd has started everything.

        Raises:
            MachineError: it did not boot; the message has the console's last lines.
            ImageError: the image could not be made.
        """
        with contextlib.ExitStack() as cleanup:
            self._make(cleanup)
            # A method, because self._kernel changes with each boot.
            cleanup.callback(self.cut_power)
            self.power_on()
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

    def power_on(self) -> None:
        """Boot from the disk as it is, and return once systemd has started everything.

        Raises:
            MachineError: it did not boot; the message has the console's last lines.
        """
        with self._console.open("w") as console:
            self._kernel = subprocess.Popen(
                self._kernel_command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        self._await_boot()

    def cut_power(self) -> None:
        """End it at once; data not yet on the disk is lost."""
        self._kernel.kill()
        self._kernel.wait()
        self._hang_up()

    def reboot(self) -> None:
        """Reboot as an administrator does, and return once systemd has started everything.

        Raises:
            MachineError: it did not boot; the message has the console's last lines.
        """
        before = self._boot_id()
        self.run(["systemctl", "reboot"], check=False)
        self._hang_up()
        self._await_boot(before)

    def enter(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        terminal: bool = False,
    ) -> list[str]:
        there = ["-t"] if terminal else []
        return [*self._ssh, *there, shlex.join(as_login(argv, user, env))]

    def journal(self, unit: str | None = None, *, lines: int | None = None) -> str:
        try:
            return super().journal(unit, lines=lines)
        except MachineError as error:
            return f"{error}\nIts console's last lines:\n{self._console_tail()}"

    def _make(self, cleanup: contextlib.ExitStack) -> None:
        """Create a network, a disk and a key."""
        # Not in /tmp, which is often a file system in memory.
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        self._console = directory / "console"
        self._disk = directory / "disk"
        key = directory / "key"
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
        self._public_key = key.with_suffix(".pub").read_text().strip()

        # pdeathsig: it ends with this process, even if that is killed.
        unshare = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net"]
        self._launcher = subprocess.Popen(
            [*unshare, "sh", "-c", f"set -eu\n{CONNECT}\nexec sleep infinity"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        cleanup.callback(self._launcher.wait)
        cleanup.callback(self._launcher.kill)
        self.address = cleanup.enter_context(network(self._launcher))
        self._make_disk()
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ControlMaster": "auto",  # one connection for all commands
            "ControlPath": str(directory / "connection"),
            "ControlPersist": "yes",
            "IdentityFile": str(key),
            "LogLevel": "ERROR",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        given = [f"-o{name}={value}" for name, value in options.items()]
        self._ssh = ["ssh", "-F/dev/null", *given, f"root@{self.address}"]

    def _make_disk(self) -> None:
        if not self._prepare:
            _copy_to_disk(self.image.root(), self._disk)
            return
        image = self.image
        booted = self._is_prepared_booted
        with Machine(image.suite, packages=image.packages, booted=booted) as machine:
            self._prepare(machine)
            _copy_to_disk(machine.files, self._disk)

    def _kernel_command(self) -> list[str]:
        """Return the command that boots; the processes of the machine end with it."""
        gateway, _, _ = self.address.rpartition(".")
        return [
            *("nsenter", f"--net=/proc/{self._launcher.pid}/ns/net"),
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
            *(str(self.image.root() / "usr/bin/linux.uml"), f"mem={self._memory}"),
            *(f"ubd0={self._disk}", f"uml_dir={self._disk.parent}"),
            "vec0:transport=raw,ifname=host0,gro=1",
            *("con=null", "con0=null,fd:1", "root=/dev/ubda", "rw", "fsck.mode=skip"),
            f"ip={self.address}::{gateway}.1:255.255.255.252::vec0:none",
            f"systemd.hostname=hub-{secrets.token_hex(4)}",
            "systemd.wants=systemd-networkd.service",
            "systemd.wants=systemd-network-generator.service",
            f'"systemd.set_credential=ssh.authorized_keys.root:{self._public_key}"',
        ]

    def _await_boot(self, before: str = "") -> None:
        def is_up() -> bool:
            if self._kernel.poll() is not None:
                raise MachineError(f"its kernel ended with {self._kernel.returncode}")
            boot_id = self._boot_id()
            assert boot_id not in {"", before}, "no answer"
            return self.is_up()

        try:
            eventually(is_up, VIRTUAL_S, "systemd to have started everything", interval_s=0.5)
        except (MachineError, NotInTimeError) as error:
            message = f"{self.title} did not boot: {error}\n{self._console_tail()}"
            raise MachineError(message) from error

    def _boot_id(self) -> str:
        """Return the boot's id; "" if the machine does not answer."""
        read = self.enter(["cat", "/proc/sys/kernel/random/boot_id"])
        return subprocess.run(read, capture_output=True, text=True, timeout=60).stdout.strip()

    def _hang_up(self) -> None:
        """Close the connection, which does not notice that the machine is gone."""
        subprocess.run([*self._ssh, "-O", "exit"], capture_output=True)
        # Copied files may be lost.
        self._copied.clear()

    def _console_tail(self) -> str:
        return "\n".join(self._console.read_text(errors="replace").splitlines()[-30:])


def _copy_to_disk(root: Path, disk: Path) -> None:
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), DISK_SIZE)


@functools.cache
def why_no_vms() -> str | None:
    """Return why this host cannot run virtual machines; None if it can."""
    if os.geteuid() != 0:
        return "a virtual machine's image and network need root"
    if missing := [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]:
        return f"not installed: {', '.join(missing)} (make deps)"
    namespace = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if namespace.returncode != 0:
        return f"no network namespace to be had here: {namespace.stderr.strip()}"
    return None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise MachineError(f"{shlex.join(command)}: {done.stderr.strip()}")
