"""A booted server as tests use it: commands, files, units, accounts."""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pexpect

from littlest_hub.system.systemctl import ALL_JOURNALS

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MachineError(RuntimeError):
    """A server did not boot, or a command on it failed; the message has its output."""


class Server:
    """A booted Debian server without network; subclasses boot and enter it."""

    running: list["Server"] = []

    title: str
    """Its description in the report of a failure."""
    address: str
    """The IPv4 address at which its ports are reachable from the host."""
    patience_s: float = 120
    """Time limit of a command, by default."""

    def __init__(self) -> None:
        self._copied: dict[Path, str] = {}

    def enter(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        terminal: bool = False,
    ) -> list[str]:
        """Return a command for the host that runs `argv` on the server, as after a login.

        Args:
            argv: the command.
            user: the account to run it as.
            env: additional environment variables.
            terminal: whether to pass the host's terminal on to it.
        """
        raise NotImplementedError

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        check: bool = True,
        user: str = "root",
        timeout_s: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the server, with a login's environment plus `env`.

        Raises:
            MachineError: it took more than `timeout_s` (default: `patience_s`), or, with `check`,
                it did not exit with 0.
        """
        timeout_s = timeout_s or self.patience_s
        argv = [str(word) for word in command]
        try:
            done = subprocess.run(
                self.enter(argv, user=user, env=env),
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

    def processes(self, user: str = "") -> list[str]:
        """Return the command lines of what runs; a small machine has neither ps nor pgrep.

        Args:
            user: name or number of their user; "": of all.
        """
        script = (
            "for each in $(find /proc -maxdepth 1 -name '[0-9]*' \"$@\"); do"
            " tr '\\0' ' ' <$each/cmdline; echo; done 2>/dev/null; true"
        )
        condition = ["-user", user] if user else []
        lines = self.run(["sh", "-c", script, "sh", *condition]).stdout.splitlines()
        return [line.strip() for line in lines if line.strip()]

    def terminal(self, argv: Sequence[str], *, timeout_s: float = 120) -> "pexpect.spawn[str]":
        """Start a command as root in a new terminal, into which the caller types."""
        command, *arguments = self.enter(argv, env={"TERM": "xterm"}, terminal=True)
        return pexpect.spawn(
            command,
            arguments,
            encoding="utf-8",
            timeout=timeout_s,
            dimensions=(40, 120),
            # A shell that starts this process in the background ignores SIGINT (sh(1), "&"), which
            # is inherited: Ctrl-C would do nothing.
            preexec_fn=_heed_interrupts,
        )

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
        """Copy the installer to the server and run it: `bash installer -b`."""
        script = self.copy(sh, f"/var/tmp/{sh.name}")
        under_umask = 'umask "$1"; shift; exec bash "$@"'
        return self.run(
            ["sh", "-c", under_umask, "sh", f"{umask:03o}", script, *args],
            env=env,
            check=check,
            user=user,
            timeout_s=3 * self.patience_s,
        )

    def copy(self, source: Path, path: str) -> str:
        """Copy a file of the host to the server, once, readable by all, and return `path`."""
        if self._copied.get(source) != path:
            with source.open("rb") as content:
                write = ["sh", "-c", 'cat >"$1" && chmod 0644 "$1"', "sh", path]
                subprocess.run(self.enter(write), stdin=content, check=True)
            self._copied[source] = path
        return path

    def put(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a text file as root, with its directories."""
        script = 'mkdir -p "${1%/*}" && cat >"$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], input=text)

    def read(self, path: str) -> str:
        """Return the text of a file on the server."""
        return self.run(["cat", path]).stdout

    def systemctl(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `systemctl ARGS`."""
        return self.run(["systemctl", *args], check=check)

    def journal(self, unit: str | None = None, *, lines: int | None = None) -> str:
        """Return the journal since boot, of all units or of those that match a pattern."""
        only = [f"--unit={unit}"] if unit else []
        tail = [f"--lines={lines}"] if lines else []
        options = [ALL_JOURNALS, "--boot", "--no-pager", *only, *tail]
        return self.run(["journalctl", *options], check=False).stdout

    def add_user(self, name: str, password: str) -> None:
        """Create a system account."""
        self.run(["useradd", "--create-home", "--shell", "/bin/bash", name])
        self.run(["chpasswd"], input=f"{name}:{password}\n")

    def is_up(self) -> bool:
        """Wait until systemd has started everything, and return True."""
        state = self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
        assert state in {"running", "degraded"}, state
        return True


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def as_login(argv: Sequence[str], user: str, env: Mapping[str, str] | None) -> list[str]:
    """Return the command for root on the server that runs `argv` as after a login."""
    become = [] if user == "root" else ["runuser", "-u", user, "--"]
    home = "/root" if user == "root" else f"/home/{user}"
    variables = {"PATH": PATH, "HOME": home, "USER": user, "LANG": "C.UTF-8", **(env or {})}
    return [*become, "env", "-i", *(f"{name}={value}" for name, value in variables.items()), *argv]
