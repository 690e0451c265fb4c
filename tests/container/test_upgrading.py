"""From one release to the next and back, while users work."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from littlest_hub import __version__
from tests import releases
from tests.client import Kernel, Person
from tests.container.conftest import EVERYBODY
from tests.hub import Hub
from tests.machine import Machine

NEXT = "2026.12.0"
OF_WHICH_RELEASE = "import sys\nprint(sys.executable.split('/')[-3])"
REVISION = "feed0feed0fe"
FAILS = {
    "littlest_hub/hub/app.py": {
        "        super().init_db()\n": "        raise LittlestHubError('no luck today')\n"
    }
}

OTHER_SOCKETS = {
    "littlest_hub/units/hub.py": {'"Backlog", "4096"': '"Backlog", "4095"'},
    "littlest_hub/units/proxy.py": {'"Backlog", "4096"': '"Backlog", "4095"'},
}


@contextmanager
def visited(hub: Hub) -> Iterator[None]:
    """Request the login page all the time, whether it is there or not."""
    is_over = threading.Event()

    def visit() -> None:
        while not is_over.wait(0.1):
            with suppress(httpx.TransportError):
                httpx.get(f"{hub.url}/hub/login", timeout=5, trust_env=False)

    with ThreadPoolExecutor(4) as visitors:
        for _ in range(4):
            visitors.submit(visit)
        try:
            yield
        finally:
            is_over.set()


@contextmanager
def working(hub: Hub) -> Iterator[tuple[Person, Kernel]]:
    """Yield Alice, in the middle of her work."""
    with hub.person("alice") as alice:
        alice.start_server()
        with alice.open_kernel() as kernel:
            kernel.run("x = 41")
            yield alice, kernel


def active(hub: Hub) -> str:
    return hub.machine.run(["readlink", hub.path("hub")]).stdout.strip().removeprefix("releases/")


def present(hub: Hub) -> set[str]:
    return set(hub.machine.run(["ls", "-A", hub.path("releases")]).stdout.split())


@contextmanager
def installed(installer: Path, suite: str = "bookworm") -> Iterator[Hub]:
    with Machine(suite) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        yield hub


def test_only_the_administrator_notices_an_upgrade_and_a_rollback(
    installer: Path,
) -> None:
    with installed(installer) as hub, working(hub) as (alice, kernel):
        said = hub.machine.install(releases.build(NEXT))
        assert active(hub) == NEXT
        assert f"{NEXT} serves now" in said.stdout
        assert "Watching" in said.stderr
        assert kernel.run("x + 1") == "42", "the websocket broke"
        assert alice.run_cell(OF_WHICH_RELEASE) == f"{__version__}\n"
        with hub.person() as bob:
            bob.start_server()
            assert bob.run_cell(OF_WHICH_RELEASE) == f"{NEXT}\n"

            back = hub.machine.run([hub.path("hub/bin/littlest-hub"), "rollback"])
            assert active(hub) == __version__
            assert f"{__version__} serves again" in back.stdout
            assert kernel.run("x + 1") == "42", "the websocket broke"
            assert bob.run_cell(OF_WHICH_RELEASE) == f"{NEXT}\n"

            # Bob's release stays as long as he uses it, and is removed afterwards.
            said = hub.machine.install(releases.build("2026.12.1"))
            assert present(hub) == {__version__, NEXT, "2026.12.1"}
            assert re.search(rf"{NEXT} stays while it is in use: .*bob|person", said.stdout)
        argv = [hub.path("hub/bin/littlest-hub"), "rollback", "--list"]
        listing = hub.machine.run(argv).stdout
        assert re.search(rf"{__version__} +rollback leads here, 1 user server", listing)
        assert re.search(r"2026.12.1 +active", listing)
        as_json = json.loads(hub.machine.run([*argv, "--json"]).stdout)
        found = {each["version"]: each for each in as_json}
        unit = f"{hub.layout.user_unit(alice.name)}.service"
        assert found[__version__]["is_previous"]
        assert found[__version__]["servers"] == [unit]
        assert found["2026.12.1"]["is_active"]
        hub.machine.systemctl("stop", "littlest-hub.user-*")
        hub.machine.run([hub.path("hub/bin/littlest-hub"), "install"])
        assert present(hub) == {__version__, "2026.12.1"}


def test_an_impossible_upgrade_is_refused_and_changes_nothing(installer: Path) -> None:
    later = ["2026.11", "2026.12", "2027.1"]
    too_far = releases.build("2027.1.0", series=later)
    with installed(installer) as hub:
        before, pid = hub.snapshot(), hub.main_pid()

        refused = hub.machine.install(too_far, check=False)
        assert refused.returncode == 1
        assert "2026.12, then 2027.1.0" in refused.stderr

        broken = hub.write_fragment("80-broken.py", "# a comment\nc.JupyterHub.prot = 1\n")
        refused = hub.machine.install(releases.build(NEXT), check=False)
        assert refused.returncode == 1
        assert f"{broken}:2" in refused.stderr
        hub.machine.run(["rm", broken])

        refused = hub.machine.run([hub.path("hub/bin/littlest-hub"), "rollback"], check=False)
        assert refused.returncode == 1
        assert "no release to return to" in refused.stderr

        changed = {name for name, seen in hub.snapshot().items() if before.get(name) != seen}
        places = (hub.layout.fragments, hub.layout.state, hub.layout.releases)
        assert changed <= set(map(str, places))
        assert (active(hub), present(hub)) == (__version__, {__version__})
        assert hub.main_pid() == pid


@pytest.mark.long
def test_visitors_start_nothing_while_sockets_are_opened_again(installer: Path) -> None:
    with installed(installer) as hub:
        with visited(hub):
            hub.machine.install(releases.build(NEXT, patches=OTHER_SOCKETS))
        older = hub.path(f"releases/{__version__}")
        command = [f"{older}/bin/python3", "-I", "-m", "littlest_hub", "install"]
        refused = hub.machine.run(command, check=False)
        assert refused.returncode == 1
        assert "littlest-hub rollback" in refused.stderr
        assert active(hub) == NEXT


def test_a_release_whose_hub_cannot_start_gives_way_even_when_the_database_was_migrated(
    installer: Path,
) -> None:
    with installed(installer) as hub, working(hub) as (alice, kernel):
        bad = releases.build("2026.12.2", patches=FAILS, migration=REVISION)
        failed = hub.machine.install(bad, check=False)
        assert failed.returncode == 1
        assert "no luck today" in failed.stderr
        assert f"Switching back to {__version__}" in failed.stderr
        assert (active(hub), present(hub)) == (__version__, {__version__})
        log = hub.machine.read(str(hub.layout.upgrade_log))
        assert re.search(rf"upgrade {__version__} -> 2026.12.2 failed: .*no luck today", log)
        assert "no luck today" in hub.machine.journal(hub.layout.hub_service)
        assert hub.answers()
        assert kernel.run("x + 1") == "42", "the websocket broke"
        assert alice.run_cell("6 * 7") == "42"


def test_a_database_of_an_older_schema_is_migrated_and_put_back_with_what_happened_since(
    installer: Path,
) -> None:
    with installed(installer) as hub, working(hub) as (alice, kernel):
        hub.machine.install(releases.build("2026.12.1", migration=REVISION))
        with hub.person("bob") as bob:
            bob.start_server()
            hub.machine.run([hub.path("hub/bin/littlest-hub"), "rollback"])
            assert active(hub) == __version__
            # Bob joined after the copy was made: his server, session and account survive.
            assert bob.run_cell("6 * 7") == "42"
            assert alice.run_cell("6 * 7") == "42"
            assert kernel.run("x + 1") == "42", "the websocket broke"
            backups = hub.machine.run(["ls", "-l", str(hub.layout.backups)]).stdout
            assert re.search(rf"-rw------- .*jupyterhub-{REVISION}.sqlite", backups)
        again = hub.machine.run([hub.path("hub/bin/littlest-hub"), "rollback", "--to", "2026.12.1"])
        assert "2026.12.1 serves again" in again.stdout


def test_two_at_once_are_refused_by_name(installer: Path) -> None:
    with installed(installer) as hub:
        lock = str(hub.layout.change_lock)
        script = 'exec 8>>"$1"; flock 8; echo $$ >"$1"; echo held; sleep 600'
        holder = hub.machine.terminal(["sh", "-c", script, "sh", lock])
        holder.expect("held")
        pid = hub.machine.read(lock).strip()
        refused = hub.machine.install(releases.build(NEXT), check=False)
        assert refused.returncode == 1
        assert f"process {pid} is changing" in refused.stderr
        assert active(hub) == __version__
        holder.close(force=True)


@pytest.mark.parametrize("old_serves", [True, False])
def test_a_repair_that_fails_leaves_the_old_release_running(
    installer: Path, old_serves: bool
) -> None:
    with installed(installer) as hub:
        if not old_serves:
            hub.machine.systemctl("stop", *hub.layout.started_unit_names)
        same = releases.build(__version__, patches=FAILS)
        failed = hub.machine.install(same, ["-b", "-u"], check=False)
        assert failed.returncode == 1
        assert hub.answers()
        for service in (hub.layout.hub_service, hub.layout.proxy_service):
            program = f"/proc/{hub.main_pid(service)}/exe"
            assert hub.machine.run(["readlink", program]).stdout.startswith(hub.path("releases/"))
            assert "deleted" not in hub.machine.run(["readlink", program]).stdout
