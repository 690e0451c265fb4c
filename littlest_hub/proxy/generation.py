"""Generations of traefik: the processes that serve, one after the other, and how one is started.

This module uses no third-party libraries; `sd_daemon` says why.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.proxy.certificates import DEFAULT_CERTIFICATE_NAME, obtained_name
from littlest_hub.proxy.listening import Address
from littlest_hub.system.locks import try_lock
from littlest_hub.system.sd_daemon import Inherited, spawn
from littlest_hub.system.tls import presented_certificate
from littlest_hub.system.toml import read_toml
from littlest_hub.units.entry_points import READY_ENTRY_POINT

READY_TIMEOUT_S = 30
CERTIFICATE_TIMEOUT_S = 10
"""Time in which a generation has to load certificates that it has obtained before."""
ERROR_TIMEOUT_S = 3
"""Time in which traefik prints why it fails."""
_NOT_LOADED = b"Error while building configuration"
"""Part of traefik's output if it uses none of the files of the dynamic configuration."""

ACCEPTING, ENDING = ".accepting", ".ending"
"""Suffixes of the records of generations."""
REPLY = "LITTLEST_HUB_PROXY_REPLY"
"""The variable that passes the socket of a reload's client to the next supervisor."""
_LOOPBACK = ("127.0.0.1", 0)
# Ours: what systemd receives is for the supervisor to send.
_NOT_PASSED = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", REPLY)


class StartError(Exception):
    """A generation did not come up; one line that says why."""


@dataclass(frozen=True)
class Generation:
    """A running traefik of ours."""

    file: Path
    """Its record; the process holds a lock on it, so that no other process is mistaken for it."""
    pid: int
    slot: int
    ready_port: int
    sockets: tuple[int, ...]
    """Inodes of the sockets of the addresses that it was given: of all slots, in their order."""

    @property
    def is_accepting(self) -> bool:
        """True until `end`."""
        return self.file.suffix == ACCEPTING

    @property
    def is_ready(self) -> bool:
        """True once it has loaded the dynamic configuration: all of it, which traefik does at once.

        Until then it answers with 404.
        """
        try:
            with socket.create_connection((_LOOPBACK[0], self.ready_port), 0.5) as connection:
                connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
                return connection.recv(13)[9:] == b"418 "
        except OSError:
            return False

    def has_certificate(self, name: str) -> bool:
        """Return whether it presents another certificate than the default one for this name."""
        found = presented_certificate((_LOOPBACK[0], self.ready_port), name, timeout_s=0.5)
        return found is not None and DEFAULT_CERTIFICATE_NAME.encode() not in found

    def end(self) -> None:
        """Make it accept no more, and end when its connections have ended, or its grace time."""
        # Missing: it has ended.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            self.file.rename(self.file.with_suffix(ENDING))
            os.kill(self.pid, signal.SIGTERM)


def generations(directory: Path) -> list[Generation]:
    """Return all generations that this supervisor and earlier ones have started, oldest first."""
    found = []
    for file in sorted(directory.iterdir()):
        if file.suffix in (ACCEPTING, ENDING):
            with file.open() as record:
                if try_lock(record):
                    file.unlink()
                else:
                    pid, slot, port, *sockets = map(int, record.read().split())
                    found.append(Generation(file, pid, slot, port, tuple(sockets)))
    return found


class Traefik:
    """The program, and the directory in which its generations are recorded."""

    def __init__(self, program: Path, directory: Path) -> None:
        self._program = program
        self._directory = directory

    def start(self, static_config: Path, addresses: Sequence[Address], slot: int) -> Generation:
        """Start a generation and return it when it is ready.

        Args:
            static_config: its static configuration.
            addresses: where visitors come in; it gets those that it has an entry point for.
            slot: which socket of each address it accepts from.

        Raises:
            StartError: it ended, or did not become ready.
        """
        served = _served(static_config, addresses)
        file = self._directory / f"{time.monotonic_ns():020}{ACCEPTING}"
        incomplete = file.with_suffix(".new")
        with incomplete.open("w") as record, socket.create_server(_LOOPBACK) as ready:
            try_lock(record)  # new, so no other process holds it
            given = [address.socket_of(slot) for address in served]
            for each in given:
                # Go takes a socket that blocks and makes it one that does not. Given one that does
                # not, it does the opposite, and a traefik that ends is stuck in accept(2) then,
                # from where it takes another visitor with it.
                os.set_blocking(each.fd, True)
            pid = self._spawn(static_config, given, ready, keep=record.fileno())
            port = ready.getsockname()[1]
            sockets = tuple(
                address.inode_of(each) for address in served for each in range(len(address.sockets))
            )
            record.write(" ".join(map(str, (pid, slot, port, *sockets))))
        incomplete.rename(file)
        new = Generation(file, pid, slot, port, sockets)
        self._wait_until_ready(new, static_config, addresses)
        # It loads certificates that it has obtained (ACME) a moment after its routes.
        deadline = time.monotonic() + CERTIFICATE_TIMEOUT_S
        name = obtained_name(static_config)
        while name and not new.has_certificate(name) and time.monotonic() < deadline:
            time.sleep(0.01)
        return new

    def _wait_until_ready(
        self, new: Generation, static_config: Path, addresses: Sequence[Address]
    ) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not new.is_ready:
            if os.waitpid(new.pid, os.WNOHANG)[0]:
                error = self._error(static_config, addresses)
                raise StartError(f"traefik does not start: {error}")
            if time.monotonic() > deadline:
                _kill(new.pid)
                error = self._error(static_config, addresses)
                raise StartError(f"traefik is not ready after {READY_TIMEOUT_S} s: {error}")
            time.sleep(0.01)

    def _spawn(
        self,
        static_config: Path,
        sockets: Sequence[Inherited],
        ready: socket.socket,
        *,
        keep: int | None = None,
        output: int | None = None,
    ) -> int:
        # Above the numbers that the sockets get.
        kept = [] if keep is None else [fcntl.fcntl(keep, fcntl.F_DUPFD_CLOEXEC, 64)]
        try:
            return spawn(
                [str(self._program), f"--configFile={static_config}"],
                [*sockets, Inherited(READY_ENTRY_POINT, ready.fileno())],
                environ=self._environment(),
                keep=kept,
                output=output,
            )
        finally:
            for fd in kept:
                os.close(fd)

    def _environment(self) -> dict[str, str]:
        """Return what drop-ins set: traefik's DNS providers take their credentials from there."""
        environ = {key: value for key, value in os.environ.items() if key not in _NOT_PASSED}
        # A small machine has no certificate authorities; Go reads /etc/ssl/certs as well.
        authorities = self._program.parent.parent / "ssl" / "cacert.pem"
        return {"SSL_CERT_FILE": str(authorities), **environ} if authorities.exists() else environ

    def _error(self, static_config: Path, addresses: Sequence[Address]) -> str:
        """Return what traefik prints when it fails: start it once more, without visitors.

        Its other output goes to the journal from the start: it must never be a pipe whose other
        end closes when the supervisor ends.
        """
        reading, writing = os.pipe()
        with contextlib.ExitStack() as stack:
            names = [READY_ENTRY_POINT, *(address.name for address in addresses)]
            ready, *others = (stack.enter_context(socket.create_server(_LOOPBACK)) for _ in names)
            given = [Inherited(n, s.fileno()) for n, s in zip(names[1:], others, strict=True)]
            pid = self._spawn(static_config, given, ready, output=writing)
            os.close(writing)
            if not _ends_within(pid, ERROR_TIMEOUT_S):
                _kill(pid)
            with os.fdopen(reading, "rb") as output:
                return _last_error(output.read())

    def refusal(self, static_config: Path) -> str:
        """Return why traefik does not start, or loads no dynamic configuration; "": it does.

        It gets sockets of its own for all entry points, so it reaches no visitor.
        """
        names = [*read_toml(static_config)["entryPoints"]]
        names.remove(READY_ENTRY_POINT)
        with contextlib.ExitStack() as stack:
            output = stack.enter_context((self._directory / "output").open("w+b"))
            ready = stack.enter_context(socket.create_server(_LOOPBACK))
            others = [stack.enter_context(socket.create_server(_LOOPBACK)) for _ in names]
            given = [Inherited(n, s.fileno()) for n, s in zip(names, others, strict=True)]
            pid = self._spawn(static_config, given, ready, output=output.fileno())
            tried = Generation(static_config, pid, 0, ready.getsockname()[1], ())
            deadline = time.monotonic() + ERROR_TIMEOUT_S
            while not tried.is_ready and time.monotonic() < deadline:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    output.seek(0)
                    return _last_error(output.read())
                time.sleep(0.01)
            output.seek(0)
            text = output.read()
        # In the sandbox of a check, which allows no signals, it ends with the sandbox.
        with contextlib.suppress(PermissionError):
            _kill(pid)
        return _last_error(text) if _NOT_LOADED in text else ""


def _served(static_config: Path, addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses that a configuration has an entry point for.

    traefik keeps the others open without ever accepting, so that visitors would wait for nothing.
    """
    try:
        names = {name.casefold() for name in read_toml(static_config)["entryPoints"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return list(addresses)  # traefik reports what is wrong
    return [address for address in addresses if address.name.casefold() in names]


def _message(line: str) -> str:
    """Return the message of a line of traefik's, which may be JSON before it is configured."""
    try:
        error = str(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return line
    return error.removeprefix("command traefik error: ")


def _last_error(output: bytes) -> str:
    lines = output.decode(errors="replace").splitlines()
    errors = [line for line in lines if "ERR" in line or "rror" in line]
    return _message((errors or lines or ["it does not say why"])[-1])


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _ends_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    return False
