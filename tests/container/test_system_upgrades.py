"""Upgrades of the machine's own packages, and user servers that run meanwhile."""

from pathlib import Path

from tests.container.conftest import EVERYBODY, MORE_PACKAGES
from tests.hub import Hub
from tests.machine import Machine

# As dpkg does: a new file with the old name.
REPLACE = 'cp -p "$1" "$1.new" && mv "$1.new" "$1"'
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def test_needrestart_restarts_the_hub_but_no_user_server_and_no_notebook_is_lost(
    installer: Path,
) -> None:
    with Machine("bookworm", packages=MORE_PACKAGES) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        hub.reload()
        with hub.person() as alice:
            alice.start_server()
            server = f"{hub.layout.user_unit(alice.name)}.service"
            with alice.open_kernel() as kernel:
                kernel.run("x = 41")
                pids = hub.main_pid(server), hub.main_pid()
                machine.run(["sh", "-c", REPLACE, "sh", LIBC])
                said = machine.run(["needrestart", "-r", "a"]).stdout
                # systemd is replaced as an upgrade of its package does it.
                machine.systemctl("daemon-reexec")
                assert hub.main_pid() != pids[1]
                assert hub.main_pid(server) == pids[0]
                assert server in said
                assert kernel.run("x + 1") == "42"
            assert alice.run_cell("6 * 7") == "42"
        config = str(hub.layout.needrestart_config)
        machine.run([hub.path("hub/bin/littlest-hub"), "uninstall"])
        assert machine.run(["test", "-e", config], check=False).returncode != 0
        # It belongs to the package.
        machine.run(["test", "-d", str(Path(config).parent)])
