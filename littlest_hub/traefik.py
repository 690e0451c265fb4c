"""The supervisor of the proxy: some traefik always serves, and replacing it loses nothing.

Each address has two listening sockets that share it (SO_REUSEPORT). One generation of traefik
accepts from the first, the next from the second, and a one-instruction BPF program tells the kernel
which of them gets new connections: so a generation meets its first visitor when it has loaded its
routes, and the one before keeps its connections until they end.

What is the case is read from /proc each time. Nothing has to be remembered, so the supervisor may
be renewed, restarted or killed like the rest: it leaves the generations running, and its successor
finds them. They end with `systemctl stop`, which kills what is left in the unit.

The standard library only: see `systemd`.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from littlest_hub.systemd import Inherited, inherited_sockets, notify, spawn

if sys.version_info >= (3, 11):
    import tomllib
else:
    import toml as tomllib

ENTRY_POINTS = ("http", "auth_api")
"""Those without which nobody can be served."""
READY = "ready"
"""The entry point at which a generation answers as soon as it has loaded its routes."""
CANDIDATE = "traefik.toml.new"
"""Beside the static configuration: another one that the next reload is to try."""

READY_TIMEOUT_S = 30
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
LAST_WORDS_S = 3
"""How long traefik may take to say why it fails."""
POLL_S = 3
"""How often certificates are looked at."""

_MARK = "LITTLEST_HUB_PROXY"
_REPLY = "LITTLEST_HUB_PROXY_REPLY"
# <asm-generic/socket.h>, <linux/bpf_common.h>, <linux/tcp.h>; Python has no names for them.
_SO_ATTACH_REUSEPORT_CBPF = 51
_BPF_RETURN_CONSTANT = 0x06
_TCPI_UNACKED = 24
_TCP_LISTEN = "0A"
_LOOPBACK = ("127.0.0.1", 0)
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


def _others_listening(own: frozenset[int]) -> dict[int, int]:
    """Who shares an address with us: port and user id. Another program of root's can, if it asks.

    Args:
        own: inodes of our sockets.
    """
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, _, _, _, user, _, inode, *_ = line.split()
                if state == _TCP_LISTEN:
                    found.append((local, int(user), int(inode)))
    ours = {local for local, _, inode in found if inode in own}
    return {
        int(local.rpartition(":")[2], 16): user
        for local, user, inode in found
        if local in ours and inode not in own
    }


# --- generations


class Generation(NamedTuple):
    """A traefik of ours that runs."""

    started: int
    """In clock ticks since the machine's start."""
    pid: int
    slot: int
    ready_port: int
    sockets: frozenset[int]
    """Inodes of the sockets of all slots when it was started."""
    accepts: bool
    """Whether it has not been told to end yet."""

    @property
    def is_ready(self) -> bool:
        """Whether it has loaded the dynamic configuration: all of it, which traefik does at once.

        Until then it answers with 404.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.ready_port), 0.5) as connection:
                connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
                return connection.recv(13)[9:] == b"418 "
        except OSError:
            return False


def generations(of: Path) -> list[Generation]:
    """All traefiks that a supervisor of the same control socket has started, oldest first."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        # It may end at any moment, and those of other users are none of ours.
        with contextlib.suppress(OSError):
            environ = (process / "environ").read_bytes().split(b"\0")
            marks = [each for each in environ if each.startswith(_MARK.encode() + b"=")]
            mark = json.loads(marks[0].partition(b"=")[2]) if marks else {}
            if mark.get("of") == str(of):
                started = int((process / "stat").read_text().rpartition(")")[2].split()[19])
                sockets = frozenset(mark["sockets"])
                accepts = not sockets.isdisjoint(_open_sockets(process))
                found.append(
                    Generation(
                        started, int(process.name), mark["slot"], mark["ready"], sockets, accepts
                    )
                )
    return sorted(found)


def _open_sockets(process: Path) -> set[int]:
    found = set()
    for fd in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kind, _, inode = str(fd.readlink()).partition(":")
            if kind == "socket":
                found.add(int(inode.strip("[]")))
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
    try:
        tls = tomllib.loads(file.read_text()).get("tls", {})
        stores = tls.get("stores", {}).values()
        named = [*tls.get("certificates", ()), *(s.get("defaultCertificate") for s in stores)]
        found = [Pair(n.get("certFile", ""), n.get("keyFile", "")) for n in filter(None, named)]
    except (AttributeError, TypeError) as error:
        raise ValueError(f"tls: {error}") from error
    # Not the text itself, which may stand there instead.
    return [pair for pair in found if all(name.startswith("/") for name in pair)]


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
        for file in sorted(self._directory.glob("*.toml")):
            state = _state(file)
            # The rules of a thousand users are not read every few seconds for nothing.
            if self._read.get(file, (None,))[0] != state:
                try:
                    self._read[file] = (state, pairs(file))
                except (OSError, ValueError) as error:
                    raise StartError(f"{file}: {error}") from error
        return {pair: pair.state for _, found in self._read.values() for pair in found}


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
        for name in ENTRY_POINTS:
            if name not in present:
                where = str(self._configuration()["entryPoints"][name]["address"])
                raise StartError(f"another program listens on {where}; {_how_to_see(where)}")
        strangers = [g for g in generations(self.control) if g.sockets != self._own]
        for leftover in strangers:
            # Its sockets were replaced under it.
            self._end(leftover)
        if strangers:
            for address in self.addresses:
                address.relisten()
        for port, user in _others_listening(self._own).items():
            raise StartError(
                f"another program, of user id {user}, listens on port {port} beside us;"
                f" {_how_to_see(f':{port}')}"
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
        # Whatever the one that decided last was about to do.
        self._steer(before.slot if before else slot)
        found = self._certificates.look()
        problem = _problem(found)
        # Better without a certificate than without a proxy.
        if problem and before:
            raise StartError(problem)
        new = self._start(slot, static_config or self.static_config)
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
        accepting = [each for each in generations(self.control) if each.accepts]
        ready = [each for each in accepting if each.is_ready]
        serving = next(reversed(ready or accepting), None)
        for each in accepting:
            if serving and each is not serving:
                self._steer(serving.slot)
                self._await_empty_queue(each.slot)
                self._end(each)
        return serving

    def _start(self, slot: int, static_config: Path) -> Generation:
        """A generation that is ready.

        Raises:
            StartError: it ended, or did not become ready.
        """
        with socket.create_server(_LOOPBACK) as ready:
            mark = {
                "of": str(self.control),
                "slot": slot,
                "ready": ready.getsockname()[1],
                "sockets": sorted(self._own),
            }
            given = [address.of(slot) for address in self.addresses]
            pid = self._spawn(static_config, given, ready, {_MARK: json.dumps(mark)})
        new = Generation(0, pid, slot, mark["ready"], self._own, True)
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
        return new

    def _spawn(
        self,
        static_config: Path,
        sockets: Iterable[Inherited],
        ready: socket.socket,
        environ: Mapping[str, str],
        output: int | None = None,
    ) -> int:
        # Not NOTIFY_SOCKET: what systemd hears is ours to say.
        return spawn(
            [str(self.traefik), f"--configFile={static_config}"],
            [*sockets, Inherited(READY, ready.fileno())],
            environ={"PATH": os.environ.get("PATH", os.defpath), **environ},
            output=output,
        )

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
            pid = self._spawn(static_config, given, ready, {}, writing)
            os.close(writing)
            if not _ends_within(pid, LAST_WORDS_S):
                _kill(pid)
            with os.fdopen(reading, "rb") as output:
                lines = output.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if "ERR" in line or "rror" in line]
        return " / ".join(errors[-2:] or lines[-2:]) or "it does not say why"

    # --- handing over

    def _steer(self, slot: int) -> None:
        for address in self.addresses:
            address.steer(slot)

    def _queued(self, slot: int) -> int:
        return sum(address.queued(slot) for address in self.addresses)

    def _finish_handover(self) -> None:
        """Have the other socket free: the generation that left it accepts no more."""
        if self._leaving:
            time.sleep(max(0.0, self._taken_over_at + LEAST_LINGER_S - time.monotonic()))
            self._await_empty_queue(self._leaving.slot)
            self._end(self._leaving)
            self._leaving = None

    def _await_empty_queue(self, slot: int) -> None:
        deadline = time.monotonic() + MOST_LINGER_S
        while self._queued(slot) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _end(self, generation: Generation) -> None:
        """Have it accept no more, and end when its connections have, or its grace time."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(generation.pid, signal.SIGTERM)
        deadline = time.monotonic() + 2
        while any(g.pid == generation.pid and g.accepts for g in generations(self.control)):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(generation.pid, signal.SIGKILL)
            time.sleep(0.01)

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
            if time.monotonic() - self._taken_over_at < LEAST_LINGER_S:
                raise StartError("traefik ends as soon as it serves")
            _say("traefik has ended by itself; starting another one")
            self.serving = None
            self.renew()
        elif self._leaving:
            if time.monotonic() - self._taken_over_at > LINGER_S:
                self._finish_handover()
        elif self.serving and self._is_stranded(1 - self.serving.slot):
            self._try_to_renew()
        draining = [each for each in generations(self.control) if not each.accepts]
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
        return any(len(a.sockets) > 1 and a.queued(slot) for a in self.addresses)

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
        older = sum(1 for g in generations(self.control) if g.pid != self.serving.pid)
        rest = f"; {older} before it finish their connections" if older else ""
        problems = "".join(f"; {each}" for each in (self._refused, self._unusable) if each)
        return f"Process {self.serving.pid} serves{rest}{problems}"

    def _configuration(self) -> dict[str, Any]:
        try:
            return dict(tomllib.loads(self.static_config.read_text()))
        except (OSError, ValueError) as error:
            raise StartError(f"{self.static_config}: {error}") from error


def _problem(certificates: Iterable[Pair]) -> str:
    return "; ".join(filter(None, (pair.problem for pair in certificates)))


def _how_to_see(address: str) -> str:
    return f"see: ss -ltnp 'sport = :{address.rpartition(':')[2]}'"


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
