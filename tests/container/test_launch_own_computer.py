"""The launch stack at a hub of `littlest-hub run`: an ordinary user, without root and units."""

import secrets
from pathlib import Path

import pytest

from tests.client import Person, hidden_fields, visible_text
from tests.eventually import eventually
from tests.git_server import HOST, Repository
from tests.launch_machine import (
    PACKAGES,
    PAGE,
    START,
    bundle_on,
    internet,
    usual_values,
    with_values,
)
from tests.machine import Machine
from tests.rootless import start

pytestmark = [pytest.mark.needs("git"), pytest.mark.long]
COMMAND = "/home/alice/hub/hub/bin/littlest-hub"
FRAGMENT = "/home/alice/hub/jupyterhub_config.d/65-launch.py"


def test_a_user_without_root_launches_a_repository_and_gets_its_kernel(
    installer: Path, tmp_path: Path
) -> None:
    with Machine("bookworm", packages=PACKAGES) as machine:
        machine.add_user("alice", secrets.token_urlsafe())
        machine.install(installer, user="alice", env={"LITTLEST_HUB_BASE": "/home/alice/hub"})
        bundle = bundle_on(machine, tmp_path)
        machine.run([COMMAND, "packages", "add", f"--from={bundle}"], user="alice")
        said = machine.run([COMMAND, "enable", "launch", "--yes"], user="alice").stdout
        assert "change nothing that runs" in said
        assert f"Start the hub, or end it and start it again: {COMMAND} run" in said
        with internet(machine, tmp_path) as (git_port, index):
            for version in ("1.0", "2.0"):
                index.add("colors", version, files={"colors.py": f"VERSION = '{version}'\n"})
            repositories = tmp_path / "git" / "repositories"
            files = {"requirements.txt": "colors==1.0\n", "start.ipynb": START}
            Repository(repositories / "course").commit(files)
            Repository(repositories / "code").commit({"postBuild": "#!/bin/sh\ntrue\n"})
            machine.put(FRAGMENT, with_values(machine.read(FRAGMENT), usual_values(git_port)))
            greeting = start(machine)
            url = machine.forward(9000, int(greeting.url.rpartition(":")[2]))
            with Person(url, greeting.user, greeting.password) as alice:
                alice.log_in()
                launch(alice, f"https://{HOST}:{git_port}/course")
                with alice.open_kernel(server="course") as kernel:
                    found = kernel.run("import colors; print(colors.VERSION, end='')")
                assert found == "1.0"
                alice.stop_server(server="course")
                query = {"repo": f"https://{HOST}:{git_port}/code", "name": "code"}
                refused = visible_text(alice.browser.get(PAGE, params=query))
                assert "a hub that runs without systemd runs no code while it builds" in refused
        machine.systemctl("stop", "foreground")
        machine.run([COMMAND, "disable", "launch"], user="alice")
        left = machine.run(["ls", "/home/alice/hub", "/home/alice/launch/course"]).stdout.split()
        assert "start.ipynb" in left
        assert "environments" not in left
        eventually(lambda: not processes(machine), 10, "everything that it started to be gone")


def launch(person: Person, repository: str) -> None:
    """Launch a repository as the server `course`."""
    query = {"repo": repository, "name": "course", "path": "start.ipynb"}
    page = person.browser.get(PAGE, params=query)
    assert "On your own computer" in visible_text(page), visible_text(page)
    fields = {**hidden_fields(page), "decision": "launch"}
    done = person.browser.post(f"{PAGE}launch", data=fields, timeout=180)
    assert "Starting course" in visible_text(done), visible_text(done)
    person.await_server(server="course")


def processes(machine: Machine) -> str:
    """Return the programs of alice that run."""
    return machine.run(["pgrep", "--uid", "alice", "--list-full"], check=False).stdout
