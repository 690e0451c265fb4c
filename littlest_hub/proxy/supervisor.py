"""The proxy's supervisor: some traefik always serves, and its replacement loses no request.

Each address has two listening sockets that share it (SO_REUSEPORT). One generation of traefik
accepts from the first, the next from the second, and a one-instruction BPF program makes the kernel
choose which of them gets new connections. So a generation gets its first visitor when it has loaded
its routes, and the one before keeps its connections until they end.

The only record of the generations is in the unit's runtime directory. So the supervisor itself may
be replaced, restarted or killed: it leaves them running, and the next supervisor finds them. They
end with `systemctl stop`, which kills what is left in the unit.

This module uses no third-party libraries; `sd_daemon` says why.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from littlest_hub.proxy.certificates import CertificateFiles, ConfiguredCertificates
from littlest_hub.proxy.generation import REPLY, Generation, StartError, Traefik, generations
from littlest_hub.proxy.listening import (
    Address,
    group_by_address,
    in_order_of_kernel,
    other_listeners,
)
from littlest_hub.proxy.relay import ACCEPTING, relay
from littlest_hub.system.sd_daemon import Inherited, inherited_sockets, notify, spawn
from littlest_hub.system.tcp import describe_listener
from littlest_hub.system.toml import read_toml
from littlest_hub.units.entry_points import API_ENTRY_POINT, HTTPS_ENTRY_POINT, PUBLIC_ENTRY_POINT

REQUIRED_ENTRY_POINTS = (PUBLIC_ENTRY_POINT, API_ENTRY_POINT)
CANDIDATE = "traefik.next.toml"
"""A file beside the static configuration: another one, which the next reload is to try."""

SETTLE_S = 0.25
"""Time for which a generation that is ready is left alone before visitors come.

traefik puts a new configuration into effect at one entry point after the other, in no order.
"""
LINGER_S = 15
"""Time for which a generation goes on accepting when the next one has taken over.

traefik, when told to end, waits for connections on which nothing was ever sent. Browsers open some
in advance and close those that they do not need after some ten seconds.
"""
MIN_LINGER_S = 3
"""The same if the next reload is waiting: long enough for handshakes that are under way."""
QUEUE_TIMEOUT_S = 10
"""Time that a reload waits for a generation that does not accept what is queued."""
MAX_DRAINING = 3
"""The most ended generations that have connections left; each weighs some 50 MB."""
RELEASE_TIMEOUT_S = 1
"""Time in which the kernel closes the sockets of a process that was killed."""
POLL_S = 3
"""Interval at which certificates are compared with those that are loaded."""


class Supervisor:
    """Starts generations of traefik and decides which one gets new connections."""

    def __init__(
        self, traefik: Path, static_config: Path, control: Path, inherited: Sequence[Inherited]
    ) -> None:
        self.static_config = static_config
        self._directory = control.parent
        self._traefik = Traefik(traefik, self._directory)
        self.addresses = group_by_address(inherited)
        self.serving: Generation | None = None
        self._previous: Generation | None = None
        """The generation before `serving`, while it still accepts."""
        self._taken_over_at = 0.0
        self._certificates = ConfiguredCertificates(static_config.parent / "dynamic")
        self._loaded: dict[CertificateFiles, tuple[object, ...]] = {}
        self._seen: dict[CertificateFiles, tuple[object, ...]] = {}
        self._renewal_error = ""
        self._certificate_error = ""

    # --- sockets

    def check_sockets(self) -> None:
        """Check that every address is there and is ours alone; end generations of other sockets.

        Raises:
            StartError: an address is missing, or another program shares it.
        """
        self._check_presence()
        own = frozenset(inode for address in self.addresses for inode in address.inodes)
        foreign = {each.inode for each in other_listeners(own)}
        required = {
            inode
            for address in self.addresses
            if address.name in REQUIRED_ENTRY_POINTS
            for inode in address.inodes
        }
        for each in generations(self._directory):
            # HTTPS that is new, elsewhere, or no more, is no reason.
            has_our_sockets = required.issubset(each.sockets) and foreign.isdisjoint(each.sockets)
            if each.is_accepting and not has_our_sockets:
                # The sockets were replaced: it may accept from some that no one steers any more.
                os.kill(each.pid, signal.SIGKILL)
        deadline = time.monotonic() + RELEASE_TIMEOUT_S
        while (others := other_listeners(own)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for other in others:
            raise StartError(
                f"port {other.port} is taken, beside us, by a program of user {other.uid};"
                f" {_how_to_see(other.port)}"
            )

    def order_sockets(self) -> None:
        """Find out how the kernel numbers the sockets."""
        known = [inode for each in generations(self._directory) for inode in each.sockets]
        self.addresses = in_order_of_kernel(self.addresses, known)

    def _check_presence(self) -> None:
        try:
            entry_points = read_toml(self.static_config)["entryPoints"]
        except (OSError, ValueError) as error:
            raise StartError(f"{self.static_config}: {error}") from error
        present = {address.name for address in self.addresses}
        for name in (*REQUIRED_ENTRY_POINTS, HTTPS_ENTRY_POINT):
            if name in present or name not in entry_points:
                continue
            port = int(str(entry_points[name]["address"]).rpartition(":")[2])
            who = describe_listener(port)
            raise StartError(
                f"port {port} is taken by {who}; {_how_to_see(port)}"
                if who
                else f"the socket unit of {name}, port {port}, does not listen"
            )

    def _steer(self, slot: int) -> None:
        for address in self.addresses:
            address.steer(slot)

    def _queued(self, slot: int) -> int:
        return sum(address.queued(slot) for address in self.addresses if self._is_accepted(address))

    def _is_accepted(self, address: Address) -> bool:
        """Return whether the generation that serves accepts there; other queues never empty."""
        serving = self.serving
        return serving is None or address.inode_of(serving.slot) in serving.sockets

    def _pass_on(self, slot: int) -> None:
        """Connect visitors who wait at a slot from which no generation accepts to the other one."""
        accepted = self._previous.sockets if self._previous else ()
        waiting = [
            address.socket_of(slot)
            for address in self.addresses
            if len(address.sockets) > 1 and self._is_accepted(address) and address.queued(slot)
            if address.inode_of(slot) not in accepted
        ]
        if not waiting:
            return
        ours, passed = socket.socketpair()
        with ours, passed:
            # The same program: the arguments of `supervise` are the last three.
            command = [*sys.orig_argv[:-3], "relay", *self._trusted_proxies()]
            spawn(command, [*waiting, Inherited(ACCEPTING, passed.fileno())])
            passed.close()
            ours.settimeout(QUEUE_TIMEOUT_S)
            with contextlib.suppress(OSError):
                ours.recv(1)

    def _trusted_proxies(self) -> set[str]:
        """Return the addresses and networks from which traefik accepts X-Forwarded-For."""
        found: set[str] = set()
        for file in (self.static_config, self.static_config.with_name(CANDIDATE)):
            with contextlib.suppress(OSError):
                for each in read_toml(file)["entryPoints"].values():
                    found.update(each.get("forwardedHeaders", {}).get("trustedIPs", ()))
        return found

    def _wait_for_empty_queue(self, slot: int) -> None:
        deadline = time.monotonic() + QUEUE_TIMEOUT_S
        while self._queued(slot) and time.monotonic() < deadline:
            time.sleep(0.02)

    # --- replacement

    def renew(self, static_config: Path | None = None) -> None:
        """Start a generation beside the one that serves, and let it take over.

        Args:
            static_config: to start it with; None: the usual one.

        Raises:
            StartError: it did not come up; the one that served before, if there is one, goes on.
        """
        self._finish_handover()
        self.serving = before = self._elect()
        slot = 1 - before.slot if before else min((0, 1), key=self._queued)
        # A previous supervisor may have ended halfway. Without a generation, visitors wait there.
        self._steer(1 - slot)
        self._pass_on(slot)
        try:
            found = self._certificates.read()
        except ValueError as error:
            raise StartError(str(error)) from error
        problem = _problems(found)
        # Better without a certificate than without a proxy.
        if problem and before:
            raise StartError(problem)
        new = self._traefik.start(static_config or self.static_config, self.addresses, slot)
        time.sleep(SETTLE_S)
        self._steer(slot)
        self.serving, self._previous, self._taken_over_at = new, before, time.monotonic()
        self._loaded, self._renewal_error, self._certificate_error = found, "", problem
        notify("READY=1", f"STATUS={self._status()}")
        self._pass_on(1 - slot)

    def reload(self) -> str:
        """Renew with the candidate if there is one; return "ok" or why the old one goes on."""
        candidate = self.static_config.with_name(CANDIDATE)
        try:
            self.renew(candidate if candidate.exists() else None)
        except StartError as error:
            self._renewal_error = f"not reloaded: {error}"
            notify(f"STATUS={self._status()}")
            return str(error)
        return "ok"

    def _elect(self) -> Generation | None:
        """Choose the generation that serves among those that accept, and end the others."""
        present = generations(self._directory)
        for each in present:
            if not each.is_accepting:
                # The supervisor that was to end it may have been killed before.
                each.end()
        accepting = [each for each in present if each.is_accepting]
        ready = [each for each in accepting if each.is_ready]
        serving = next(reversed(ready or accepting), None)
        for each in accepting:
            if serving and each is not serving:
                self._steer(serving.slot)
                self._wait_for_empty_queue(each.slot)
                each.end()
        return serving

    def _finish_handover(self) -> None:
        """Free the other slot: end the generation that still accepts from it."""
        if self._previous:
            time.sleep(max(0.0, self._taken_over_at + MIN_LINGER_S - time.monotonic()))
            self._wait_for_empty_queue(self._previous.slot)
            self._previous.end()
            self._previous = None

    # --- the loop

    def serve(self, control: socket.socket) -> NoReturn:
        """Keep a generation serving, until a signal ends this process.

        Args:
            control: the socket that `reload` connects to.

        Raises:
            StartError: it ended by itself and another one does not come up.
        """
        wakeup, woken = socket.socketpair()
        for end in (wakeup, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(woken.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        status = ""
        while True:
            self._check_generations()
            self._check_certificates()
            if self._status() != status:
                status = self._status()
                notify(f"STATUS={status}")
            readable, _, _ = select.select([wakeup, control], [], [], POLL_S)
            if wakeup in readable:
                wakeup.recv(4096)
            if control in readable:
                with control.accept()[0] as client:
                    self._execute_again(client)

    def _check_generations(self) -> None:
        ended = _reap()
        if self.serving and self.serving.pid in ended:
            if not self._previous and time.monotonic() - self._taken_over_at < MIN_LINGER_S:
                raise StartError("traefik ends as soon as it serves")
            _log("traefik has ended by itself; starting another one")
            # The one before it may still accept.
            self.serving = self._previous = None
            self.renew()
        elif self._previous:
            if time.monotonic() - self._taken_over_at > LINGER_S:
                self._finish_handover()
        elif self.serving:
            self._pass_on(1 - self.serving.slot)
        draining = [each for each in generations(self._directory) if not each.is_accepting]
        for oldest in draining[:-MAX_DRAINING]:
            os.kill(oldest.pid, signal.SIGKILL)

    def _check_certificates(self) -> None:
        try:
            found = self._certificates.read()
        except ValueError as error:
            self._set_certificate_error(str(error))
            return
        # New ones traefik loads by itself, with the file that names them.
        replaced = [
            each for each in found if found[each] != self._loaded.setdefault(each, found[each])
        ]
        # Unchanged since the last look: both files of a pair have been written.
        is_settled, self._seen = found == self._seen, found
        if is_settled:
            self._set_certificate_error(_problems(replaced))
            if replaced and not self._certificate_error:
                _log("a certificate was replaced")
                self._try_to_renew()

    def _set_certificate_error(self, problem: str) -> None:
        if problem and problem != self._certificate_error:
            _log(problem)
        self._certificate_error = problem

    def _try_to_renew(self) -> None:
        try:
            self.renew()
        except StartError as error:
            if not self.serving:
                raise
            _log(str(error))
            self._renewal_error = str(error)

    def _execute_again(self, client: socket.socket) -> None:
        """Become a new supervisor, of the release that is active now; `supervise` does the rest.

        Args:
            client: the connection of a reload that waits for an answer.
        """
        self._finish_handover()
        passed = [client.fileno(), *(each.fd for a in self.addresses for each in a.sockets)]
        for fd in passed:
            os.set_inheritable(fd, True)
        try:
            environ = {**os.environ, REPLY: str(client.fileno())}
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
        problems = (self._renewal_error, self._certificate_error)
        reasons = "".join(f"; {each}" for each in problems if each)
        return f"Process {self.serving.pid} serves{rest}{reasons}"


def _problems(certificates: Iterable[CertificateFiles]) -> str:
    return "; ".join(filter(None, (files.problem for files in certificates)))


def _how_to_see(port: int) -> str:
    return f"see: ss -ltnp 'sport = :{port}'"


def _reap() -> set[int]:
    """Return the process ids of the children that have ended."""
    ended: set[int] = set()
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.add(pid)
    return ended


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- what the unit runs


@contextlib.contextmanager
def listening_at(control: Path) -> Iterator[socket.socket]:
    """Listen at the socket that `reload` connects to; its directory keeps other users out."""
    new = control.with_name(f".{control.name}.new")
    new.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(new))
        listening.listen()
        # Renamed only now, so that connecting to it never fails.
        new.replace(control)
        yield listening


def reload(control: Path) -> str:
    """Make the supervisor renew the proxy; return what went wrong, or ""."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        answer = b""
        while received := connection.recv(4096):
            answer += received
    text = answer.decode() or "the proxy's supervisor ended; systemd starts it again"
    return "" if text == "ok" else text


def supervise(static_config: Path, control: Path) -> NoReturn:
    """Serve; the unit starts with this, and so does the supervisor after each reload.

    Raises:
        StartError: no traefik comes up and none was serving; or one of ours ended and no other
            comes up.
    """
    # The link, not its target: the next generation is of the release that is active then.
    traefik = Path(sys.orig_argv[0]).with_name("traefik")
    supervisor = Supervisor(traefik, static_config, control, inherited_sockets())
    reply = os.environ.pop(REPLY, None)
    # Before it is ready: from then on, a reload may come at any moment.
    with listening_at(control) as listening:
        if reply is None:
            supervisor.check_sockets()
            supervisor.order_sockets()
            supervisor.renew()
        else:
            with socket.socket(fileno=int(reply)) as client:
                client.set_inheritable(False)
                supervisor.order_sockets()
                answer = supervisor.reload()
                with contextlib.suppress(OSError):
                    client.sendall(answer.encode())
            if not supervisor.serving:
                raise StartError(answer)
        supervisor.serve(listening)


def main(arguments: Sequence[str]) -> int:
    """Run one of the programs below, and return the exit code.

    Args:
        arguments: "supervise", STATIC_CONFIG, CONTROL; "reload", CONTROL; or "relay" and the
            addresses of trusted proxies.
    """
    verb, *paths = arguments
    try:
        if verb == "relay":
            relay(inherited_sockets(), paths)
            return 0
        if verb == "reload":
            problem = reload(Path(paths[0]))
            if problem:
                raise StartError(problem)
            return 0
        supervise(Path(paths[0]), Path(paths[1]))
    except StartError as error:
        if verb != "reload":
            notify(f"STATUS={error}")
        _log(f"littlest-hub: {error}")
    except OSError as error:
        _log(f"littlest-hub: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
