"""`systemctl status` names what breaks a hub, and the hub recovers once the cause is gone.

No test here repairs anything with systemctl: that is the point.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests import releases
from tests.client import Kernel, Person
from tests.container.conftest import EVERYBODY
from tests.container.test_stacks import files
from tests.container.test_upgrading import NEXT
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

# Size of state/, so that it can be filled; a copy of the database asks for 50 MB.
STATE_MIB = 128
# A hub that waits for something gives up after half a minute, and reports it when it tries again.
SHOWN_S = HEALED_S = 60


@dataclass(frozen=True)
class Work:
    """A user's running work that must not be lost: a variable in a kernel."""

    person: Person
    kernel_id: str

    @contextmanager
    def open(self) -> Iterator[Kernel]:
        with self.person.connect(self.kernel_id) as kernel:
            assert kernel.run("x + 1") == "42"
            yield kernel

    def goes_on(self) -> bool:
        """Return whether a new browser reaches the work through the proxy."""
        if not self.person.sees(f"/user/{self.person.name}/api/kernels/{self.kernel_id}"):
            return False
        with self.open():
            return True


@pytest.fixture(scope="module")
def hub(installer: Path) -> Iterator[Hub]:
    """A hub of these tests' own, whose state is a small file system."""
    with Machine("bookworm") as machine:
        state = "/opt/littlest-hub/state"
        machine.run(["mkdir", "--parents", state])
        options = f"size={STATE_MIB}m,mode=0700"
        machine.run(["mount", "-t", "tmpfs", "-o", options, "state", state])
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        yield hub


@pytest.fixture(scope="module")
def work(hub: Hub) -> Iterator[Work]:
    with hub.person("alice") as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
        yield Work(alice, kernel.id)


def stop(hub: Hub) -> None:
    """Stop all units, as before a boot."""
    hub.machine.systemctl("stop", *hub.layout.started_unit_names)


def boot(hub: Hub) -> None:
    """Start all units as a boot does: once, without waiting for the result."""
    hub.machine.systemctl("start", "--no-block", *hub.layout.started_unit_names)


def kill(hub: Hub, *units: str, signal: str = "KILL", whom: str = "all") -> None:
    hub.machine.systemctl("kill", f"--signal={signal}", f"--kill-who={whom}", *units)


def status(hub: Hub, unit: str) -> str:
    """Return `systemctl status` without the journal's lines."""
    return hub.machine.systemctl("status", "--full", "--lines=0", unit, check=False).stdout


def shows(hub: Hub, unit: str, cause: str) -> None:
    """Wait until the Status: line of a unit matches the cause, a regular expression."""
    line = re.compile(rf"^ *Status: .*{cause}", re.MULTILINE)

    def is_shown() -> bool:
        seen = status(hub, unit)
        assert line.search(seen), seen
        return True

    eventually(is_shown, SHOWN_S, f"{cause!r} in the status of {unit}")


def heals(hub: Hub, work: Work) -> None:
    """Wait until the earlier work and a new user are served."""
    eventually(hub.answers, HEALED_S, "the login page")
    eventually(work.goes_on, HEALED_S, "the user server, by way of the proxy")
    for unit in (hub.layout.hub_service, hub.layout.proxy_service):
        eventually(partial(_is_well, hub, unit), HEALED_S, f"{unit} to be well")


def _is_well(hub: Hub, unit: str) -> bool:
    seen = status(hub, unit)
    assert "active (running)" in seen, seen
    assert "ast attempt" not in seen, seen
    return True


@contextmanager
def damaged(hub: Hub, file: Path, damage: str) -> Iterator[None]:
    """Return a file that a line of shell has changed; $1 is its path."""
    whole = f"{file}.whole"
    hub.machine.run(["cp", "--preserve", str(file), whole])
    try:
        hub.machine.run(["sh", "-c", damage, "sh", str(file)])
        yield
    finally:
        hub.machine.run(["mv", whole, str(file)])


@contextmanager
def full_disk(hub: Hub) -> Iterator[None]:
    filler = str(hub.layout.state / "filler")
    fill = ["dd", "if=/dev/zero", f"of={filler}", "bs=4k", "status=none"]
    done = hub.machine.run(fill, check=False)
    assert "No space left on device" in done.stderr
    try:
        yield
    finally:
        hub.machine.run(["rm", filler])


@contextmanager
def squatter(hub: Hub, address: str) -> Iterator[None]:
    """Run another program that listens on a port."""
    # It executes the program at the first connection, with the socket.
    listen = ["systemd-socket-activate", f"--listen={address}", "sleep", "infinity"]
    # One time in ten the port of a socket unit is in use for a moment after the unit has stopped.
    again = ["--property=Restart=on-failure", "--property=RestartSec=100ms"]
    hub.machine.run(["systemd-run", "--quiet", "--collect", "--unit=squatter", *again, *listen])
    port = f"{int(address.rpartition(':')[2]):04X}"
    listening = rf"^ *\d+: [0-9A-F]+:{port} [0-9A-F]+:0000 0A"
    table = "/proc/net/tcp"
    eventually(
        lambda: re.search(listening, hub.machine.read(table), re.MULTILINE), 10, "the squatter"
    )
    try:
        yield
    finally:
        hub.machine.systemctl("stop", "squatter.service")


# --- faults when the hub starts


@pytest.mark.row(21)
def test_a_broken_fragment_at_boot_is_named_by_its_line(hub: Hub, work: Work) -> None:
    stop(hub)
    broken = hub.write_fragment("80-broken.py", "# a comment\nc.JupyterHub.port = \n")
    try:
        boot(hub)
        shows(hub, hub.layout.hub_service, re.escape(f"{broken}:2"))
    finally:
        hub.machine.run(["rm", broken])
    heals(hub, work)


@pytest.mark.row(21)
@pytest.mark.parametrize(
    "damage",
    ['echo garbage >"$1"', 'truncate --size="$(($(stat --format=%s "$1") / 2))" "$1"'],
    ids=["garbage", "truncated"],
)
def test_a_broken_database_is_named(hub: Hub, work: Work, damage: str) -> None:
    database = hub.layout.database
    with work.open() as kernel:
        hub.machine.systemctl("stop", hub.layout.hub_socket, hub.layout.hub_service)
        with damaged(hub, database, damage):
            boot(hub)
            shows(hub, hub.layout.hub_service, re.escape(str(database)))
            assert kernel.run("x + 1") == "42"
        heals(hub, work)
        assert kernel.run("x + 1") == "42"


@pytest.mark.parametrize(
    "damage", ['printf "\\377" >"$1"', 'chmod 0644 "$1"'], ids=["garbage", "readable by all"]
)
def test_an_unusable_cookie_secret_is_named(hub: Hub, work: Work, damage: str) -> None:
    secret = hub.layout.cookie_secret
    with work.open() as kernel:
        with damaged(hub, secret, damage):
            kill(hub, hub.layout.hub_service)
            shows(hub, hub.layout.hub_service, re.escape(str(secret)))
            assert kernel.run("x + 1") == "42"
        heals(hub, work)
        assert kernel.run("x + 1") == "42"
    assert work.person.sees("/hub/home"), "alice was logged out"


@pytest.mark.row(14)
def test_a_hub_that_starts_on_a_full_disk_serves_or_says_so(hub: Hub, work: Work) -> None:
    def serves_or_says_so() -> bool:
        seen = status(hub, hub.layout.hub_service)
        says_so = re.search("Status: .*(No space left on device|disk is full)", seen)
        # A hub that fails has no status for a moment each time, so look often.
        return bool(says_so) or hub.answers(timeout_s=5)

    with work.open() as kernel:
        with full_disk(hub):
            kill(hub, hub.layout.hub_service)
            eventually(serves_or_says_so, SHOWN_S, "the login page or the cause")
            assert kernel.run("x + 1") == "42"
        heals(hub, work)
        assert kernel.run("x + 1") == "42"


@pytest.mark.row(14)
def test_a_full_disk_does_not_stop_the_login_page(hub: Hub, work: Work) -> None:
    with work.open() as kernel:
        with full_disk(hub):
            assert hub.answers()
            assert kernel.run("x + 1") == "42"
            assert work.goes_on()
            # Another hub could not write to the database, so this one is kept.
            reload = hub.machine.systemctl("reload", hub.layout.hub_service, check=False)
            assert reload.returncode == 1
            seen = status(hub, hub.layout.hub_service)
            assert f'Status: "Not reloaded: {hub.layout.state}: No space left on device' in seen
            assert hub.answers()
        with hub.person() as bob:
            bob.start_server()
            assert bob.run_cell("6 * 7") == "42"
        assert kernel.run("x + 1") == "42"


def test_a_restore_an_upgrade_and_a_rollback_are_refused_on_a_full_disk(
    hub: Hub, work: Work
) -> None:
    littlest_hub = hub.path("hub/bin/littlest-hub")
    hub.machine.run([littlest_hub, "backup"])
    (name,) = hub.machine.run(["ls", hub.layout.backups]).stdout.split()
    backup = str(hub.layout.backups / name)
    hub.machine.install(releases.build(NEXT), ("-b", "-s"))
    upgrade = [hub.path(f"releases/{NEXT}/bin/littlest-hub"), "install"]
    with work.open() as kernel:
        with full_disk(hub):
            refused(hub, [littlest_hub, "restore", "--yes", backup])
            refused(hub, upgrade)
        hub.machine.run(upgrade)
        with full_disk(hub):
            refused(hub, [littlest_hub, "rollback"])
        hub.machine.run([littlest_hub, "rollback"])
        assert kernel.run("x + 1") == "42"
    heals(hub, work)


def refused(hub: Hub, argv: Sequence[str]) -> None:
    """Run a command that finds no room: it says so, and all is as it was."""
    before = files(hub)
    done = hub.machine.run(argv, check=False)
    assert done.returncode == 1
    said = done.stderr.splitlines()
    (reason,) = [
        line for line in said if re.search("No space left on device|MB are free|do not fit", line)
    ]
    assert str(hub.layout.state) in reason
    assert f"df -h {hub.layout.state}" in done.stderr
    assert "Traceback" not in done.stderr
    assert hub.answers()
    assert files(hub) == before


# --- faults that concern the proxy


@pytest.mark.row(20)
def test_a_missing_proxy_is_named_and_the_routes_come_back_with_it(hub: Hub, work: Work) -> None:
    with damaged(hub, hub.layout.hub / "bin" / "traefik", 'rm "$1"'):
        kill(hub, hub.layout.proxy_service)
        shows(hub, hub.layout.proxy_service, "traefik")
    heals(hub, work)


@pytest.mark.row(20)
@pytest.mark.parametrize(
    "damage",
    ['printf "[[\\377" >"$1"', 'rm "$1"', ': >"$1"', 'truncate --size=-40 "$1"'],
    ids=["garbage", "deleted", "empty", "cut off"],
)
@pytest.mark.parametrize("killed", ["hub_service", "proxy_service"])
def test_damaged_rules_are_written_again(hub: Hub, work: Work, damage: str, killed: str) -> None:
    hub.machine.run(["sh", "-c", damage, "sh", str(hub.layout.routes)])
    kill(hub, getattr(hub.layout, killed))
    heals(hub, work)


@pytest.mark.row(21)
@pytest.mark.parametrize(
    ("unit", "address"),
    [("proxy_service", "0.0.0.0:80"), ("hub_service", "127.0.0.1:15001")],
    ids=["public", "hub"],
)
def test_a_port_that_another_program_has_is_named(
    hub: Hub, work: Work, unit: str, address: str
) -> None:
    stop(hub)
    with squatter(hub, address):
        boot(hub)
        shows(hub, getattr(hub.layout, unit), rf"[ :]{address.rpartition(':')[2]}\b")
    heals(hub, work)


# --- processes that are killed, frozen, stopped


@pytest.mark.row(18)
def test_twenty_kills_in_a_row_leave_hub_proxy_and_work_as_they_were(hub: Hub, work: Work) -> None:
    services = (hub.layout.hub_service, hub.layout.proxy_service)

    def restarted(unit: str, pid: int) -> Callable[[], bool]:
        return lambda: hub.main_pid(unit) not in {0, pid}

    for turn in range(20):
        pids = {unit: hub.main_pid(unit) for unit in services}
        # The processes that serve may be children of the main one.
        kill(hub, *services, whom="all" if turn % 2 else "main")
        for unit, pid in pids.items():
            eventually(restarted(unit, pid), HEALED_S, f"{unit} to be started again")
    heals(hub, work)


def test_a_frozen_hub_takes_nothing_from_a_kernel_and_answers_what_waited(
    hub: Hub, work: Work
) -> None:
    with work.open() as kernel:
        kill(hub, hub.layout.hub_service, signal="STOP")
        with ThreadPoolExecutor(1) as somebody:
            try:
                waiting = somebody.submit(hub.answers)
                assert kernel.run("x + 1") == "42"
                assert not waiting.done()
            finally:
                kill(hub, hub.layout.hub_service, signal="CONT")
            assert waiting.result()
        heals(hub, work)
        assert kernel.run("x + 1") == "42"


@pytest.mark.parametrize("first", ["hub", "proxy"])
def test_hub_and_proxy_come_back_in_either_order(hub: Hub, work: Work, first: str) -> None:
    layout = hub.layout
    hub_units = [layout.hub_socket, layout.hub_service]
    proxy_units = [layout.proxy_socket, layout.proxy_api_socket, layout.proxy_service]
    order = [hub_units, proxy_units] if first == "hub" else [proxy_units, hub_units]
    hub.machine.systemctl("stop", *hub_units)
    hub.machine.systemctl("stop", *proxy_units)
    for units in order:
        hub.machine.systemctl("start", "--no-block", *units)
    heals(hub, work)


# --- faults of the machine


@pytest.mark.row(19)
@pytest.mark.parametrize("event", ["boot", "kill"])
def test_visitors_who_come_before_the_proxy_wait_for_their_page(
    hub: Hub, work: Work, event: str
) -> None:
    def first_status(_: int) -> int:
        def status() -> int:
            try:
                page = httpx.get(f"{hub.url}/hub/login", timeout=HEALED_S, trust_env=False)
            # Nothing listens yet, or what was killed had accepted the connection.
            except httpx.TransportError as error:
                raise AssertionError(str(error)) from error
            return page.status_code

        return eventually(status, HEALED_S, "an answer")

    with ThreadPoolExecutor(20) as visitors:
        if event == "boot":
            stop(hub)
            boot(hub)
        else:
            kill(hub, hub.layout.proxy_service)
        assert set(visitors.map(first_status, range(100))) == {200}
    eventually(work.goes_on, HEALED_S, "the work to go on")


def test_a_new_systemd_keeps_hub_proxy_and_work(hub: Hub, work: Work) -> None:
    services = (hub.layout.hub_service, hub.layout.proxy_service)
    with work.open() as kernel:
        pids = [hub.main_pid(unit) for unit in services]
        hub.machine.systemctl("daemon-reexec")
        assert hub.answers()
        assert kernel.run("x + 1") == "42"
        assert [hub.main_pid(unit) for unit in services] == pids
        hub.reload()
        assert kernel.run("x + 1") == "42"
        heals(hub, work)


def test_a_killed_journal_stops_no_server(hub: Hub, work: Work) -> None:
    services = (hub.layout.hub_service, hub.layout.proxy_service)
    with work.open() as kernel:
        pids = [hub.main_pid(unit) for unit in services]
        kill(hub, "systemd-journald.service")
        with hub.person() as bob:  # writes to the journal
            eventually(
                lambda: bob.name in hub.machine.journal(hub.layout.hub_service),
                HEALED_S,
                "the hub's own lines in the new journal",
            )
        assert kernel.run("x + 1") == "42"
        assert [hub.main_pid(unit) for unit in services] == pids
    heals(hub, work)
