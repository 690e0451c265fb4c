"""The result of one run of the installer."""

import re
import secrets
from pathlib import Path

import pexpect
import pytest

from littlest_hub import __version__
from littlest_hub.layout import DEFAULT_BASE, Layout
from tests.client import Person, RefusedError
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

WHO_AM_I = "import getpass\nprint(getpass.getuser(), sum(range(10)))"


@pytest.mark.parametrize("suite", ["bullseye", "bookworm", "trixie"])
def test_it_installs_without_network_and_serves_a_notebook(suite: str, installer: Path) -> None:
    with Machine(suite) as machine:
        routes = machine.read("/proc/net/route").splitlines()[1:]
        assert all(line.split()[1] != "00000000" for line in routes), "the machine has a way out"

        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "alice"})

        with hub.person("alice") as alice:
            alice.start_server()
            assert alice.run_cell(WHO_AM_I) == "alice 45\n"
            assert alice.browser.get("/hub/admin").status_code == 200
            hub.reload()
            wrong = pytest.raises(RefusedError, match="Wrong user name or password")
            with Person(hub.url, "alice", "not hers") as mallory, wrong:
                mallory.log_in()
            with Person(hub.url, "alice", alice.password) as alice_elsewhere:
                alice_elsewhere.log_in()
        assert machine.systemctl("--failed", "--plain", "--no-legend").stdout == ""


def test_a_second_base_directory_serves_beside_the_first(installer: Path) -> None:
    with Machine() as machine:
        first = Hub.install(machine, installer)
        second = Hub.install(machine, installer, base=Path("/srv/physics"))
        assert first.url != second.url
        password = secrets.token_urlsafe()
        machine.add_user("alice", password)

        for hub in (first, second):
            hub.write_fragment("20-everybody.py", EVERYBODY)
            hub.reload()
        with (
            Person(first.url, "alice", password) as here,
            Person(second.url, "alice", password) as there,
        ):
            for alice in (here, there):
                alice.log_in()
                alice.start_server()
            assert here.run_cell(WHO_AM_I) == there.run_cell(WHO_AM_I) == "alice 45\n"
            executable = "import sys\nprint(sys.executable)"
            assert here.run_cell(executable).startswith("/opt/littlest-hub/releases/")
            assert there.run_cell(executable).startswith("/srv/physics/releases/")


def test_installing_a_second_time_changes_no_byte(hub: Hub) -> None:
    before, pid = hub.snapshot(), hub.main_pid()
    hub.machine.run([hub.path("hub/bin/littlest-hub"), "install"])
    assert hub.snapshot() == before
    assert hub.main_pid() == pid


@pytest.mark.row(24)
def test_it_serves_under_umask_077_and_where_ipv6_sockets_take_no_ipv4_by_default(
    installer: Path,
) -> None:
    with Machine() as machine:
        machine.run(["mount", "-o", "remount,rw", "/proc/sys"])
        machine.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/bindv6only"])
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "alice"}, umask=0o077)
        with hub.person("alice") as alice:
            alice.start_server()
            assert alice.run_cell(WHO_AM_I) == "alice 45\n"
        # Hub.install has visited it by IPv4.
        python = hub.path("hub/bin/python3")
        visit = "import urllib.request as u; print(u.urlopen('http://[::1]/hub/login').status)"
        assert machine.run([python, "-c", visit]).stdout == "200\n"


@pytest.mark.row(9)
def test_no_one_may_log_in_until_a_fragment_says_who(installer: Path) -> None:
    with Machine() as machine:
        said = machine.install(installer).stdout
        hub = Hub.found_on(machine)
        assert "c.Authenticator.allowed_users" in said
        assert str(hub.layout.fragments) in said

        with pytest.raises(RefusedError, match="403"), hub.person("alice"):
            pass


def test_a_port_in_use_is_refused_leaves_nothing_and_the_next_port_works(installer: Path) -> None:
    with Machine() as machine:
        machine.run(["systemd-run", "systemd-socket-activate", "--listen=8080", "cat"])
        # The port is taken a moment after the unit has started.
        eventually(lambda: ":1F90 " in machine.read("/proc/net/tcp6"), 10, "port 8080 to be taken")
        before = _everything(machine)

        refused = machine.install(installer, env={"LITTLEST_HUB_PORT": "8080"}, check=False)

        assert refused.returncode == 1
        assert "LITTLEST_HUB_PORT=8080" in refused.stdout + refused.stderr
        assert _everything(machine) == before
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_PORT": "8081"})
        assert hub.url.endswith(":8081")


def test_services_that_do_not_start_leave_nothing_and_a_retry_works(installer: Path) -> None:
    with Machine() as machine:
        # A drop-in for units that do not exist yet makes the hub fail to start, as any cause would.
        drop_in = f"/etc/systemd/system/{Layout(DEFAULT_BASE).hub_service}.d/broken.conf"
        machine.put(drop_in, "[Service]\nExecStartPre=/bin/false\n")
        before = _everything(machine)

        failed = machine.install(installer, check=False)

        assert failed.returncode == 1, failed.stdout
        assert "littlest-hub.service" in failed.stdout + failed.stderr
        assert _everything(machine) == before
        machine.run(["rm", drop_in])
        assert Hub.install(machine, installer).answers()


def test_without_a_running_systemd_it_enables_everything_and_says_what_to_do(
    installer: Path,
) -> None:
    with Machine(booted=False) as machine:
        said = machine.install(installer).stdout
        assert re.search(r"systemctl|boot", said), said
        wanted = machine.run(["ls", "/etc/systemd/system/multi-user.target.wants"]).stdout.split()
        sockets = machine.run(["ls", "/etc/systemd/system/sockets.target.wants"]).stdout.split()
        assert {"littlest-hub.service", "littlest-hub-proxy.service"} <= set(wanted)
        assert {"littlest-hub.socket", "littlest-hub-proxy.socket"} <= set(sockets)


def test_in_a_terminal_it_asks_who_the_administrator_is(installer: Path) -> None:
    with Machine() as machine:
        copied = machine.copy(installer, f"/root/{installer.name}")
        terminal = machine.terminal(["sh", copied])
        terminal.expect("ENTER to continue")
        terminal.sendline("")
        while terminal.expect(["--More--", "yes.no"]) == 0:
            terminal.send(" ")
        terminal.sendline("yes")
        terminal.expect("confirm it.*>>> ")
        terminal.sendline("")
        terminal.expect("administrator.*: ")
        terminal.sendline("no login name")
        terminal.expect("administrator.*: ")
        terminal.sendline("alice")
        terminal.expect("Thank you")
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == 0

        with Hub.found_on(machine).person("alice") as alice:
            assert alice.browser.get("/hub/admin").status_code == 200


def test_uninstalling_takes_everything_away_but_what_the_administrator_owns(
    installer: Path,
) -> None:
    with Machine() as machine:
        other = Hub.install(machine, installer, base=Path("/srv/physics"))
        machine.add_user("alice", password := secrets.token_urlsafe())
        before = _everything(machine, but="physics")
        hub = Hub.install(machine, installer)
        fragment = hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        with Person(hub.url, "alice", password) as alice:
            alice.log_in()
            alice.start_server()
        drop_in = f"/etc/systemd/system/{hub.layout.proxy_socket}.d"
        machine.put(f"{drop_in}/port.conf", "[Socket]\nListenStream=8080\n")

        said = machine.run([hub.path("hub/bin/littlest-hub"), "uninstall"]).stdout

        assert machine.read(fragment) == EVERYBODY
        assert machine.run(["test", "-e", str(hub.layout.database)]).returncode == 0
        for path in (hub.layout.fragments, hub.layout.state, drop_in):
            assert str(path) in said
        machine.run(["sh", "-c", said.partition("To remove that as well: ")[2].splitlines()[0]])
        assert _everything(machine, but="physics") == before
        assert other.answers()


def test_uninstalling_a_hub_at_home_leaves_the_machines_hub_alone(
    hub: Hub, installer: Path
) -> None:
    pid = hub.main_pid()
    hub.machine.add_user("bob", secrets.token_urlsafe())
    at_home = "/home/bob/littlest-hub"
    hub.machine.install(installer, user="bob", env={"LITTLEST_HUB_BASE": at_home})
    hub.machine.run([f"{at_home}/hub/bin/littlest-hub", "uninstall"])
    assert hub.answers()
    assert hub.main_pid() == pid


def test_running_in_the_foreground_what_systemd_serves_is_refused(hub: Hub) -> None:
    before = hub.snapshot()
    refused = hub.machine.run([hub.path("hub/bin/littlest-hub"), "run"], check=False)
    assert refused.returncode == 1
    assert "systemctl status littlest-hub" in refused.stderr
    assert hub.snapshot() == before


def test_a_repair_finds_a_hub_that_listens_where_its_drop_in_says(installer: Path) -> None:
    with Machine() as machine:
        hub = Hub.install(machine, installer)
        machine.put(
            f"/etc/systemd/system/{hub.layout.proxy_socket}.d/port.conf",
            "[Socket]\nListenStream=\nListenStream=8080\n",
        )
        machine.systemctl("daemon-reload")
        machine.systemctl("stop", hub.layout.proxy_service)
        machine.systemctl("restart", hub.layout.proxy_socket)
        moved = Hub.found_on(machine)
        assert moved.url.endswith(":8080")
        machine.install(installer, ["-b", "-u"])
        assert moved.answers()
        # The drop-in belongs to the administrator and survives a reinstallation.
        machine.run([hub.path("hub/bin/littlest-hub"), "uninstall"])
        machine.install(installer)
        assert moved.answers()


def test_a_base_directory_behind_a_link_is_known_by_where_it_is(installer: Path) -> None:
    with Machine() as machine:
        machine.run(["sh", "-c", "mkdir /data && rmdir /srv && ln -s /data /srv"])
        machine.install(installer, env={"LITTLEST_HUB_BASE": "/srv/physics"})
        hub = Hub.found_on(machine, Path("/data/physics"))
        machine.run([hub.path("hub/bin/littlest-hub"), "uninstall", "--purge", "--yes"])
        units = machine.systemctl("list-units", "--all", "--plain", "--no-legend", "littlest-hub*")
        assert units.stdout == ""


def test_a_replaced_release_is_what_runs_afterwards(installer: Path) -> None:
    with Machine() as machine:
        hub = Hub.install(machine, installer)
        services = (hub.layout.hub_service, hub.layout.proxy_service)
        before = [hub.main_pid(service) for service in services]
        machine.install(installer, ["-b", "-u"])
        assert not {hub.main_pid(service) for service in services} & {0, *before}
        gone = ["sh", "-c", "ls -l /proc/[0-9]*/exe 2>/dev/null | grep 'releases.*(deleted)'"]
        # The previous proxy first finishes with its visitors.
        eventually(lambda: not machine.run(gone, check=False).stdout, 60, "the old to be gone")


def test_a_release_that_does_not_start_gives_way_to_the_one_before(installer: Path) -> None:
    with Machine() as machine:
        hub = Hub.install(machine, installer)
        newer = hub.path("releases/2099.1.0")
        machine.run(["cp", "-a", hub.path(f"releases/{__version__}"), newer])
        machine.run(["rm", f"{newer}/bin/traefik"])
        before = hub.snapshot()
        failed = machine.run(
            [f"{newer}/bin/python3", "-I", "-m", "littlest_hub", "install", "--prefix", newer],
            check=False,
        )
        assert failed.returncode == 1
        assert "littlest-hub-proxy.service" in failed.stderr
        assert "Could not undo" not in failed.stderr
        assert _but_for_times(hub.snapshot()) == _but_for_times(before)
        assert hub.answers()
        assert hub.main_pid(hub.layout.proxy_service) != 0


def _but_for_times(snapshot: dict[str, str]) -> dict[str, str]:
    """Return a snapshot without times and without files that each start or test writes."""
    return {
        path: re.sub(r" \d+\.\d+ ", " ", seen)
        for path, seen in snapshot.items()
        if not path.endswith(("/rules.toml", "/upgrades.log")) and "/backups" not in path
    }


def _everything(machine: Machine, *, but: str = "nothing") -> str:
    """Return every file, account, unit and process of ours that an installation could leave."""
    script = r"""
        find /etc /opt /srv /usr/local -printf '%p %m %u %g %l\n' >/tmp/found
        find /run /var/lib -ignore_readdir_race -maxdepth 2 -name '*littlest*' >>/tmp/found
        LC_ALL=C sort /tmp/found
        LC_ALL=C sort /etc/passwd /etc/group
        systemctl list-units --all --plain --no-legend 'littlest-hub*' | cut -d ' ' -f 1
        cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep '^/[a-z].*/releases/' || :
    """
    lines = machine.run(["sh", "-eu", "-c", script]).stdout.splitlines()
    return "\n".join(line for line in lines if but not in line)
