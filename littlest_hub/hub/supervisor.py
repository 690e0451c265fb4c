"""The main process of the hub's unit: starts hubs, and replaces one with the next.

JupyterHub takes seconds to import, and only one hub may have the database open. So the next hub is
started beside the serving one, imports and checks everything that can be checked, applies the
proxy's configuration, and waits. Only when it is prepared is the old one retired; no hub accepts
requests while the new one opens the database. Meanwhile requests wait in the backlog of sockets
that systemd holds, that hubs inherit, and that are never closed.

Hub and supervisor exchange the messages of `littlest_hub.hub.control`. SIGTERM, or the end of the
supervisor, ends a hub at once. Each hub copies the fragments that it was started with to
RUN/fragments-PID, and `serve-hub --fragments RUN/fragments-PID` starts another hub with the copy.
So if the present fragments fail, a hub with the previous ones can serve again.

This module uses little of the standard library: its process has to start at once and stay small.
`dataclasses`, for example, would take 1 MiB, so records are named tuples.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import control
from littlest_hub.hub.records import (
    Handover,
    ReloadEnvironment,
    ReloadOutcome,
    read,
    write_volatile,
)
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.system.files import remove_tree
from littlest_hub.system.sd_daemon import Inherited, inherited_sockets, notify, spawn

PREPARE_TIMEOUT_S = 60
RETIRE_TIMEOUT_S = 100
"""More than a hub waits for pending servers, for its services, and for requests."""
START_TIMEOUT_S = 75
RELOAD_TIMEOUT_S = PREPARE_TIMEOUT_S + RETIRE_TIMEOUT_S + 2 * START_TIMEOUT_S + 70
"""Preparing, retiring and starting, then preparing and starting once more after a late failure.

With the time of a check less than TimeoutStartSec= of the unit, which limits ExecReload= too.
"""

_HANDOVER = "LITTLEST_HUB_HANDOVER"
_KEPT = "kept"
"""A word in place of a process id: the copy of fragments with which a hub served last."""
_PREPARING, _SERVING = 10, 0
"""Niceness of hubs."""
_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class HubFailedError(LittlestHubError):
    """A hub that could not be prepared or started."""


class _StoppedError(Exception):
    """A signal that stops the supervisor has arrived."""


def supervise(layout: Layout) -> None:
    """Run hubs until a signal stops the unit.

    Raises:
        LittlestHubError: no hub can be started, with the reason; systemd starts the unit again.
    """
    sockets = inherited_sockets()
    try:
        if not sockets:
            raise LittlestHubError(_missing_socket_reason(layout))
        _Supervisor(layout, sockets).run()
    except LittlestHubError as error:
        reason = error.message.splitlines()[0]
        notify(f"STATUS=Does not start: {reason}")
        write_volatile(layout.last_failure, reason)
        raise


class _Hub(NamedTuple):
    """A hub, started by this process."""

    pid: int
    channel: socket.socket
    release: Path

    def kill(self, number: signal.Signals) -> None:
        # The number is still this child's: only the supervisor waits for its children.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def set_niceness(self, niceness: int) -> None:
        """Set the share of a busy processor, if it can be raised again (LimitNICE= of the unit)."""
        # getrlimit(2): RLIMIT_NICE is 20 - nice, so 20 is nice 0.
        if resource.getrlimit(resource.RLIMIT_NICE)[1] >= 20:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.pid, niceness)

    def reap(self) -> str:
        """Wait 2 s for its exit, then kill it with SIGKILL; return how it ended."""
        deadline = time.monotonic() + 2
        status = None
        while status is None:
            if time.monotonic() > deadline:
                self.kill(signal.SIGKILL)
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status = code
            else:
                time.sleep(0.002)
        self.channel.close()
        code = os.waitstatus_to_exitcode(status)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"


def _spawn(
    command: list[str], release: Path, sockets: list[Inherited], environ: dict[str, str]
) -> _Hub:
    """Start a hub's process.

    Raises:
        OSError: there is no process or descriptor left for it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        environ = {**environ, control.DESCRIPTOR: str(theirs.fileno())}
        try:
            pid = spawn(command, sockets, environ=environ, keep=[theirs.fileno()])
        except OSError:
            ours.close()
            raise
    return _Hub(pid, ours, release)


class _Message(NamedTuple):
    """An event that a supervisor waits for: a hub's message, or `_RELOAD_REQUEST`."""

    word: str
    text: str = ""


_RELOAD_REQUEST = _Message("")
"""A stand-in for a hub's message: SIGHUP has arrived."""


class _Supervisor:
    def __init__(self, layout: Layout, sockets: list[Inherited]) -> None:
        self._layout = layout
        self._sockets = sockets
        self._hubs: list[_Hub] = []
        self._is_reload_pending = False
        self._environ = dict(os.environ)
        """The environment of hubs."""
        self._wakeup, written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        # `_hand_over` has blocked them, so that none is lost between the two programs.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def run(self) -> None:
        try:
            hub = self._adopt_hub() or self._start_first()
            while True:
                if self._is_reload_pending:
                    hub = self._reload(hub)
                    continue
                # A reload request is handled by the next turn.
                message = self._receive(hub)
                if message is None:
                    hub = self._replace(hub)
                elif message.word == "status":
                    notify(f"STATUS={message.text}")
        except _StoppedError:
            pass
        finally:
            self._stop_all()

    # --- events

    def _start_first(self) -> _Hub:
        kept = self._layout.fragments_copy(_KEPT)
        for copy in self._layout.run_directory.glob(self._layout.fragments_copy("*").name):
            if copy != kept:
                remove_tree(copy)
        last = read(self._layout.last_failure)
        notify(f"STATUS=Starting; last attempt: {last}" if last else "STATUS=Starting")
        try:
            hub = self._start()
        except HubFailedError as error:
            if not kept.is_dir():
                raise
            _log(f"A hub fails: {error.message}. Starting one like the last that served")
            hub = self._start(fragments=kept)
            notify(f"STATUS=Runs as before, since a new hub fails: {error.message}")
        remove_tree(kept)
        return hub

    def _reload(self, old: _Hub) -> _Hub:
        """Replace a hub; return the next one or, if that fails, one like the old one."""
        self._is_reload_pending = False
        began_ns = time.monotonic_ns()
        notify("STATUS=Reloading: preparing the next hub")
        before = self._environ
        self._environ = _next_environment(self._layout, before)
        try:
            new = self._prepare()
        except HubFailedError as error:
            self._environ = before
            # The proxy may have the next hub's configuration; an earlier release's hub would end.
            if old.release == release_of_this_interpreter():
                control.send(old.channel, "restore")
            self._report_failed_reload(began_ns, error.message)
            return old
        notify("STATUS=Reloading: waiting for servers that start or stop")
        self._retire(old)
        try:
            hub = self._activate(new)
        except HubFailedError as error:
            _log(f"The next hub failed: {error.message}. Starting one like that of before")
            self._environ = before
            hub = self._start_again(old)
            self._report_failed_reload(began_ns, error.message)
            return hub
        self._remove_fragments_copy(old)
        write_volatile(self._layout.reload_outcome, ReloadOutcome(began_ns).to_json())
        if hub.release != release_of_this_interpreter():
            self._hand_over(hub)
        return hub

    def _replace(self, dead: _Hub) -> _Hub:
        """Start another hub after one has ended by itself."""
        _log(f"The hub {self._reap(dead)}; starting another")
        notify("STATUS=Starting again: the hub ended by itself")
        try:
            hub = self._start()
        except HubFailedError as error:
            _log(f"It fails: {error.message}. Starting one like that of before")
            hub = self._start_again(dead)
            notify(f"STATUS=Runs as before its crash, since a new hub fails: {error.message}")
            return hub
        self._remove_fragments_copy(dead)
        return hub

    def _report_failed_reload(self, began_ns: int, reason: str) -> None:
        _log(f"Not reloaded: {reason}")
        notify(f"STATUS=Not reloaded: {reason}")
        write_volatile(self._layout.reload_outcome, ReloadOutcome(began_ns, reason).to_json())

    # --- the life of a hub

    def _start_again(self, old: _Hub) -> _Hub:
        """Start a hub of the release and with the fragments of an earlier one.

        Raises:
            HubFailedError: even that one fails now. Then the unit exits, and systemd starts it
                again with the fragments on disk; if these fail, with those that are kept.
        """
        copy = self._layout.fragments_copy(old.pid)
        try:
            hub = self._start(old.release, copy if copy.is_dir() else None)
        except HubFailedError:
            with contextlib.suppress(OSError):
                copy.rename(self._layout.fragments_copy(_KEPT))
            raise
        self._remove_fragments_copy(old)
        return hub

    def _start(self, release: Path | None = None, fragments: Path | None = None) -> _Hub:
        """Start a hub while no other one serves; return it when it answers.

        Raises:
            HubFailedError: it does not answer.
        """
        return self._activate(self._prepare(release, fragments))

    def _prepare(self, release: Path | None = None, fragments: Path | None = None) -> _Hub:
        """Start a hub process; return it when it is prepared to serve.

        Raises:
            HubFailedError: it cannot be started, or it failed before it was prepared.
        """
        # Resolved now, not while it starts: all of a hub is of one release.
        release = release or self._layout.hub.resolve()
        command = [str(release / "bin" / "python3"), "-I", "-m", "littlest_hub", "serve-hub"]
        if fragments:
            command += ["--fragments", str(fragments)]
        try:
            hub = _spawn(command, release, self._sockets, self._hub_environment())
        except OSError as error:
            # Out of processes or descriptors: the serving hub must not end for that.
            raise HubFailedError(f"no other hub can be started: {error.strerror}") from error
        self._hubs.append(hub)
        if len(self._hubs) > 1:
            # The serving hub has the processor first.
            hub.set_niceness(_PREPARING)
        self._await_message(hub, "prepared", PREPARE_TIMEOUT_S)
        return hub

    def _hub_environment(self) -> dict[str, str]:
        environ = {**self._environ, **({control.BESIDE: "1"} if self._hubs else {})}
        # Only the supervisor notifies systemd about the unit.
        environ.pop("NOTIFY_SOCKET", None)
        return environ

    def _activate(self, hub: _Hub) -> _Hub:
        """Let a prepared hub serve; return it when it answers.

        Raises:
            HubFailedError: it does not answer; its process has ended.
        """
        hub.set_niceness(_SERVING)
        control.send(hub.channel, "go")
        status = self._await_message(hub, "ready", START_TIMEOUT_S)
        notify("READY=1", f"STATUS={status}")
        self._layout.last_failure.unlink(missing_ok=True)
        return hub

    def _retire(self, hub: _Hub) -> None:
        """Let a hub finish its work and exit; after RETIRE_TIMEOUT_S, `_reap` kills it."""
        control.send(hub.channel, "retire")
        deadline = time.monotonic() + RETIRE_TIMEOUT_S
        while self._receive(hub, deadline) is not None:
            pass
        self._reap(hub)

    def _reap(self, hub: _Hub) -> str:
        """Wait 2 s for the exit of a hub, then kill it; return how it ended."""
        end = hub.reap()
        self._hubs.remove(hub)
        return end

    def _stop_all(self) -> None:
        """Stop every hub; TimeoutStopSec= of the unit limits how long that may take."""
        for hub in self._hubs:
            hub.kill(signal.SIGTERM)
            hub.channel.close()
        for hub in self._hubs:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(hub.pid, 0)

    def _remove_fragments_copy(self, hub: _Hub) -> None:
        remove_tree(self._layout.fragments_copy(hub.pid))

    # --- messages and signals

    def _await_message(self, hub: _Hub, word: str, timeout_s: float) -> str:
        """Return the text of a hub's next message with this word.

        On any failure, kill the hub, remove its fragments copy, and raise.

        Raises:
            HubFailedError: the hub reported a failure, ended, or took too long.
        """
        deadline = time.monotonic() + timeout_s
        reason = ""
        while not reason and (message := self._receive(hub, deadline)):
            if message.word == word:
                return message.text
            reason = message.text if message.word == "failed" else ""
        is_late = time.monotonic() >= deadline
        end = self._reap(hub)
        self._remove_fragments_copy(hub)
        if reason:
            raise HubFailedError(reason)
        if is_late:
            raise HubFailedError(f"a new hub was not {word} within {timeout_s} s")
        raise HubFailedError(f"a new hub {end} before it was {word}")

    def _receive(self, hub: _Hub, deadline: float | None = None) -> _Message | None:
        """Return a hub's next message.

        Args:
            deadline: CLOCK_MONOTONIC; None: wait for a message or for a reload request.

        Returns:
            The message; or `_RELOAD_REQUEST`, only without a deadline; None: the hub is gone, or
            the deadline has passed.

        Raises:
            _StoppedError: a signal stops the supervisor.
        """
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(hub.channel, select.POLLIN)
        while True:
            left_s = None if deadline is None else max(0, deadline - time.monotonic())
            events = dict(poll.poll(None if left_s is None else left_s * 1000))
            if self._wakeup in events:
                self._read_signals()
            if hub.channel.fileno() in events:
                message = _Message(*control.receive(hub.channel))
                return message if message.word else None
            if deadline is None and self._is_reload_pending:
                return _RELOAD_REQUEST
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def _read_signals(self) -> None:
        """Record which signals have arrived.

        Raises:
            _StoppedError: one of them stops the supervisor.
        """
        arrived = b""
        with contextlib.suppress(BlockingIOError):
            arrived = os.read(self._wakeup, 512)
        if {signal.SIGTERM, signal.SIGINT} & set(arrived):
            raise _StoppedError
        self._is_reload_pending |= signal.SIGHUP in arrived

    # --- from release to release

    def _hand_over(self, hub: _Hub) -> None:
        """Execute the supervisor of the release that serves now, in this process."""
        python = str(hub.release / "bin" / "python3")
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._read_signals()
        channel = hub.channel.fileno()
        handover = Handover(hub.pid, channel, str(hub.release), self._is_reload_pending)
        environ = {**self._environ, _HANDOVER: handover.to_json()}
        for number in (channel, *(each.fd for each in self._sockets)):
            os.set_inheritable(number, True)
        try:
            os.execve(python, [python, "-I", "-m", "littlest_hub", "serve"], environ)
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            _log(f"{python}: {error.strerror}; the supervisor stays that of {sys.prefix}")

    def _adopt_hub(self) -> _Hub | None:
        """Return the hub that this process supervised as another release; None: there was none."""
        text = self._environ.pop(_HANDOVER, "")
        if not text:
            return None
        handover = Handover.from_json(text)
        channel = socket.socket(fileno=handover.channel)
        channel.set_inheritable(False)
        self._is_reload_pending = handover.is_reload_pending
        hub = _Hub(handover.pid, channel, Path(handover.release))
        self._hubs.append(hub)
        return hub


def _next_environment(layout: Layout, environ: dict[str, str]) -> dict[str, str]:
    """Return an environment of the unit as `littlest-hub reload` has found it."""
    text = read(layout.reload_environment)
    layout.reload_environment.unlink(missing_ok=True)
    record = ReloadEnvironment.from_json(text) if text else ReloadEnvironment()
    return record.applied_to(environ)


def _missing_socket_reason(layout: Layout) -> str:
    from littlest_hub.system.tcp import describe_listener
    from littlest_hub.units.ports import port_of

    port = port_of(layout, layout.hub_socket)
    listener = describe_listener(port) if port else ""
    if listener:
        return f"port {port} is taken by {listener}"
    return f"{layout.hub_socket} is not listening; see: systemctl status {layout.hub_socket}"


def _log(text: str) -> None:
    """Write a warning to the journal (sd-daemon(3))."""
    print(f"<4>{text}", file=sys.stderr, flush=True)
