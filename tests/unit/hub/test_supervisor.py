"""The supervisor, with small programs in place of hubs that speak its protocol."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.system.sd_daemon import Inherited, spawn
from tests.eventually import eventually

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).parents[3]

# The bin/python3 of a release: its hub executes the fragment "hub.py", its supervisor is the one
# under test.
PYTHON = """#!{python}
import os, pathlib, shutil, socket, sys

base = pathlib.Path({base!r})
verb, *options = sys.argv[4:]
if verb != "serve-hub":
    os.execv({python!r}, [{python!r}, str(base / "command.py"), verb, *options])
channel = socket.socket(fileno=int(os.environ["LITTLEST_HUB_CONTROL"]))
fragments = pathlib.Path(options[1]) if options else base / "jupyterhub_config.d"
shutil.copytree(fragments, base / "run" / f"fragments-{{os.getpid()}}")
exec((fragments / "hub.py").read_text())
"""
COMMAND = """
import os, sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.hub.reload import request_reload
from littlest_hub.hub.supervisor import supervise

class Here(Layout):
    run_directory = property(lambda self: self.base / "run")

try:
    if sys.argv[1] == "serve":
        supervise(Here(Path({base!r})))
    else:
        request_reload(Here(Path({base!r})), int(sys.argv[2]))
except LittlestHubError as error:
    sys.exit(str(error))
"""
# Answers every connection with its name, its supervisor's process id, its own, and its program.
GOOD = """
import select
channel.send(b"prepared")
assert channel.recv(100) == b"go"
channel.send(b"ready answers as {name}")
listener = socket.socket(fileno=3)
while channel not in (ready := select.select([listener, channel], [], [])[0]):
    with listener.accept()[0] as client:
        client.send(f"{name} {{os.getppid()}} {{os.getpid()}} {{sys.argv[0]}}".encode())
word = channel.recv(100)
(base / "ended").open("a").write(f"{name} {{word.decode()}}\\n")
"""
REFUSES = 'channel.send(b"failed 80-x.py:3: no such thing")\n'
FAILS_LATE = 'channel.send(b"prepared"); channel.recv(9); channel.send(b"failed no such role")\n'
DIES_EARLY = "sys.exit(5)\n"
DIES_LATE = 'channel.send(b"prepared"); channel.recv(9); os.kill(os.getpid(), 9)\n'


class Service:
    """A supervisor as systemd starts it: with a listening socket and a notification socket."""

    def __init__(self, base: Path, listener: socket.socket, systemd: socket.socket) -> None:
        self.base = base
        self.listener = listener
        self._systemd = systemd
        self.notified: list[str] = []
        for directory in ("jupyterhub_config.d", "run"):
            (base / directory).mkdir()
        values = {"python": sys.executable, "base": str(base), "repository": str(REPOSITORY)}
        (base / "command.py").write_text(COMMAND.format(**values))
        self.add_release("1")
        self.configure(GOOD.format(name="first"))
        self.pid = 0

    def add_release(self, version: str) -> None:
        """Install a release and point the `hub` link to it."""
        python = self.base / "releases" / version / "bin" / "python3"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON.format(python=sys.executable, base=str(self.base)))
        python.chmod(0o755)
        (self.base / "hub").unlink(missing_ok=True)
        (self.base / "hub").symlink_to(f"releases/{version}")

    def configure(self, hub: str) -> None:
        (self.base / "jupyterhub_config.d" / "hub.py").write_text(hub)

    def start(self, **variables: str) -> None:
        notify = str(self.base / "notify")
        environ = {"NOTIFY_SOCKET": notify, "PATH": os.environ["PATH"], **variables}
        command = [sys.executable, str(self.base / "command.py"), "serve"]
        inherited = [Inherited("hub", self.listener.fileno())]
        self.pid = spawn(command, inherited, environ=environ)

    def await_ready(self) -> None:
        eventually(lambda: "READY=1" in self.notifications(), 20, "READY=1")

    def notifications(self) -> list[str]:
        """Return every notification to systemd so far."""
        while True:
            try:
                self.notified += self._systemd.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.notified

    def status(self) -> str:
        statuses = [line for line in self.notifications() if line.startswith("STATUS=")]
        return statuses[-1].partition("=")[2]

    def begin_reload(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.base / "command.py"), "reload", str(self.pid)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def reload(self) -> str:
        """Reload; return the error message, "" if it succeeded."""
        with self.begin_reload() as process:
            _, message = process.communicate(timeout=30)
        assert (process.returncode == 0) == (message == "")
        return message

    def query(self) -> list[str]:
        """Return name, supervisor's id, own id and program of the hub that answers."""
        with socket.create_connection(self.listener.getsockname(), timeout=20) as connection:
            return connection.recv(1000).decode().split()

    def end(self) -> int:
        """Stop it as systemd does; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        service = Service(tmp_path, listener, systemd)
        service.start()
        service.await_ready()
        yield service
        if service.pid:
            assert service.end() == 0


def test_a_reload_switches_to_a_new_hub_under_the_same_supervisor(service: Service) -> None:
    name, supervisor, hub, _ = service.query()
    assert (name, int(supervisor)) == ("first", service.pid)
    service.configure(GOOD.format(name="second"))
    assert service.reload() == ""
    name, supervisor, another, _ = service.query()
    assert (name, int(supervisor)) == ("second", service.pid)
    assert hub != another
    assert (service.base / "ended").read_text() == "first retire\n"
    assert service.status() == "answers as second"


@pytest.mark.parametrize(
    ("hub", "reason"),
    [
        (REFUSES, "80-x.py:3: no such thing"),
        (DIES_EARLY, "a new hub exited with 5 before it was prepared"),
    ],
)
def test_a_hub_that_cannot_be_prepared_does_not_affect_the_old_one(
    service: Service, hub: str, reason: str
) -> None:
    before = service.query()
    service.configure(hub)
    assert f"Not reloaded: {reason}" in service.reload()
    assert service.query() == before
    assert service.status() == f"Not reloaded: {reason}"
    service.configure(GOOD.format(name="second"))
    assert service.reload() == ""
    assert service.status() == "answers as second"


@pytest.mark.parametrize(
    ("hub", "reason"),
    [
        (FAILS_LATE, "no such role"),
        (DIES_LATE, "a new hub was ended by SIGKILL before it was ready"),
    ],
)
def test_after_a_hub_that_fails_late_one_with_the_former_fragments_serves(
    service: Service, hub: str, reason: str
) -> None:
    service.configure(hub)
    for _ in range(2):
        assert f"Not reloaded: {reason}" in service.reload()
        assert service.query()[0] == "first"
        assert service.status() == f"Not reloaded: {reason}"
    assert len(list((service.base / "run").glob("fragments-*"))) == 1


def test_after_a_release_that_fails_late_the_former_release_serves(service: Service) -> None:
    service.add_release("2")
    service.configure(FAILS_LATE)
    assert "no such role" in service.reload()
    name, _, _, program = service.query()
    assert name == "first"
    assert "/releases/1/" in program


def test_the_supervisor_becomes_that_of_the_next_release_in_the_same_process(
    service: Service,
) -> None:
    service.add_release("2")
    assert service.reload() == ""
    _, supervisor, _, program = service.query()
    assert int(supervisor) == service.pid
    assert "/releases/2/" in program
    # It still has the hub's channel, the socket, and the fragments of the serving hub.
    service.configure(REFUSES)
    assert "no such thing" in service.reload()
    assert service.query()[3] == program


def test_a_hub_that_dies_is_replaced_without_a_failed_request(service: Service) -> None:
    for _ in range(2):
        _, supervisor, hub, _ = service.query()
        os.kill(int(hub), signal.SIGKILL)
        _, same, another, _ = service.query()
        assert supervisor == same
        assert hub != another


def test_a_hub_that_dies_is_replaced_by_one_with_its_fragments_if_the_new_ones_are_broken(
    service: Service,
) -> None:
    service.configure(REFUSES)
    os.kill(int(service.query()[2]), signal.SIGKILL)
    assert service.query()[0] == "first"
    eventually(lambda: "80-x.py:3" in service.status(), 20, "the reason in the status")


def test_simultaneous_reloads_all_apply_the_new_fragments(service: Service) -> None:
    service.configure(GOOD.format(name="second"))
    reloads = [service.begin_reload() for _ in range(3)]
    for process in reloads:
        _, message = process.communicate(timeout=30)
        assert (process.returncode, message) == (0, "")
    assert service.query()[0] == "second"


def test_a_reload_during_another_reports_on_its_own_fragments(
    service: Service,
) -> None:
    service.configure(f"(base / 'begun').touch(); import time; time.sleep(0.5)\n{REFUSES}")
    with service.begin_reload() as early:
        eventually((service.base / "begun").exists, 20, "the first reload's hub")
        service.configure(GOOD.format(name="second"))
        assert service.reload() == ""
        assert "no such thing" in early.communicate(timeout=30)[1]
    assert service.query()[0] == "second"


def test_a_supervisor_that_is_stopped_stops_its_hub_and_exits_with_0(service: Service) -> None:
    hub = int(service.query()[2])
    assert service.end() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(hub, 0)


def test_the_hub_of_a_supervisor_that_is_killed_ends(service: Service) -> None:
    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    # The hub received an empty message: the other end is closed.
    ended = service.base / "ended"
    eventually(lambda: ended.read_text() == "first \n", 20, "the hub's end")


def test_a_failed_start_has_its_reason_in_the_status_during_the_next_attempt_too(
    service: Service,
) -> None:
    service.configure(REFUSES)
    service.end()
    for _ in range(2):
        service.start()
        assert service.wait() == 1
        assert service.status() == "Does not start: 80-x.py:3: no such thing"
    assert "STATUS=Starting; last attempt: 80-x.py:3: no such thing" in service.notifications()
    service.configure(GOOD.format(name="second"))
    service.start()
    eventually(lambda: service.status() == "answers as second", 20, "a hub")
    service.end()
    service.start()
    expected = ["STATUS=Starting", "READY=1", "STATUS=answers as second"]
    eventually(lambda: service.notifications()[-3:] == expected, 20, "a start like any other")


def test_a_reload_takes_up_the_environment_that_systemd_gives_the_unit_now(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOCATION_ID", "one")
    service.configure(GOOD.format(name="{os.environ.get('S')},{os.environ['INVOCATION_ID']}"))
    service.end()
    service.start(INVOCATION_ID="one")
    eventually(lambda: service.query()[0] == "None,one", 20, "the hub")
    monkeypatch.setenv("S", "two")
    assert service.reload() == ""
    assert service.query()[0] == "two,one"
    # A command that systemd has not started for this unit says nothing about its environment.
    monkeypatch.setenv("S", "three")
    monkeypatch.setenv("INVOCATION_ID", "another")
    assert service.reload() == ""
    assert service.query()[0] == "two,one"
    assert not (service.base / "run" / "environment").exists()


# It ends if the file "broken" exists.
FLAKY = """
if (base / "broken").exists():
    channel.send(b"failed it is broken")
    sys.exit(1)
"""


def test_the_fragments_that_served_last_survive_two_failures(service: Service) -> None:
    service.configure(FLAKY + GOOD.format(name="second"))
    assert service.reload() == ""
    (service.base / "broken").touch()
    service.configure(FAILS_LATE)
    with service.begin_reload() as reloading:
        # Until it is waited for, the supervisor's process seems to be there.
        assert service.wait() == 1
        assert "the hub does not run" in reloading.communicate(timeout=30)[1]
    for _ in range(2):
        service.start()
        assert service.wait() == 1
    (service.base / "broken").unlink()
    service.start()
    eventually(lambda: "since a new hub fails: no such role" in service.status(), 20, "a hub")
    assert service.query()[0] == "second"
    service.configure(GOOD.format(name="third"))
    assert service.reload() == ""
    assert len(list((service.base / "run").glob("fragments-*"))) == 1


@pytest.mark.needs("root")
def test_root_writes_nothing_into_the_directory_of_a_hub_that_is_not_root(service: Service) -> None:
    run = service.base / "run"
    os.chown(run, 4711, -1)
    (run / ".environment.new").symlink_to(service.base / "target")
    before, pid = sorted(run.iterdir()), service.pid
    service.pid = 2**22 + 1  # above the highest process id
    message, service.pid = service.reload(), pid
    assert f"Not reloaded: {run} belongs to uid 4711" in message
    assert sorted(run.iterdir()) == before
