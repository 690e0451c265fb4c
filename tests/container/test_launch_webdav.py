"""A folder of a WebDAV server in a launched server, with Debian's rclone at both ends."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client import Person, hidden_fields, visible_text
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.git_server import OTHER_HOST
from tests.hub import Hub
from tests.launch_machine import PACKAGES, PAGE, START, LaunchMachine, launch_machine
from tests.machine import Machine

pytestmark = [pytest.mark.needs("git"), pytest.mark.long]
PORT = 8443
FOLDER = f"https://{OTHER_HOST}:{PORT}/data"
USER, PASSWORD = "alice-at-work", "fish %(x)s 'n\" chips"
HOME = {"Host": "localhost"}
"""A browser on this machine, whose requests nobody else reads."""
_CLOUD = (
    "rclone serve webdav --config= --dir-cache-time=1s --cert=/etc/cloud.pem --key=/etc/cloud.pem"
)


@pytest.fixture(scope="module")
def launching(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchMachine]:
    with Machine("bookworm", packages=(*PACKAGES, "rclone")) as machine:
        machine.run(["sh", "-c", "test -e /dev/fuse || mknod -m 600 /dev/fuse c 10 229"])
        hub = Hub.install(machine, installer)
        hub.write_fragment("20-everybody.py", EVERYBODY)
        with launch_machine(hub, tmp_path_factory.mktemp("launching")) as found:
            machine.run(["sh", "-c", f"echo 127.0.0.1 {OTHER_HOST} >>/etc/hosts"])
            machine.copy(found.directory / "git" / "server.pem", "/etc/cloud.pem")
            digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
            machine.put("/etc/cloud.password", f"{USER}:{{SHA}}{digest}\n")
            machine.put("/srv/cloud/data/numbers.txt", "42")
            machine.put("/srv/cloud/secret.txt", "of the folder above")
            options = f"--addr=127.0.0.1:{PORT} --htpasswd=/etc/cloud.password /srv/cloud"
            machine.run(["systemd-run", "--unit=cloud", *_CLOUD.split(), *options.split()])
            hosts = [*found.usual["HOSTS"], f"{OTHER_HOST}:{PORT}"]
            found.configure(HOSTS=hosts, WEBDAV=True)
            found.repository("course", {"start.ipynb": START})
            yield found


def opened(launching: LaunchMachine, person: Person, password: str) -> httpx.Response:
    """Open a link with a folder, and type name and password."""
    query = {"repo": f"{launching.url}course", "name": "course", "webdav": FOLDER}
    page = person.browser.get(PAGE, params=query, headers=HOME)
    assert f"Your access to {OTHER_HOST}:{PORT}" in visible_text(page)
    typed = {**hidden_fields(page), "user": USER, "password": password}
    return person.browser.post(PAGE, data=typed, headers=HOME, timeout=60)


def launch(launching: LaunchMachine, person: Person, password: str = PASSWORD) -> str:
    """Launch the repository with a folder, and return the log."""
    page = opened(launching, person, password)
    assert f"volumes/WebDAV: {FOLDER}" in visible_text(page)
    fields = {**hidden_fields(page), "decision": "launch"}
    return visible_text(person.browser.post(f"{PAGE}launch", data=fields, timeout=180))


def output(person: Person, command: str) -> str:
    with person.open_kernel(server="course") as kernel:
        command = f"cd ~/launch/course && {command}"
        return kernel.run(f"import subprocess; print(subprocess.getoutput({command!r}), end='')")


def units(launching: LaunchMachine) -> str:
    """Return the units of folders that run, with what is mounted."""
    pattern = "littlest-hub.launch-webdav*@*"
    found = launching.machine.run(["systemctl", "list-units", "--no-legend", pattern]).stdout
    return found + launching.machine.run(["findmnt", "-t", "fuse.webdav"], check=False).stdout


_SEARCH = """
cd / && grep -lFr -e "$1" run opt/littlest-hub/state etc/systemd var/log tmp 2>/dev/null
for each in proc/[0-9]*; do
    [ $each = proc/$$ ] || grep -lF -e "$1" $each/cmdline $each/environ 2>/dev/null
done
journalctl --namespace='*' -o export | grep -cF -e "$1"
"""


def test_a_folder_is_read_by_one_server_and_ends_with_it(launching: LaunchMachine) -> None:
    machine = launching.machine
    with launching.hub.person() as alice, launching.hub.person() as bob:
        launch(launching, alice)
        alice.await_server(server="course")
        assert (
            output(alice, "ls volumes/WebDAV; cat volumes/WebDAV/numbers.txt") == "numbers.txt\n42"
        )
        said = output(alice, "touch volumes/WebDAV/x; cat volumes/WebDAV/../secret.txt")
        assert "touch: cannot touch 'volumes/WebDAV/x': Read-only file system" in said
        assert "of the folder above" not in said
        bob.start_server()
        code = "import subprocess; print(subprocess.getoutput('cat /run/*-webdav-mounts/*/*'))"
        assert "42" not in bob.run_cell(code)
        searched = machine.run(["sh", "-c", _SEARCH, "sh", PASSWORD], check=False).stdout
        assert searched == "0\n", searched
        assert machine.run(["sh", "-c", "ls /run/*-servers"]).stdout.count(".webdav") == 0

        machine.systemctl("kill", "--signal=STOP", "cloud.service")
        machine.put("/srv/cloud/data/more.txt", "43")
        output(alice, "for each in 1 2 3; do (cat volumes/WebDAV/more$each &) 2>/dev/null; done")
        begun_s = time.monotonic()
        alice.stop_server(server="course")
        eventually(lambda: not units(launching), 30, "the folder to be gone")
        assert time.monotonic() - begun_s < 20
        machine.systemctl("kill", "--signal=CONT", "cloud.service")

        answer = alice._api("POST", f"users/{alice.name}/servers/course")
        assert answer.status_code == 403
        assert "whose name and password are asked for at each start" in answer.text
        launch(launching, alice, "no-such-password")
        refusal = f"{OTHER_HOST}:{PORT}: it does not accept this name and password"
        journal = ["journalctl", "--unit=littlest-hub"]
        eventually(lambda: refusal in machine.run(journal).stdout, 60, "the start to be refused")
        assert "no-such-password" not in machine.run(journal).stdout
        eventually(lambda: not units(launching), 30, "nothing of it to be left")
        launch(launching, alice)
        alice.await_server(server="course")
        assert output(alice, "cat volumes/WebDAV/more.txt") == "43"
        alice.stop_server(server="course")


def test_doctor_and_check_say_what_is_missing(launching: LaunchMachine) -> None:
    found = launching.command("doctor", "--all", check=False).stdout
    assert "rclone and /dev/fuse are there" in found
    launching.machine.run(["mv", "/usr/bin/rclone", "/usr/bin/rclone-away"])
    try:
        assert "expected: apt install rclone" in launching.command("check", check=False).stdout
        assert "rclone is not installed" in launching.command("doctor", check=False).stdout
    finally:
        launching.machine.run(["mv", "/usr/bin/rclone-away", "/usr/bin/rclone"])
