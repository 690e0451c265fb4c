"""Removal without a trace, in every order of steps."""

from pathlib import Path

import pytest

from littlest_hub.layout import DEFAULT_BASE, Layout
from tests.container.conftest import EVERYBODY, FURTHER
from tests.container.test_configuring import kill_check
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

# Every file that an installation could leave; every account, unit, listener and process of ours.
LISTING = r"""
    find /etc /opt /srv /usr /home -printf '%p %m %u %g %l\n' | LC_ALL=C sort
    find /run /var/lib /var/log /tmp /var/tmp -ignore_readdir_race -maxdepth 3 \
        | grep -e littlest -e lhub | grep -v -e '\.sh$' | LC_ALL=C sort
    LC_ALL=C sort /etc/passwd /etc/group
    systemctl list-units --all --plain --no-legend | grep -e littlest | cut -d ' ' -f 1
    systemctl list-unit-files --plain --no-legend | grep -e littlest
    awk '$4 == "0A" { print FILENAME, $2 }' /proc/net/tcp /proc/net/tcp6 | LC_ALL=C sort
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep '^/[a-z].*/releases/'
    :
"""
LAYOUT = Layout(DEFAULT_BASE)
NAMES = " ".join([*LAYOUT.started_unit_names, *LAYOUT.helper_sockets, LAYOUT.users_slice])
# systemctl stops no template.
TEMPLATES = f"{LAYOUT.password_service} {LAYOUT.hook_service}"
DISABLE = f"systemctl disable --now {NAMES}; systemctl disable {TEMPLATES}"
REMOVE = f"rm -rf {DEFAULT_BASE}"
IDLE = tuple(f"{name} not loaded." for name in (LAYOUT.proxy_https_socket, LAYOUT.users_slice))


def everything(machine: Machine) -> list[str]:
    return machine.run(["sh", "-c", LISTING]).stdout.splitlines()


@pytest.mark.row(23)
def test_a_purge_leaves_the_machine_as_it_was(installer: Path) -> None:
    with Machine() as machine:
        machine.add_user("alice", "a password")
        before = everything(machine)
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        with hub.person("bob") as bob:
            bob.start_server()
            refused = machine.run(
                [hub.path("hub/bin/littlest-hub"), "uninstall", "--purge"], check=False
            )
            assert refused.returncode == 1
            assert "--purge --yes" in refused.stderr
            # At a terminal, the command asks before it ends servers of users.
            command = f"{hub.path('hub/bin/littlest-hub')} uninstall"
            at_terminal = ["script", "--quiet", "--return", "--command", command, "/dev/null"]
            asked = machine.run(at_terminal, input="no\n", check=False)
            assert "This stops littlest-hub.user-bob.service" in asked.stdout
            assert asked.returncode == 1
            assert hub.answers()
            bob.stop_server()
        kill_check(hub)
        machine.put("/etc/systemd/system/littlest-hub.announce.service.d/mine.conf", "[Service]\n")
        said = machine.run([hub.path("hub/bin/littlest-hub"), "uninstall", "--purge", "--yes"])
        assert said.stdout.startswith("Removed.")
        machine.run(["userdel", "--remove", "bob"])
        assert everything(machine) == before


@pytest.mark.row(23)
@pytest.mark.parametrize("suite", ["bullseye", *FURTHER])
def test_disabling_and_removing_in_either_order_leaves_nothing(suite: str, installer: Path) -> None:
    with Machine(suite) as machine:
        before = everything(machine)
        for commands in ([DISABLE, REMOVE], [REMOVE, DISABLE]):
            Hub.install(machine, installer)
            for command in commands:
                done = machine.run(["sh", "-c", command], check=False)
                # Neither HTTPS nor a user server: nothing to stop.
                failed = [line for line in done.stderr.splitlines() if line.startswith("Failed")]
                assert all(line.endswith(IDLE) for line in failed), done
            # Removal by hand leaves these (docs/how-to/upgrade.md); /run is empty after a reboot.
            left = f"/usr/local/bin/littlest-hub {LAYOUT.needrestart_config}"
            machine.run(
                ["sh", "-c", f"rm {left}; rmdir -p {LAYOUT.needrestart_config.parent}"], check=False
            )
            machine.run(
                ["sh", "-c", "rm -r /run/littlest-hub* /run/private/littlest-hub*"], check=False
            )
            assert everything(machine) == before, commands


def test_a_base_directory_that_was_removed_under_its_services_is_left_in_peace(
    installer: Path,
) -> None:
    with Machine() as machine:
        hub = Hub.install(machine, installer)
        machine.run(["sh", "-c", REMOVE])
        services = (hub.layout.hub_service, hub.layout.proxy_service)
        machine.systemctl("kill", "--signal=KILL", *services)
        states = ["show", "--property=ActiveState", "--value", *services]
        eventually(
            lambda: machine.systemctl(*states).stdout.split() == ["inactive", "inactive"],
            20,
            "nothing to be tried any more",
        )
        # A visitor starts it again for no more than a moment.
        knock = "for i in 1 2 3; do exec 3<>/dev/tcp/127.0.0.1/80 || break; done"
        machine.run(["bash", "-c", knock], check=False)
        eventually(
            lambda: machine.systemctl(*states).stdout.split() == ["inactive", "inactive"],
            20,
            "nothing to be tried any more",
        )
        assert Hub.install(machine, installer).url == hub.url


def test_on_a_file_system_of_its_own_units_are_files(installer: Path) -> None:
    with Machine() as machine:
        before = everything(machine)
        machine.run(["mkdir", "/srv/physics"])
        machine.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", "/srv/physics"])
        hub = Hub.install(machine, installer, base=Path("/srv/physics"))
        unit = f"/etc/systemd/system/{hub.layout.hub_service}"
        assert machine.run(["test", "-L", unit], check=False).returncode == 1
        machine.run([hub.path("hub/bin/littlest-hub"), "uninstall", "--purge", "--yes"])
        machine.run(["umount", "/srv/physics"])
        machine.run(["rmdir", "/srv/physics"])
        assert everything(machine) == before
