"""Without root: the same installer into a home directory, the hub in the foreground."""

import re
import secrets
from pathlib import Path

from tests.client import Person
from tests.eventually import eventually
from tests.machine import Machine
from tests.rootless import start
from tests.terminal import opened


def test_a_user_installs_at_home_and_serves_a_notebook(installer: Path) -> None:
    with Machine() as machine:
        machine.add_user("alice", secrets.token_urlsafe())
        machine.install(installer, user="alice", env={"LITTLEST_HUB_BASE": "/home/alice/hub"})
        command, bad = (
            "/home/alice/hub/hub/bin/littlest-hub",
            "/home/alice/hub/jupyterhub_config.d/1.py",
        )
        machine.put(bad, "c.Spawner.mem_limits = '1G'\n")
        refused = machine.run([command, "run"], user="alice", check=False)
        assert refused.returncode == 1
        assert f"{bad}:1: Spawner.mem_limits" in refused.stderr
        machine.run(["rm", bad])
        stack = machine.run([command, "enable", "announce", "--yes"], user="alice", check=False)
        assert "announce needs units of systemd" in stack.stderr
        greeting = start(machine)
        port = int(greeting.url.rpartition(":")[2])
        url = machine.forward(9000, port)
        with Person(url, greeting.user, greeting.password) as alice:
            alice.log_in()
            assert "This hub serves only alice" in alice.browser.get("/hub/admin").text
            alice.start_server()
            assert alice.run_cell("import getpass\nprint(getpass.getuser(), 6 * 7)") == "alice 42\n"
            with opened(alice) as terminal:
                found = terminal.run("command -v python; echo $SHELL $USER")
                assert re.fullmatch(r"/home/alice/hub/.*/bin/python\n/bin/bash alice\n", found)
            # Starting it twice, or removing it while it runs, does no harm.
            command = "/home/alice/hub/hub/bin/littlest-hub"
            for verb in ("run", "uninstall"):
                refused = machine.run([command, verb], user="alice", check=False)
                assert refused.returncode == 1
                assert "already, as process" in refused.stderr
            assert alice.run_cell("6 * 7") == "42"
            machine.systemctl("stop", "foreground")
            unloaded = ["systemctl", "show", "-P", "LoadState", "foreground"]
            eventually(lambda: machine.run(unloaded).stdout == "not-found\n", 10, "its end")
            # The next day, everything is as it was, and the browser is still logged in.
            assert start(machine) == greeting
            assert str(alice.browser.get("/hub/home").url).endswith("/hub/home")
        machine.systemctl("stop", "foreground")
        kept = "/home/alice/hub/state/run-password"
        assert machine.read(kept) == f"{greeting.password}\n"
        assert machine.run(["stat", "--format=%a %U", kept]).stdout == "600 alice\n"
        said = machine.run(["journalctl", "--output=cat", "--unit=foreground"]).stdout
        assert "\nStopped.\n" in said
        owners = "for p in /proc/[0-9]*; do stat --format=%U $p; done"
        eventually(
            lambda: "alice" not in machine.run(["sh", "-c", owners]).stdout,
            10,
            "everything that it started to be gone",
        )
        # No fragment has to let the owner in, and a stack is refused before it asks anything.
        checked = machine.run([command, "check"], user="alice")
        assert "no fragment lets" not in checked.stdout + checked.stderr
        stack = machine.run([command, "enable", "class"], user="alice", check=False)
        assert "class needs units of systemd" in stack.stderr
        assert stack.stdout == ""
        low = machine.run([command, "run", "--port", "80"], user="alice", check=False)
        assert "cannot listen on port 80: only root may" in low.stderr
