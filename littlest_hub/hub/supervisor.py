"""The main process of the hub's unit: starts hubs, and replaces one by the next.

JupyterHub takes seconds to import, and only one may have the database open. So the next hub is
started beside the one that serves, imports and checks everything there is to check, and waits; only
when it is prepared is the old one retired, and the time in which nobody accepts requests is what it
takes to open a database. Requests wait in the queues of sockets that systemd holds, hubs inherit,
and nobody ever closes.

Hub and supervisor talk in datagrams over a socket pair, whose number the hub finds in
LITTLEST_HUB_CONTROL. Old hubs meet new supervisors and the other way round: this may only grow.

    hub         "prepared"      configuration loaded; no database, port or proxy touched
    supervisor  "go"            nobody else has the database
    hub         "ready STATUS"  answers requests; STATUS is for `systemctl status`
    hub         "failed REASON" instead of either; it exits
    supervisor  "retire"        serve until no server starts or stops, then accept no more, exit

SIGTERM, or a supervisor that is gone, ends a hub at once. A hub copies the fragments it was started
with to RUN/fragments-PID, and `serve-hub --fragments RUN/fragments-PID` starts another with those:
what served yesterday serves again when today's does not.

The standard library only, and little of it: this has to be there at once and weigh next to nothing.
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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import release_of_this_interpreter
from littlest_hub.layout import Layout
from littlest_hub.system.files import remove, write
from littlest_hub.system.sd_daemon import Inherited, inherited_sockets, notify, spawn

PREPARE_TIMEOUT_S = 60
RETIRE_TIMEOUT_S = 80
"""More than a hub waits for servers that start or stop, for its services, and for requests."""
START_TIMEOUT_S = 75
RELOAD_TIMEOUT_S = 230
"""All of these; less than TimeoutStartSec= of the unit, which limits ExecReload= too."""

_CONTROL = "LITTLEST_HUB_CONTROL"
_BESIDE = "LITTLEST_HUB_BESIDE"
_TAKEN_OVER = "LITTLEST_HUB_TAKEN_OVER"
_MESSAGE_BYTES = 8192
_REASON_LENGTH = 500
_PREPARING, _SERVING = 10, 0
_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class HubFailedError(LittlestHubError):
    """A hub did not come as far as it was to come."""


class _StoppedError(Exception):
    """We have been told to end."""


def supervise(layout: Layout) -> None:
    """Run hubs, one after the other; what the unit starts. Returns when it is told to stop.

    Raises:
        LittlestHubError: no hub can be started, and why; systemd tries again.
    """
    sockets = inherited_sockets()
    try:
        if not sockets:
            raise LittlestHubError(_why_no_socket(layout))
        _Supervisor(layout, sockets).run()
    except LittlestHubError as error:
        reason = error.message.splitlines()[0]
        notify(f"STATUS=Does not start: {reason}")
        _remember(_last_failure(layout), reason)
        raise


def reload(layout: Layout, pid: int) -> None:
    """Have the supervisor `pid` replace its hub; returns when the new one answers.

    Raises:
        LittlestHubError: it does not; whichever served before does.
    """
    asked = time.monotonic_ns()
    seen = f"journalctl -u {layout.instance}"
    try:
        os.kill(pid, signal.SIGHUP)
        outcome = _outcome_since(layout, asked, pid)
    except ProcessLookupError:
        reason = _read(_last_failure(layout)) or "it ended"
        raise LittlestHubError(f"Not reloaded: the hub does not run: {reason}", seen) from None
    if outcome is None:
        raise LittlestHubError(f"Not reloaded: no new hub within {RELOAD_TIMEOUT_S} s", seen)
    if outcome.reason:
        raise LittlestHubError(f"Not reloaded: {outcome.reason}", seen)


class _Outcome(NamedTuple):
    """How a reload ended, in the file `layout.readiness`."""

    began: int
    """CLOCK_MONOTONIC, in nanoseconds."""
    reason: str
    """Why it failed; empty: it did not."""

    @classmethod
    def read(cls, layout: Layout) -> _Outcome:
        began, _, reason = _read(layout.readiness).partition(" ")
        return cls(int(began or 0), reason)

    def publish(self, layout: Layout) -> None:
        _remember(layout.readiness, f"{self.began} {self.reason}")


def _outcome_since(layout: Layout, asked: int, pid: int) -> _Outcome | None:
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while time.monotonic() < deadline:
        # What began before we asked may have read the fragments before they were changed.
        outcome = _Outcome.read(layout)
        if outcome.began >= asked:
            return outcome
        os.kill(pid, 0)
        time.sleep(0.02)
    return None


# --- the hub's end


class Control:
    """The hub's end of the line to its supervisor."""

    def __init__(self, channel: socket.socket, *, is_beside: bool = False) -> None:
        self._channel = channel
        self.is_beside = is_beside
        """Whether another hub goes on if this one fails to prepare itself."""

    @classmethod
    def of_this_process(cls) -> Control:
        """The line that this process was started with.

        Raises:
            LittlestHubError: it was started by hand.
        """
        number = os.environ.pop(_CONTROL, "")
        if not number:
            raise LittlestHubError("this is how the supervisor starts a hub; see `systemctl start`")
        channel = socket.socket(fileno=int(number))
        channel.set_inheritable(False)
        return cls(channel, is_beside=os.environ.pop(_BESIDE, "") == "1")

    def fileno(self) -> int:
        return self._channel.fileno()

    def say(self, word: str, text: str = "") -> None:
        """Tell the supervisor; it may be gone."""
        with contextlib.suppress(OSError):
            self._channel.send(_datagram(word, text))

    def hear(self) -> str:
        """The next thing the supervisor says; empty: it is gone."""
        return _received(self._channel)[0]

    @contextlib.contextmanager
    def telling_failure(self) -> Iterator[None]:
        """Let the supervisor know of whatever ends this block early."""
        try:
            yield
        except LittlestHubError as error:
            self.say("failed", error.message)
            raise
        except Exception as error:
            self.say("failed", describe(error))
            raise
        except SystemExit as error:
            self.say("failed", str(error.code))
            raise


def describe(error: BaseException) -> str:
    """An exception as one line."""
    # What the database's driver said, without the query.
    error = getattr(error, "orig", None) or error
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_REASON_LENGTH]}".removesuffix(": ")


def kept_fragments(layout: Layout, pid: int | str) -> Path:
    """Where the hub `pid` keeps a copy of the fragments that it was started with."""
    return layout.run_directory / f"fragments-{pid}"


# --- the supervisor's end


class _Hub(NamedTuple):
    """A hub that we have started."""

    pid: int
    channel: socket.socket
    release: Path

    def kill(self, number: signal.Signals) -> None:
        # It cannot be anybody else's number: nobody but us waits for our children.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class _Supervisor:
    def __init__(self, layout: Layout, sockets: list[Inherited]) -> None:
        self._layout = layout
        self._sockets = sockets
        self._children: list[_Hub] = []
        self._hangup = False
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        # `_hand_over` has blocked them, so that none is lost between two programs.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def run(self) -> None:
        try:
            hub = self._taken_over() or self._start_first()
            while True:
                if self._hangup:
                    hub = self._reload(hub)
                elif not self._hear(hub):
                    hub = self._replace(hub)
        except _StoppedError:
            pass
        finally:
            self._end_all()

    # --- what happens

    def _start_first(self) -> _Hub:
        for kept in self._layout.run_directory.glob(kept_fragments(self._layout, "*").name):
            remove(kept)
        last = _read(_last_failure(self._layout))
        notify(f"STATUS=Starting; last attempt: {last}" if last else "STATUS=Starting")
        return self._announced(self._started())

    def _reload(self, old: _Hub) -> _Hub:
        """The next hub; the old one, or another like it, if that fails."""
        self._hangup = False
        began = time.monotonic_ns()
        notify("STATUS=Reloading: preparing the next hub")
        try:
            new = self._prepared()
        except HubFailedError as error:
            self._refuse(began, error.message)
            return old
        notify("STATUS=Reloading: waiting for servers that start or stop")
        self._retire(old)
        try:
            hub = self._going(new)
        except HubFailedError as error:
            _log(f"The next hub failed: {error.message}. Starting one like that of before")
            hub = self._like(old)
            self._refuse(began, error.message)
            return hub
        self._announced(hub)
        self._forget(old)
        _Outcome(began, "").publish(self._layout)
        if hub.release != release_of_this_interpreter():
            self._hand_over(hub)
        return hub

    def _replace(self, dead: _Hub) -> _Hub:
        """Another hub for one that ended by itself."""
        _log(f"The hub {self._end(dead)}; starting another")
        notify("STATUS=Starting anew: the hub ended by itself")
        try:
            hub = self._announced(self._started())
        except HubFailedError as error:
            _log(f"It fails: {error.message}. Starting one like that of before")
            hub = self._like(dead)
            notify(f"STATUS=Runs as before its crash, for a new hub fails: {error.message}")
            return hub
        self._forget(dead)
        return hub

    def _like(self, old: _Hub) -> _Hub:
        """A hub of the release and with the fragments of one that has served.

        Raises:
            HubFailedError: not even that starts any more.
        """
        kept = kept_fragments(self._layout, old.pid)
        hub = self._started(old.release, kept if kept.is_dir() else None)
        self._announced(hub)
        self._forget(old)
        return hub

    def _announced(self, hub: _Hub) -> _Hub:
        _last_failure(self._layout).unlink(missing_ok=True)
        return hub

    def _refuse(self, began: int, reason: str) -> None:
        _log(f"Not reloaded: {reason}")
        notify(f"STATUS=Not reloaded: {reason}")
        _Outcome(began, reason).publish(self._layout)

    def _forget(self, hub: _Hub) -> None:
        remove(kept_fragments(self._layout, hub.pid))

    # --- hubs

    def _started(self, release: Path | None = None, fragments: Path | None = None) -> _Hub:
        """A new hub, when it answers; nobody else serves.

        Raises:
            HubFailedError: it does not.
        """
        return self._going(self._prepared(release, fragments))

    def _prepared(self, release: Path | None = None, fragments: Path | None = None) -> _Hub:
        # Through the link now, not while it starts: all of a hub is of one release.
        release = release or self._layout.hub.resolve()
        command = [str(release / "bin" / "python3"), "-I", "-m", "littlest_hub", "serve-hub"]
        if fragments:
            command += ["--fragments", str(fragments)]
        try:
            hub = self._spawned(command, release)
        except OSError as error:
            # No process or descriptor to be had: no reason to lose the hub that serves.
            raise HubFailedError(f"no other hub can be started: {error.strerror}") from error
        self._children.append(hub)
        if len(self._children) > 1:
            # Whoever serves has the processor first.
            _prioritize(hub, _PREPARING)
        self._expect(hub, "prepared", PREPARE_TIMEOUT_S)
        return hub

    def _spawned(self, command: list[str], release: Path) -> _Hub:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # What is said to systemd about the unit is said by us.
            environ = {**os.environ, _CONTROL: str(theirs.fileno())}
            environ.pop("NOTIFY_SOCKET", None)
            if self._children:
                environ[_BESIDE] = "1"
            try:
                pid = spawn(command, self._sockets, environ=environ, keep=[theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return _Hub(pid, ours, release)

    def _going(self, hub: _Hub) -> _Hub:
        _prioritize(hub, _SERVING)
        with contextlib.suppress(OSError):
            hub.channel.send(_datagram("go"))
        status = self._expect(hub, "ready", START_TIMEOUT_S)
        notify("READY=1", f"STATUS={status}")
        return hub

    def _retire(self, hub: _Hub) -> None:
        """Let a hub finish; it is gone when this returns, whatever it takes."""
        with contextlib.suppress(OSError):
            hub.channel.send(_datagram("retire"))
        deadline = time.monotonic() + RETIRE_TIMEOUT_S
        while self._hear(hub, deadline):
            pass
        self._end(hub)

    def _expect(self, hub: _Hub, word: str, timeout_s: float) -> str:
        """Wait for a hub to say something; returns what else it says.

        Raises:
            HubFailedError: it said why not, it ended, or it took too long; it is gone.
        """
        deadline = time.monotonic() + timeout_s
        reason = ""
        while not reason and (heard := self._hear(hub, deadline)):
            if heard[0] == word:
                return heard[1]
            reason = heard[1] if heard[0] == "failed" else ""
        is_late = time.monotonic() >= deadline
        ended = self._end(hub)
        self._forget(hub)
        late = f"a new hub was not {word} within {timeout_s} s"
        early = f"a new hub {ended} before it was {word}"
        raise HubFailedError(reason or (late if is_late else early))

    def _hear(self, hub: _Hub, deadline: float | None = None) -> tuple[str, str] | None:
        """What a hub says next.

        Args:
            deadline: until when; None: until it speaks or a reload is asked for.

        Returns:
            Word and text; None: it is gone, or it is too late. ("", ""): a reload is asked for.

        Raises:
            _StoppedError: we are told to end.
        """
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(hub.channel, select.POLLIN)
        while True:
            left_s = None if deadline is None else max(0, deadline - time.monotonic())
            events = dict(poll.poll(None if left_s is None else left_s * 1000))
            if self._woken in events:
                self._take_signals()
            if hub.channel.fileno() in events:
                word, text = _received(hub.channel)
                return (word, text) if word else None
            if deadline is None and self._hangup:
                return "", ""
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def _take_signals(self) -> None:
        """Note which signals have arrived.

        Raises:
            _StoppedError: we are told to end.
        """
        arrived = b""
        with contextlib.suppress(BlockingIOError):
            arrived = os.read(self._woken, 512)
        if {signal.SIGTERM, signal.SIGINT} & set(arrived):
            raise _StoppedError
        self._hangup |= signal.SIGHUP in arrived

    def _end(self, hub: _Hub) -> str:
        """Have a hub gone that has nothing more to say; returns how it ended."""
        deadline = time.monotonic() + 2
        status = None
        while status is None:
            if time.monotonic() > deadline:
                hub.kill(signal.SIGKILL)
            pid, code = os.waitpid(hub.pid, os.WNOHANG)
            if pid:
                status = code
            else:
                time.sleep(0.002)
        self._children.remove(hub)
        hub.channel.close()
        code = os.waitstatus_to_exitcode(status)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def _end_all(self) -> None:
        """End every hub; how long that may take is for TimeoutStopSec= to say."""
        for hub in self._children:
            hub.kill(signal.SIGTERM)
            hub.channel.close()
        for hub in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(hub.pid, 0)

    # --- from release to release

    def _hand_over(self, hub: _Hub) -> None:
        """Go on as the supervisor of the release that serves now: the same process, its code."""
        python = str(hub.release / "bin" / "python3")
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._take_signals()
        state = (hub.pid, hub.channel.fileno(), int(self._hangup), hub.release)
        os.environ[_TAKEN_OVER] = " ".join(map(str, state))
        for number in (hub.channel.fileno(), *(each.fd for each in self._sockets)):
            os.set_inheritable(number, True)
        try:
            os.execv(python, [python, "-I", "-m", "littlest_hub", "serve"])
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            _log(f"{python}: {error.strerror}; the supervisor stays that of {sys.prefix}")

    def _taken_over(self) -> _Hub | None:
        """The hub that this process supervised before it became what it is."""
        state = os.environ.pop(_TAKEN_OVER, "")
        if not state:
            return None
        pid, fd, hangup, release = state.split(" ", 3)
        channel = socket.socket(fileno=int(fd))
        channel.set_inheritable(False)
        self._hangup = hangup != "0"
        hub = _Hub(int(pid), channel, Path(release))
        self._children.append(hub)
        return hub


def _prioritize(hub: _Hub, niceness: int) -> None:
    """Set how much of a busy processor a hub gets, if it can be undone (LimitNICE= of the unit)."""
    if resource.getrlimit(resource.RLIMIT_NICE)[1] >= 20:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, hub.pid, niceness)


def _datagram(word: str, text: str = "") -> bytes:
    line = " ".join(f"{word} {text}".split("\n"))
    return line.strip().encode(errors="replace")[:_MESSAGE_BYTES]


def _received(channel: socket.socket) -> tuple[str, str]:
    try:
        data = channel.recv(_MESSAGE_BYTES)
    except ConnectionError:
        data = b""
    word, _, text = data.decode(errors="replace").partition(" ")
    return word, text


def _why_no_socket(layout: Layout) -> str:
    from littlest_hub.system.tcp import who_listens
    from littlest_hub.units.ports import port_of

    port = port_of(layout, layout.hub_socket)
    who = who_listens(port) if port else ""
    if who:
        return f"port {port} is taken by {who}"
    return f"{layout.hub_socket} is not listening; see: systemctl status {layout.hub_socket}"


def _last_failure(layout: Layout) -> Path:
    return layout.run_directory / "failure"


def _remember(file: Path, text: str) -> None:
    # A full /run must not take down a hub that serves.
    with contextlib.suppress(OSError):
        write(file, f"{text}\n", 0o600)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _log(text: str) -> None:
    """A warning for the journal (sd-daemon(3))."""
    print(f"<4>{text}", file=sys.stderr, flush=True)
