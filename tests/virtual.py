"""Throw-away virtual machines, with a kernel and a power switch of their own.

They use the same Debian images as tests/machine.py, plus a kernel, on a new disk each time, and
are booted by qemu without an accelerator. The disk contains nothing specific to the tests: name,
network and ssh(1) key are on the kernel's command line.
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
from tests.image import Image
from tests.machine import Machine
from tests.network import CONFIGURE, network
from tests.server import PATH, MachineError, Server, as_login

PACKAGES = ("linux-image-cloud-amd64", "openssh-server")
TOOLS = ("ip", "mke2fs", "nsenter", "qemu-system-x86_64", "ssh", "ssh-keygen", "unshare")
DISK_SIZE = "6G"  # sparse
MEMORY = "2G"
EMULATED_S = 300
"""Time limit of a command: emulation is ten times slower, and the machine may be busy."""
# Ports of the guest that are forwarded, with the same numbers.
SSH_PORT = 22
HUB_PORT = 80
HTTPS_PORT = 443

# qemu's network for the guest: an address of its own, and no way out.
GUEST_ADDRESS, GUEST_GATEWAY = "10.0.2.15", "10.0.2.2"


class Vm(Server):
    """A virtual server of one Debian release, without network: `with Vm("bookworm") as vm:`.

    Args:
        suite: Debian release.
        prepare: changes its disk before it boots, at the host's speed; no systemd runs.
        packages: Debian packages beyond those of a plain server.
        memory: as qemu's option -m has it.
        is_prepared_booted: systemd runs while `prepare` does.
    """

    patience_s = EMULATED_S

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
            # A method, because self._qemu changes with each boot.
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
            self._qemu = subprocess.Popen(
                self._qemu_command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        self._await_boot()

    def cut_power(self) -> None:
        """End it at once; data not yet on the disk is lost."""
        self._qemu.kill()
        self._qemu.wait()
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
            [*unshare, "sh", "-c", f"set -eu\n{CONFIGURE}\nexec sleep infinity"],
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

    def _qemu_command(self) -> list[str]:
        boot = self.image.root() / "boot"
        (kernel,), (initrd,) = boot.glob("vmlinuz-*"), boot.glob("initrd.img-*")
        append = [
            "root=/dev/vda rw fsck.mode=skip console=ttyS0 net.ifnames=0",
            f"systemd.hostname=hub-{secrets.token_hex(4)}",
            "systemd.wants=systemd-networkd.service",
            "systemd.wants=systemd-network-generator.service",
            f"ip={GUEST_ADDRESS}::{GUEST_GATEWAY}:255.255.255.0::eth0:none",
            f'"systemd.set_credential=ssh.authorized_keys.root:{self._public_key}"',
        ]
        forwarded = "".join(
            f",hostfwd=tcp:{self.address}:{port}-:{port}"
            for port in (SSH_PORT, HUB_PORT, HTTPS_PORT)
        )
        return [
            *("nsenter", f"--net=/proc/{self._launcher.pid}/ns/net"),
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
            *("-no-user-config", "-machine", "q35", "-accel", "tcg,thread=multi"),
            *("-smp", "2", "-m", self._memory, "-display", "none", "-monitor", "none"),
            *("-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initrd)),
            *("-append", " ".join(append)),
            # unsafe: a power cut of the guest is none of the host, so nothing has to be flushed.
            *("-drive", f"file={self._disk},format=raw,if=virtio,cache=unsafe"),
            *("-netdev", f"user,id=net,restrict=on{forwarded}"),
            *("-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        ]

    def _await_boot(self, before: str = "") -> None:
        def is_up() -> bool:
            if self._qemu.poll() is not None:
                raise MachineError(f"qemu ended with {self._qemu.returncode}")
            boot_id = self._boot_id()
            assert boot_id not in {"", before}, "no answer"
            return self.is_up()

        try:
            eventually(is_up, EMULATED_S, "systemd to have started everything", interval_s=0.5)
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
