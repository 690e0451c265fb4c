"""The supervisor of the proxy: some traefik always serves, and replacing it loses nothing.

Each address has two listening sockets that share it (SO_REUSEPORT). One generation of traefik
accepts from the first, the next from the second, and a one-instruction BPF program tells the kernel
which of them gets new connections: so a generation meets its first visitor when it has loaded its
routes, and the one before keeps its connections until they end.

Which generations there are is written down in the unit's runtime directory and nowhere else, so the
supervisor may be renewed, restarted or killed like the rest: it leaves them running, and its
successor finds them. They end with `systemctl stop`, which kills what is left in the unit.

The standard library only: see `systemd`.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import ssl
import struct
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from littlest_hub.system.sd_daemon import Inherited, inherited_sockets, notify, spawn
from littlest_hub.system.tcp import Listener, listeners, who_listens
from littlest_hub.system.tls import presented_certificate

ENTRY_POINTS = ("http", "auth_api")
"""Those without which nobody can be served."""
HTTPS = "https"
"""The same if the static configuration has it."""
READY = "ready"
"""The entry point at which a generation answers as soon as it has loaded its routes."""
CANDIDATE = "traefik.next.toml"
"""Beside the static configuration: another one that the next reload is to try."""

RULES_HEADER = "# The hub's rules\n"
"""How the file begins that the hub writes with every change of routes."""

READY_TIMEOUT_S = 30
SETTLE_S = 0.25
"""How long a generation that is ready is left alone before visitors come.

traefik puts a new configuration into effect at one entry point after the other, in no order.
"""
LINGER_S = 15
"""How long a generation goes on accepting when the next one has taken over.

traefik hangs on to a connection on which nothing was ever sent when it is told to end. Browsers
open some in advance and close those that they do not need after some ten seconds.
"""
LEAST_LINGER_S = 3
"""The same if the next reload is waiting: long enough for handshakes that are under way."""
MOST_LINGER_S = 10
"""After this a reload stops waiting for a generation that does not accept what is queued."""
MOST_DRAINING = 3
"""How many generations may have connections left; each weighs some 50 MB."""
CERTIFICATE_S = 10
"""How long a generation may take to load certificates that it has obtained before."""
LAST_WORDS_S = 3
"""How long traefik may take to say why it fails."""
RELEASE_S = 1
"""How long the kernel may take to close the sockets of a process that was killed."""
POLL_S = 3
"""How often certificates are looked at."""

_ACCEPTING, _ENDING = ".accepting", ".ending"
_REPLY = "LITTLEST_HUB_PROXY_REPLY"
# <asm-generic/socket.h>, <linux/bpf_common.h>, <linux/tcp.h>; Python has no names for them.
_SO_ATTACH_REUSEPORT_CBPF = 51
_BPF_RETURN_CONSTANT = 0x06
_TCPI_UNACKED = 24
_LOOPBACK = ("127.0.0.1", 0)
MAKESHIFT = "TRAEFIK DEFAULT CERT"
"""In the subject of what traefik presents when it has nothing else (its pkg/tls/generate)."""
_BACKLOG = 4096


class StartError(Exception):
    """A generation did not come up; one line that says why."""


# --- sockets


class Address(NamedTuple):
    """Where visitors come in: the listening sockets that share one address."""

    name: str
    """traefik's entry point."""
    sockets: tuple[Inherited, ...]
    """In the order of listen(2), by which the kernel numbers them: that of ListenStream=."""

    def of(self, slot: int) -> Inherited:
        """The socket of a generation; with one socket only, all generations share it."""
        return self.sockets[slot % len(self.sockets)]

    @property
    def port(self) -> int:
        with self.sockets[0].duplicate() as listening:
            return int(listening.getsockname()[1])

    def steer(self, slot: int) -> None:
        """Have the kernel give new connections to this slot's socket."""
        if len(self.sockets) > 1:
            program = struct.pack("HBBI", _BPF_RETURN_CONSTANT, 0, 0, slot)
            code = array.array("B", program)
            sock_fprog = struct.pack("HP", 1, code.buffer_info()[0])
            with self.sockets[0].duplicate() as member:
                member.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, sock_fprog)

    def relisten(self) -> None:
        """Have the kernel number the sockets from 0, which it may not after others have gone.

        Connections that wait are lost.
        """
        for each in self.sockets:
            with each.duplicate() as listening:
                listening.shutdown(socket.SHUT_RDWR)
                listening.listen(_BACKLOG)

    def queued(self, slot: int) -> int:
        """How many connections wait to be accepted."""
        with self.of(slot).duplicate() as listening:
            info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int(struct.unpack_from("I", info, _TCPI_UNACKED)[0])


def addresses(inherited: Iterable[Inherited]) -> list[Address]:
    """The inherited sockets by address; of each entry point the first address, traefik has no more.

    systemd gives all sockets of one unit the same name.
    """
    found: dict[str, dict[object, list[Inherited]]] = {}
    for each in inherited:
        with each.duplicate() as listening:
            where = listening.getsockname()
        found.setdefault(each.name, {}).setdefault(where, []).append(each)
    result = []
    for name, by_address in found.items():
        first, *others = by_address.items()
        for where, _ in others:
            _say(f"{name}: {where} is not served, an entry point has one address: {first[0]}")
        result.append(Address(name, tuple(first[1][:2])))
    return result


def _inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def _others_listening(own: frozenset[int]) -> list[Listener]:
    """What shares an address with us: another program of root's can, if it asks.

    Args:
        own: inodes of our sockets.
    """
    found = list(listeners())
    ours = {listener.local for listener in found if listener.inode in own}
    return [listener for listener in found if listener.local in ours and listener.inode not in own]


# --- generations


@dataclass(frozen=True)
class Generation:
    """A traefik of ours that runs."""

    file: Path
    """Its record; the process holds a lock on it, so that it cannot be taken for another one."""
    pid: int
    slot: int
    ready_port: int
    sockets: frozenset[int]
    """Inodes of the sockets of all slots of the addresses that it was given."""

    @property
    def accepts(self) -> bool:
        """Whether it has not been told to end yet."""
        return self.file.suffix == _ACCEPTING

    @property
    def is_ready(self) -> bool:
        """Whether it has loaded the dynamic configuration: all of it, which traefik does at once.

        Until then it answers with 404.
        """
        try:
            with socket.create_connection((_LOOPBACK[0], self.ready_port), 0.5) as connection:
                connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
                return connection.recv(13)[9:] == b"418 "
        except OSError:
            return False

    def has_certificate(self, name: str) -> bool:
        """Whether a visitor of `name` would get one that is not traefik's makeshift."""
        found = presented_certificate((_LOOPBACK[0], self.ready_port), name, timeout_s=0.5)
        return found is not None and MAKESHIFT.encode() not in found

    def end(self) -> None:
        """Have it accept no more, and end when its connections have, or its grace time."""
        # Missing: it has ended.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            self.file.rename(self.file.with_suffix(_ENDING))
            os.kill(self.pid, signal.SIGTERM)


def generations(directory: Path) -> list[Generation]:
    """All traefiks that this supervisor and those before it have started, oldest first."""
    found = []
    for file in sorted(directory.iterdir()):
        if file.suffix in (_ACCEPTING, _ENDING):
            with file.open() as record:
                try:
                    fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pid, slot, port, *sockets = map(int, record.read().split())
                    found.append(Generation(file, pid, slot, port, frozenset(sockets)))
                else:
                    file.unlink()
    return found


# --- certificates


class Pair(NamedTuple):
    """A certificate and its key, as the dynamic configuration names them."""

    certificate: str
    key: str

    @property
    def state(self) -> tuple[object, ...]:
        """What differs when one of them is replaced."""
        return tuple(_state(Path(file)) for file in self)

    @property
    def problem(self) -> str | None:
        """Why it cannot be used; None: it can."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            return f"certificate {self.certificate} with key {self.key}: {reason}"
        return None


def pairs(file: Path) -> list[Pair]:
    """The certificates that a file of the dynamic configuration names.

    Raises:
        ValueError: it is no TOML, or not traefik's.
    """
    text = file.read_text()
    # The rules of a thousand users take half a second of the processor, at every start of a server.
    if text.startswith(RULES_HEADER) and "tls" not in text:
        return []
    try:
        tls = tomllib.loads(text).get("tls", {})
        stores = tls.get("stores", {}).values()
        named = [*tls.get("certificates", ()), *(s.get("defaultCertificate") for s in stores)]
        found = [Pair(n.get("certFile", ""), n.get("keyFile", "")) for n in filter(None, named)]
        # Not the text itself, which may stand there instead.
        return [pair for pair in found if all(name.startswith("/") for name in pair)]
    except (AttributeError, TypeError) as error:
        raise ValueError(f"tls: {error}") from error


class Certificates:
    """Those that the dynamic configuration names, and in which state they are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, tuple[object, list[Pair]]] = {}

    def look(self) -> dict[Pair, tuple[object, ...]]:
        """Each pair of files, and what differs when one of them is replaced.

        Raises:
            StartError: a file of the configuration is wrong: which and why. traefik would then take
                none of them.
        """
        files = sorted(self._directory.glob("*.toml"))
        self._read = {file: read for file, read in self._read.items() if file in files}
        for file in files:
            state = _state(file)
            # The rules of a thousand users are not read every few seconds for nothing.
            if self._read.get(file, (None,))[0] != state:
                try:
                    self._read[file] = (state, pairs(file))
                except (OSError, ValueError) as error:
                    raise StartError(f"{file}: {error}") from error
        return {pair: pair.state for _, found in self._read.values() for pair in found}


def _obtained(static_config: Path) -> str:
    """A name that visitors ask for, of which the storage of ACME has a certificate; or ""."""
    try:
        configuration = tomllib.loads(static_config.read_text())
        domains = configuration["entryPoints"][HTTPS]["http"]["tls"]["domains"]
        names = {each["main"] for each in domains}
        for resolver in configuration["certificatesResolvers"].values():
            stored = json.loads(Path(resolver["acme"]["storage"]).read_text())
            for account in stored.values():
                for certificate in account["Certificates"] or ():
                    if certificate["domain"]["main"] in names:
                        return str(certificate["domain"]["main"]).replace("*", "x")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # none, or none yet
    return ""


def _state(file: Path) -> object:
    try:
        status = file.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_ino, status.st_size


# --- the supervisor


class Supervisor:
    """Starts generations of traefik and decides which one new connections go to."""

    def __init__(
        self, traefik: Path, static_config: Path, control: Path, inherited: Sequence[Inherited]
    ) -> None:
        self.traefik = traefik
        self.static_config = static_config
        self.control = control
        self._directory = control.parent
        self.addresses = addresses(inherited)
        self.serving: Generation | None = None
        self._own = frozenset(_inode(each.fd) for a in self.addresses for each in a.sockets)
        self._leaving: Generation | None = None
        self._taken_over_at = 0.0
        self._certificates = Certificates(static_config.parent / "dynamic")
        self._loaded: dict[Pair, tuple[object, ...]] = {}
        self._seen: dict[Pair, tuple[object, ...]] = {}
        self._refused = ""
        self._unusable = ""

    def check_sockets(self) -> None:
        """Refuse to serve half of what there is to serve.

        Raises:
            StartError: an address is missing, or somebody else has it too.
        """
        present = {address.name for address in self.addresses}
        entry_points = self._configuration(self.static_config)["entryPoints"]
        for name in (*ENTRY_POINTS, HTTPS):
            if name not in present and name in entry_points:
                where = str(entry_points[name]["address"])
                port = int(where.rpartition(":")[2])
                who = who_listens(port)
                raise StartError(
                    f"port {port} is taken by {who}; {_how_to_see(port)}"
                    if who
                    else f"the socket unit of {name}, port {port}, does not listen"
                )
        beside = _others_listening(self._own)
        shared = {each.port for each in beside}
        foreign = {each.inode for each in beside}
        core = {_inode(s.fd) for a in self.addresses if a.name in ENTRY_POINTS for s in a.sockets}
        for each in generations(self._directory):
            # HTTPS that is new, elsewhere, or no more, is no reason.
            is_ours = core <= each.sockets and not each.sockets & foreign
            if each.accepts and not is_ours:
                # The sockets were replaced under it: it may accept from what is nobody's any more.
                os.kill(each.pid, signal.SIGKILL)
        deadline = time.monotonic() + RELEASE_S
        while (others := _others_listening(self._own)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for address in self.addresses:
            if address.port in shared:
                address.relisten()
        for other in others:
            raise StartError(
                f"port {other.port} is taken, beside us, by a program of user {other.uid};"
                f" {_how_to_see(other.port)}"
            )

    def renew(self, static_config: Path | None = None) -> None:
        """Start a generation beside the one that serves, and have it take over.

        Args:
            static_config: to start it with; None: the usual one.

        Raises:
            StartError: it did not come up; the one that served before, if there is one, goes on.
        """
        self._finish_handover()
        self.serving = before = self._elect()
        slot = 1 - before.slot if before else max((0, 1), key=self._queued)
        for address in self.addresses:
            # Whatever the one that decided last was about to do; what is new is for the next one.
            knows = before and _inode(address.of(before.slot).fd) in before.sockets
            address.steer(before.slot if before and knows else slot)
        found = self._certificates.look()
        problem = _problem(found)
        # Better without a certificate than without a proxy.
        if problem and before:
            raise StartError(problem)
        new = self._start(slot, static_config or self.static_config)
        if before:
            time.sleep(SETTLE_S)
        self._steer(slot)
        self.serving, self._leaving, self._taken_over_at = new, before, time.monotonic()
        self._loaded, self._refused, self._unusable = found, "", problem
        notify("READY=1", f"STATUS={self._status()}")

    def reload(self) -> str:
        """Renew, with the candidate if there is one; returns "ok" or why the old one goes on."""
        candidate = self.static_config.with_name(CANDIDATE)
        try:
            self.renew(candidate if candidate.exists() else None)
        except StartError as error:
            self._refused = f"not reloaded: {error}"
            notify(f"STATUS={self._status()}")
            return str(error)
        return "ok"

    def _elect(self) -> Generation | None:
        """Of the generations that accept, the one that serves; others are told to end."""
        present = generations(self._directory)
        for each in present:
            if not each.accepts:
                # Whoever wanted to tell it may have ended before.
                each.end()
        accepting = [each for each in present if each.accepts]
        ready = [each for each in accepting if each.is_ready]
        serving = next(reversed(ready or accepting), None)
        for each in accepting:
            if serving and each is not serving:
                self._steer(serving.slot)
                self._await_empty_queue(each.slot)
                each.end()
        return serving

    def _start(self, slot: int, static_config: Path) -> Generation:
        """A generation that is ready.

        Raises:
            StartError: it ended, or did not become ready.
        """
        file = self._directory / f"{time.monotonic_ns():020}{_ACCEPTING}"
        incomplete = file.with_suffix(".new")
        with incomplete.open("w") as record, socket.create_server(_LOOPBACK) as ready:
            fcntl.flock(record, fcntl.LOCK_EX)
            served = self._served(static_config)
            given = [address.of(slot) for address in served]
            for each in given:
                # Go takes a socket that blocks and makes it one that does not. Given one that does
                # not, it does the opposite, and a traefik that ends is stuck in accept(2) then,
                # from where it takes another visitor with it.
                os.set_blocking(each.fd, True)
            pid = self._spawn(static_config, given, ready, keep=record.fileno())
            port = ready.getsockname()[1]
            sockets = frozenset(_inode(each.fd) for a in served for each in a.sockets)
            record.write(" ".join(map(str, (pid, slot, port, *sockets))))
        incomplete.rename(file)
        new = Generation(file, pid, slot, port, sockets)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not new.is_ready:
            if os.waitpid(pid, os.WNOHANG)[0]:
                raise StartError(f"traefik does not start: {self._last_words(static_config)}")
            if time.monotonic() > deadline:
                _kill(pid)
                raise StartError(
                    f"traefik is not ready after {READY_TIMEOUT_S} s:"
                    f" {self._last_words(static_config)}"
                )
            time.sleep(0.01)
        # It loads what it has obtained (ACME) a moment after its routes.
        deadline = time.monotonic() + CERTIFICATE_S
        name = _obtained(static_config)
        while name and not new.has_certificate(name) and time.monotonic() < deadline:
            time.sleep(0.01)
        return new

    def _served(self, static_config: Path) -> list[Address]:
        """Those of our addresses that a configuration has an entry point for.

        traefik keeps the others open without ever accepting, so that visitors wait for nothing.
        """
        try:
            entry_points = self._configuration(static_config)["entryPoints"]
            names = {name.casefold() for name in entry_points}
        except (StartError, KeyError, AttributeError):
            return self.addresses  # traefik says what is wrong
        return [address for address in self.addresses if address.name.casefold() in names]

    def _spawn(
        self,
        static_config: Path,
        sockets: Sequence[Inherited],
        ready: socket.socket,
        *,
        keep: int | None = None,
        output: int | None = None,
    ) -> int:
        # Out of the way of the sockets' numbers.
        kept = [] if keep is None else [fcntl.fcntl(keep, fcntl.F_DUPFD_CLOEXEC, 64)]
        try:
            return spawn(
                [str(self.traefik), f"--configFile={static_config}"],
                [*sockets, Inherited(READY, ready.fileno())],
                environ=self._environment(),
                keep=kept,
                output=output,
            )
        finally:
            for fd in kept:
                os.close(fd)

    def _environment(self) -> dict[str, str]:
        """What drop-ins give it: traefik's DNS providers take their credentials from there."""
        # Not NOTIFY_SOCKET: what systemd hears is ours to say.
        ours = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", _REPLY)
        environ = {key: value for key, value in os.environ.items() if key not in ours}
        # A small machine has no certificate authorities; Go reads /etc/ssl/certs as well.
        known = self.traefik.parent.parent / "ssl" / "cacert.pem"
        return {"SSL_CERT_FILE": str(known), **environ} if known.exists() else environ

    def _last_words(self, static_config: Path) -> str:
        """What traefik prints when it fails, by letting it fail again, without visitors.

        What it prints otherwise belongs to the journal from the start: it must never be a pipe
        whose other end goes away with us.
        """
        reading, writing = os.pipe()
        with contextlib.ExitStack() as stack:
            names = [READY, *(address.name for address in self.addresses)]
            ready, *others = (stack.enter_context(socket.create_server(_LOOPBACK)) for _ in names)
            given = [Inherited(n, s.fileno()) for n, s in zip(names[1:], others, strict=True)]
            pid = self._spawn(static_config, given, ready, output=writing)
            os.close(writing)
            if not _ends_within(pid, LAST_WORDS_S):
                _kill(pid)
            with os.fdopen(reading, "rb") as output:
                lines = output.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if "ERR" in line or "rror" in line]
        return _plain((errors or lines or ["it does not say why"])[-1])

    # --- handing over

    def _steer(self, slot: int) -> None:
        for address in self.addresses:
            address.steer(slot)

    def _queued(self, slot: int) -> int:
        return sum(address.queued(slot) for address in self._accepted())

    def _accepted(self) -> list[Address]:
        """Where the generation that serves accepts; nobody empties the other queues."""
        serving = self.serving
        if serving is None:
            return self.addresses
        return [a for a in self.addresses if _inode(a.of(serving.slot).fd) in serving.sockets]

    def _finish_handover(self) -> None:
        """Have the other socket free: the generation that left it accepts no more."""
        if self._leaving:
            time.sleep(max(0.0, self._taken_over_at + LEAST_LINGER_S - time.monotonic()))
            self._await_empty_queue(self._leaving.slot)
            self._leaving.end()
            self._leaving = None

    def _await_empty_queue(self, slot: int) -> None:
        deadline = time.monotonic() + MOST_LINGER_S
        while self._queued(slot) and time.monotonic() < deadline:
            time.sleep(0.02)

    # --- from now on

    def serve(self) -> NoReturn:
        """Keep a generation serving, until a signal ends us.

        Raises:
            StartError: it ended by itself and another one does not come up.
        """
        wakeup, woken = socket.socketpair()
        for end in (wakeup, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(woken.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with listening_at(self.control) as control:
            status = ""
            while True:
                self._look_after()
                if self._status() != status:
                    status = self._status()
                    notify(f"STATUS={status}")
                heard, _, _ = select.select([wakeup, control], [], [], POLL_S)
                if wakeup in heard:
                    wakeup.recv(4096)
                if control in heard:
                    with control.accept()[0] as client:
                        self._become_new(client)

    def _look_after(self) -> None:
        ended = _reap()
        if self.serving and self.serving.pid in ended:
            if not self._leaving and time.monotonic() - self._taken_over_at < LEAST_LINGER_S:
                raise StartError("traefik ends as soon as it serves")
            _say("traefik has ended by itself; starting another one")
            # The one before it may still accept.
            self.serving = self._leaving = None
            self.renew()
        elif self._leaving:
            if time.monotonic() - self._taken_over_at > LINGER_S:
                self._finish_handover()
        elif self.serving and self._is_stranded(1 - self.serving.slot):
            self._try_to_renew()
        draining = [each for each in generations(self._directory) if not each.accepts]
        for oldest in draining[:-MOST_DRAINING]:
            os.kill(oldest.pid, signal.SIGKILL)
        self._look_after_certificates()

    def _look_after_certificates(self) -> None:
        try:
            found = self._certificates.look()
        except StartError as error:
            self._note_unusable(str(error))
            return
        # Those that are new traefik loads by itself, with the file that names them.
        replaced = [p for p in found if found[p] != self._loaded.setdefault(p, found[p])]
        # As last time: whoever replaces them has written both files.
        is_settled, self._seen = found == self._seen, found
        if is_settled:
            self._note_unusable(_problem(replaced))
            if replaced and not self._unusable:
                _say("a certificate was replaced")
                self._try_to_renew()

    def _note_unusable(self, problem: str) -> None:
        if problem and problem != self._unusable:
            _say(problem)
        self._unusable = problem

    def _try_to_renew(self) -> None:
        try:
            self.renew()
        except StartError as error:
            if not self.serving:
                raise
            _say(str(error))
            self._refused = str(error)

    def _is_stranded(self, slot: int) -> bool:
        """Whether somebody waits where nobody accepts."""
        return any(len(a.sockets) > 1 and a.queued(slot) for a in self._accepted())

    def _become_new(self, client: socket.socket) -> None:
        """A reload: the supervisor itself anew, of the release that is the active one by now.

        `supervise` does the rest, and answers.
        """
        self._finish_handover()
        passed = [client.fileno(), *(each.fd for a in self.addresses for each in a.sockets)]
        for fd in passed:
            os.set_inheritable(fd, True)
        environ = {**os.environ, _REPLY: str(client.fileno())}
        try:
            os.execve(sys.orig_argv[0], sys.orig_argv, environ)
        except OSError as error:
            for fd in passed:
                os.set_inheritable(fd, False)
            client.sendall(f"{sys.orig_argv[0]}: {error.strerror}".encode())

    def _status(self) -> str:
        if not self.serving:
            return "No traefik serves"
        older = sum(1 for g in generations(self._directory) if g.pid != self.serving.pid)
        rest = f"; {older} before it finish their connections" if older else ""
        problems = "".join(f"; {each}" for each in (self._refused, self._unusable) if each)
        return f"Process {self.serving.pid} serves{rest}{problems}"

    def _configuration(self, file: Path) -> dict[str, Any]:
        try:
            return dict(tomllib.loads(file.read_text()))
        except (OSError, ValueError) as error:
            raise StartError(f"{file}: {error}") from error


def _plain(line: str) -> str:
    """What a line of traefik's says: before it has read its configuration, it writes JSON."""
    try:
        error = str(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return line
    return error.removeprefix("command traefik error: ")


def _problem(certificates: Iterable[Pair]) -> str:
    return "; ".join(filter(None, (pair.problem for pair in certificates)))


def _how_to_see(port: int) -> str:
    return f"see: ss -ltnp 'sport = :{port}'"


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


def _reap() -> set[int]:
    """Process ids of the children that have ended."""
    ended: set[int] = set()
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.add(pid)
    return ended


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- what the unit runs


@contextlib.contextmanager
def listening_at(control: Path) -> Iterator[socket.socket]:
    """The socket at which a reload is asked for; its directory keeps others out."""
    control.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(control))
        listening.listen()
        yield listening


def reload(control: Path) -> str:
    """Have the proxy renewed; returns what went wrong, or nothing."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        answer = b""
        while received := connection.recv(4096):
            answer += received
    text = answer.decode() or "the proxy's supervisor ended; systemd starts it again"
    return "" if text == "ok" else text


def supervise(static_config: Path, control: Path) -> NoReturn:
    """Serve; what the unit starts, and what each reload becomes.

    Raises:
        StartError: no traefik comes up and none was serving; or one of ours ended and no other
            comes up.
    """
    # The link, not what it leads to: the next generation is of the release that is active then.
    traefik = Path(sys.orig_argv[0]).with_name("traefik")
    supervisor = Supervisor(traefik, static_config, control, inherited_sockets())
    reply = os.environ.pop(_REPLY, None)
    if reply is None:
        supervisor.check_sockets()
        supervisor.renew()
    else:
        with socket.socket(fileno=int(reply)) as client:
            client.set_inheritable(False)
            answer = supervisor.reload()
            with contextlib.suppress(OSError):
                client.sendall(answer.encode())
        if not supervisor.serving:
            raise StartError(answer)
    supervisor.serve()


def main(arguments: Sequence[str]) -> int:
    """`supervise STATIC_CONFIG CONTROL` or `reload CONTROL`."""
    verb, *paths = arguments
    try:
        if verb == "reload":
            problem = reload(Path(paths[0]))
            if problem:
                raise StartError(problem)
            return 0
        supervise(Path(paths[0]), Path(paths[1]))
    except StartError as error:
        if verb != "reload":
            notify(f"STATUS={error}")
        _say(f"littlest-hub: {error}")
    except OSError as error:
        _say(f"littlest-hub: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
