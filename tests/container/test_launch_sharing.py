"""Volumes of the machine and access for others at launched servers, and what they never share."""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket

from littlest_hub.stacks.launch.configuration import Configuration
from tests.client import Kernel, Person, hidden_fields, visible_text
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.git_server import HOST, OTHER_HOST
from tests.hub import Hub
from tests.launch_machine import PACKAGES, PAGE, START, LaunchMachine, launch_machine
from tests.machine import Machine

pytestmark = [pytest.mark.needs("git"), pytest.mark.long]
VOLUMES: dict[str, Any] = {
    "data": {"path": "/srv/data", "read": ["physics"], "write": ["staff"]},
    "finance": {"path": "/srv/finance", "write": ["finance"]},
}
_LIST = "import subprocess; print(subprocess.getoutput({!r}), end='')"


@pytest.fixture(scope="module")
def launching(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchMachine]:
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("20-everybody.py", EVERYBODY)
        machine.run(["mkdir", "--mode=777", "/srv/data", "/srv/finance"])
        machine.put("/srv/data/numbers.txt", "42")
        machine.put("/srv/finance/salaries.txt", "1000000")
        values = {"VOLUMES": VOLUMES, "GROUP_VOLUMES": {"staff": 2}}
        with launch_machine(hub, tmp_path_factory.mktemp("launching"), values=values) as found:
            found.repository("course", {"start.ipynb": START})
            yield found


def set_groups(launching: LaunchMachine, **groups: Sequence[str]) -> None:
    """Let groups of the hub have these members."""
    members = {name: {"users": list(names)} for name, names in groups.items()}
    launching.hub.write_fragment("21-groups.py", f"c.JupyterHub.load_groups = {members!r}\n")
    launching.hub.reload()


def output(person: Person, server: str, command: str) -> str:
    """Return what a command prints in the copy of a server's files."""
    with person.open_kernel(server=server) as kernel:
        return kernel.run(_LIST.format(f"cd ~/launch/* && {command}"))


def stopped(person: Person, server: str) -> bool:
    found = person._api("GET", f"users/{person.name}").json()["servers"]
    return server not in found


def test_members_of_a_group_read_its_volume_and_see_no_other(launching: LaunchMachine) -> None:
    with launching.hub.person() as alice, launching.hub.person() as bob:
        set_groups(launching, physics=[alice.name], staff=[bob.name], finance=[])
        assert "Data of this hub" in launching.opened(alice, "course", edit="1").text
        refused = launching.opened(alice, "course", mount="finance")
        assert refused.status_code == 400
        assert "there is no volume 'finance' for you" in visible_text(refused)
        with launching.launched(alice, "course", mount="data"):
            assert output(alice, "course", "cat volumes/data/numbers.txt") == "42"
            command = "touch volumes/data/x; touch /srv/data/x; ls /srv/*; ls volumes"
            said = output(alice, "course", command)
            assert "touch: cannot touch 'volumes/data/x': Read-only file system" in said
            assert "numbers.txt" not in said
            assert "salaries.txt" not in said
            assert said.endswith("\ndata"), "no other volume"
        with launching.launched(bob, "course", mount="data:rw"):
            assert output(bob, "course", "echo 43 >volumes/data/bob && ls volumes/data") == (
                "bob\nnumbers.txt"
            )
        assert launching.machine.read("/srv/data/bob") == "43\n"
        bob.start_server()
        assert "Permission denied" in bob.run_cell(_LIST.format("cat /srv/data/numbers.txt"))


def test_who_has_left_the_group_loses_the_volume_at_the_next_start(
    launching: LaunchMachine,
) -> None:
    launching.repository("leaving", {"start.ipynb": START})
    with launching.hub.person("boss") as boss, launching.hub.person() as alice:
        set_groups(launching, physics=[alice.name])
        with launching.launched(alice, "leaving", mount="data"):
            body = {"users": [alice.name]}
            assert boss._api("DELETE", "groups/physics/users", json=body).status_code == 200
            # The running server keeps its volume.
            assert output(alice, "leaving", "cat volumes/data/numbers.txt") == "42"
        eventually(lambda: stopped(alice, "leaving"), 60, "the server to stop")
        answer = alice._api("POST", f"users/{alice.name}/servers/leaving")
        assert answer.status_code == 403
        assert "there is no volume 'data' for you (any more)" in answer.text
        page = launching.opened(alice, "leaving", mount="data")
        assert "there is no volume 'data' for you (any more)" in visible_text(page)
        with launching.launched(alice, "leaving", decision="update"):
            assert output(alice, "leaving", "ls volumes") == (
                "ls: cannot access 'volumes': No such file or directory"
            )


def test_a_volume_that_others_have_replaced_by_a_link_is_refused(launching: LaunchMachine) -> None:
    launching.repository("replaced", {"start.ipynb": START})
    with launching.hub.person() as alice:
        set_groups(launching, physics=[alice.name])
        launching.machine.run(["sh", "-c", "mv /srv/data /srv/real && ln -s /root /srv/data"])
        try:
            log = launching.launch(alice, "replaced", mount="data")
            answer = alice._api("POST", f"users/{alice.name}/servers/replaced")
            assert "/srv/data is a link; expected the directory itself" in log + answer.text
            doctor = launching.command("doctor", check=False).stdout
            assert "the volume data starts in no server: /srv/data is a link" in doctor
        finally:
            launching.machine.run(["sh", "-c", "rm /srv/data && mv /srv/real /srv/data"])


_TRAPS = """
cd /srv/data
cp /usr/bin/id as-root && chmod 4755 as-root
ln -s /srv/finance others
ln -s /root/.profile root
"""
_REMOUNTS = """
mount -o remount,rw /run/jupyter/volumes/data
mount -o remount,bind,rw /run/jupyter/volumes/data
unshare --map-root-user --mount mount -o remount,bind,rw /run/jupyter/volumes/data
chmod a+w /run/jupyter/volumes/data
touch volumes/data/x /run/jupyter/volumes/data/x /proc/self/root/run/jupyter/volumes/data/x
"""


def test_nothing_in_a_volume_gives_more_than_the_volume(launching: LaunchMachine) -> None:
    machine = launching.machine
    machine.run(["sh", "-c", _TRAPS])
    try:
        with launching.hub.person() as alice:
            set_groups(launching, physics=[alice.name])
            launching.repository("trapped", {"start.ipynb": START})
            with launching.launched(alice, "trapped", mount="data"):
                own = machine.run(["id", "-u", alice.name]).stdout.strip()
                assert output(alice, "trapped", "volumes/data/as-root -u") == own
                said = output(alice, "trapped", "cat volumes/data/others/salaries.txt")
                assert said.endswith(("Permission denied", "No such file or directory"))
                said = output(alice, "trapped", "cat volumes/data/root")
                assert said.endswith(("Permission denied", "No such file or directory"))
                said = output(alice, "trapped", f"({_REMOUNTS})")
                assert said.count("Read-only file system") == 4, said
        assert "x" not in machine.run(["ls", "/srv/data"]).stdout.split()
    finally:
        machine.run(["sh", "-c", "cd /srv/data && rm as-root others root"])


def change_volume(person: Person, action: str, **fields: str) -> str:
    """Make or delete a volume of a group from the page, and return what the page says then."""
    page = person.browser.get(f"{PAGE}volumes{'/delete' * (action == 'delete')}", params=fields)
    data = {**hidden_fields(page), **fields}
    return visible_text(person.browser.post(f"{PAGE}volumes/{action}", data=data))


def test_a_volume_that_somebody_makes_for_a_group_is_its_members_alone(
    launching: LaunchMachine,
) -> None:
    for name in ("ours", "theirs"):
        launching.repository(name, {"start.ipynb": START})
    with (
        launching.hub.person() as alice,
        launching.hub.person() as bob,
        launching.hub.person() as carol,
    ):
        set_groups(launching, staff=[alice.name], physics=[alice.name, bob.name])
        volume = {"group": "physics", "name": "results", "writers": "all"}
        assert "physics.results" in change_volume(alice, "make", **volume)
        mount = {"mount": "physics.results:rw"}
        with launching.launched(alice, "ours", **mount), launching.launched(bob, "theirs", **mount):
            command = "cd volumes/physics.results; umask 077; mkdir d; echo 1 >d/x"
            assert output(alice, "ours", command) == ""
            # Whatever the umask was, the other member changes and moves it.
            place = "/srv/littlest-hub-volumes"
            command = (
                "cd volumes/physics.results; echo 2 >>d/x; cat d/x; mv d/x y; rmdir d; ls;"
                f" ls {place}; cat {place}/physics.results/volume.json"
            )
            said = output(bob, "theirs", command)
            assert said.startswith("1\n2\ny\n")
            assert said.count("Permission denied") == 2, "the mount is the only way to it"
            page = launching.opened(carol, "ours", mount="physics.results")
            assert "there is no volume 'physics.results' for you" in visible_text(page)
            address = f"{PAGE}volumes/delete?volume=physics.results"
            assert bob.browser.get(address).status_code == 404, "only who has made it"
            asked = visible_text(alice.browser.get(address))
            assert alice.name in asked
            assert bob.name in asked
            change_volume(alice, "delete", volume="physics.results")
            assert "Permission denied" in output(bob, "theirs", "ls volumes/physics.results/y")
        eventually(lambda: stopped(bob, "theirs"), 60, "the server to stop")
        answer = bob._api("POST", f"users/{bob.name}/servers/theirs")
        assert answer.status_code == 403
        assert "there is no volume 'physics.results' for you" in answer.text

        def is_empty() -> bool:
            return launching.machine.run(["ls", "-A", place]).stdout == ""

        eventually(is_empty, 60, "the files to be removed")


def test_a_volume_that_only_its_owner_writes_is_read_only_to_the_others(
    launching: LaunchMachine,
) -> None:
    launching.repository("lent", {"start.ipynb": START})
    with launching.hub.person() as alice, launching.hub.person() as bob:
        set_groups(launching, staff=[alice.name], physics=[alice.name, bob.name])
        change_volume(alice, "make", group="physics", name="slides", writers="owner")
        place = "/srv/littlest-hub-volumes/physics.slides/files"
        launching.machine.put(f"{place}/first.txt", "hello")
        refused = launching.opened(bob, "lent", mount="physics.slides:rw")
        assert "you may only read physics.slides" in visible_text(refused)
        with launching.launched(bob, "lent", mount="physics.slides"):
            command = "cd volumes/physics.slides; cat first.txt; touch x; rm -f first.txt; ls"
            said = output(bob, "lent", command)
            assert said.startswith("hello")
            assert said.count("Read-only file system") == 2
            assert said.endswith("\nfirst.txt")
        doctor = launching.command("doctor", check=False).stdout
        assert "littlest-hub-volumes" not in doctor
        change_volume(alice, "delete", volume="physics.slides")


def follow(kernel: Kernel) -> None:
    """Receive what a kernel says until its websocket ends."""
    while True:
        kernel.receive(timeout_s=30)


# --- servers that others may use


def test_a_collaborator_uses_the_server_and_sees_nothing_of_the_owners_home(
    launching: LaunchMachine,
) -> None:
    launching.repository("proj", {"start.ipynb": START})
    with (
        launching.hub.person() as alice,
        launching.hub.person() as bob,
        launching.hub.person() as carol,
    ):
        launching.machine.put(f"/home/{alice.name}/diary.txt", "secret")
        alice.start_server()
        set_groups(launching, staff=[alice.name])
        form = {"share": bob.name, "mount": "data:rw"}
        why = f"{bob.name}, who may use this server, may not have its volumes"
        assert why in launching.launch(alice, "proj", **form)
        set_groups(launching, staff=[alice.name, bob.name])
        with launching.launched(alice, "proj", **form):
            theirs = f"{alice.name}/proj"
            assert "ours" in output(alice, "proj", "touch volumes/data/ours; ls volumes/data")
            assert f"{theirs}</a>" in bob.browser.get("/hub/home").text
            assert bob.open_shared(theirs).status_code == 200
            assert carol.open_shared(theirs).status_code == 403
            pid = launching.hub.main_pid(f"littlest-hub.user-{alice.name}.service")
            command = (
                f"touch by-bob; ls /home; cat /home/{alice.name}/diary.txt; id -un; sudo -n id;"
                f" kill -9 {pid}; cat /proc/{pid}/environ"
            )
            said = output(bob, theirs, command)
            assert "diary.txt: No such file or directory" in said
            assert "\nlhub-" in said
            assert "HOME=" not in said, "no process of the owner's other server"
            assert "Operation not permitted" in said
            assert "by-bob" in output(alice, "proj", "ls")
        # What they did there has not reached the owner's own server.
        assert alice.run_cell("print(1, end='')") == "1"


# The owner's tokens, the owner's other server, a new server, and the server itself.
_WITH_THE_TOKEN = """
import os, urllib.error, urllib.request
api, own = os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_SERVICE_PREFIX"]
def status(url, data=None):
    headers = {{"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data, headers)).status
    except urllib.error.HTTPError as error:
        return error.code
user, hub = "{user}", api.removesuffix("/hub/api")
print(
    status(f"{{api}}/users/{{user}}/tokens"), status(f"{url}/user/{{user}}/api/contents"),
    status(f"{{api}}/users/{{user}}/servers/more", b""), status(f"{url}{{own}}api/contents"),
)
"""


def test_the_token_that_a_collaborator_can_read_opens_this_server_alone(
    launching: LaunchMachine,
) -> None:
    launching.repository("token", {"start.ipynb": START})
    with launching.hub.person() as alice, launching.hub.person() as bob:
        alice.start_server()
        with launching.launched(alice, "token", share=bob.name):
            theirs = f"{alice.name}/token"
            assert bob.open_shared(theirs).status_code == 200
            cell = _WITH_THE_TOKEN.format(user=alice.name, url=launching.hub.url)
            with bob.open_kernel(server=theirs) as kernel:
                found = [int(each) for each in kernel.run(cell).split()]
        assert all(each in (403, 404) for each in found[:3]), found
        assert found[3] == 200


_PLANT = """
mkdir -p ~/.ipython/profile_default/startup ~/.jupyter
echo "open('/var/tmp/ran', 'w')" >~/.ipython/profile_default/startup/planted.py
echo "open('/var/tmp/ran', 'w')" >~/.jupyter/jupyter_server_config.py
echo "touch /var/tmp/ran" >~/.profile
rm start.ipynb && ln -s /home/{owner}/diary.txt start.ipynb
(while sleep 1; do date >~/alive; done) >/dev/null 2>&1 &
echo planted
"""


def test_what_a_collaborator_leaves_behind_reaches_nothing_of_the_owners(
    launching: LaunchMachine,
) -> None:
    repository = launching.repository("planted", {"start.ipynb": START})
    with launching.hub.person() as alice, launching.hub.person() as bob:
        diary = f"/home/{alice.name}/diary.txt"
        launching.machine.put(diary, "dear diary")
        launching.launch(alice, "planted", share=bob.name)
        alice.await_server(server="planted")
        theirs = f"{alice.name}/planted"
        assert bob.open_shared(theirs).status_code == 200
        assert output(bob, theirs, f"({_PLANT.format(owner=alice.name)})") == "planted"
        # An update of the shared server writes through no link.
        repository.commit({"start.ipynb": START + "\n"})
        with launching.launched(alice, "planted", decision="update", share=bob.name):
            assert launching.machine.read(diary) == "dear diary"
            assert "alive" in output(alice, "planted", "ls ~")
        # Without others, it is the owner's own again.
        launching.machine.run(["rm", "-f", "/var/tmp/ran"])
        with launching.launched(alice, "planted", decision="update"):
            said = output(alice, "planted", "id -un; ls ~ /var/tmp; find ~ -name planted.py")
            assert said.startswith(f"{alice.name}\n")
            assert not {"ran", "alive"} & {*said.split()}, said
            assert "planted.py" not in said
        assert launching.machine.read(diary) == "dear diary"


def test_access_that_is_taken_ends_at_once_also_for_what_is_open(launching: LaunchMachine) -> None:
    launching.repository("taken", {"start.ipynb": START})
    with launching.hub.person() as alice, launching.hub.person() as bob:
        launching.launch(alice, "taken", share=bob.name)
        alice.await_server(server="taken")
        theirs = f"{alice.name}/taken"
        assert bob.open_shared(theirs).status_code == 200
        with bob.open_kernel(server=theirs) as kernel:
            assert kernel.run("print('mine', end='')") == "mine"
            kernel.send("import time; time.sleep(600)")
            page = alice.browser.get(f"{PAGE}servers")
            assert bob.name in visible_text(page)
            alice.browser.post(f"{PAGE}servers/remove", data=hidden_fields(page))
            with pytest.raises(websocket.WebSocketException):
                follow(kernel)
        unit = f"littlest-hub.user-{alice.name}:taken.service"
        state = launching.machine.systemctl("is-active", unit, check=False).stdout.strip()
        assert state == "inactive", "all processes in it have ended"
        assert bob.open_shared(theirs).status_code in (403, 404)
        assert bob.browser.get(f"/hub/launch-shared/{theirs}").status_code == 404
        launching.launch(alice, "taken", share=bob.name)
        alice.await_server(server="taken")
        assert bob.open_shared(theirs).status_code == 200
        alice.stop_server(server="taken")


def test_a_collaborator_starts_a_server_as_its_owner_has_launched_it(
    launching: LaunchMachine,
) -> None:
    launching.repository("started", {"start.ipynb": START})
    with launching.hub.person() as alice, launching.hub.person() as bob:
        theirs = f"{alice.name}/started"
        with launching.launched(alice, "started", share=bob.name):
            output(alice, "started", "touch kept")
        eventually(lambda: stopped(alice, "started"), 60, "the server to stop")
        page = bob.browser.get(f"/hub/launch-shared/{theirs}")
        assert "It is stopped." in page.text
        fields = {**hidden_fields(page), "launch": "0" * 64}
        answer = bob.browser.post(str(page.url), data=fields, timeout=120)
        assert answer.status_code == 200, visible_text(answer)
        assert bob.open_shared(theirs).status_code == 200
        assert "kept" in output(bob, theirs, "ls")
        options = {"user_options": {"launch": "0" * 64}}
        refused = bob._api("POST", f"users/{alice.name}/servers/started", json=options)
        assert refused.status_code in (403, 404)
        alice.stop_server(server="started")


# --- temporary servers, and guests


def as_guest(launching: LaunchMachine, **form: str) -> httpx.Client:
    """Open the link for guests in a new browser, and go on as a guest."""
    browser = httpx.Client(
        base_url=launching.hub.url, follow_redirects=True, timeout=180, trust_env=False
    )
    page = browser.get("/hub/launch-guest", params=form)
    answer = browser.post(str(page.url), data=hidden_fields(page))
    assert 'value="launch"' in answer.text, visible_text(answer)
    fields = {**hidden_fields(answer), "decision": "launch"}
    log = visible_text(browser.post(f"{PAGE}launch", data=fields))
    assert "is starting" in log, log
    return browser


def units(launching: LaunchMachine, name: str) -> str:
    """Return the units of servers whose owner's name begins like this."""
    pattern = f"littlest-hub.user-{name}*"
    show = ("list-units", "--all", "--plain", "--no-legend", pattern)
    return launching.machine.systemctl(*show).stdout


def test_a_temporary_server_leaves_nothing(launching: LaunchMachine) -> None:
    launching.repository("fleeting", {"start.ipynb": START})
    with launching.hub.person() as alice:
        set_groups(launching, staff=[alice.name])
        refused = launching.opened(alice, "fleeting", temporary="yes", mount="data:rw")
        assert "a temporary server changes nothing" in visible_text(refused)
        form = {"temporary": "yes", "mount": "data"}
        before = launching.machine.run(["find", "/home", "/var/lib", "-xdev"]).stdout.split()
        with launching.launched(alice, "fleeting", **form):
            said = output(alice, "fleeting", "touch mine volumes/data/x /var/tmp/mine; ls . /home")
            assert "cannot touch 'volumes/data/x': Read-only file system" in said
            assert "mine" in said
            assert alice.name not in said
        eventually(lambda: stopped(alice, "fleeting"), 60, "the server to stop")
        after = launching.machine.run(["find", "/home", "/var/lib", "-xdev"]).stdout.split()
        assert [each for each in after if "fleeting" in each or "mine" in each] == []
        assert {*after} - {*before} == set()
        # The hub forgets it too, so the next one is new.
        eventually(
            lambda: "fleeting" not in alice.browser.get("/hub/home").text, 90, "the end of its row"
        )
        with launching.launched(alice, "fleeting", **form):
            assert "mine" not in output(alice, "fleeting", "ls . /var/tmp")


def test_guests_get_what_the_hub_offers_and_nothing_else(launching: LaunchMachine) -> None:
    launching.repository("offered", {"start.ipynb": START})
    launching.repository("other", {"start.ipynb": START})
    offered, other = (f"{launching.url}{name}" for name in ("offered", "other"))
    with httpx.Client(base_url=launching.hub.url, trust_env=False) as browser:
        assert browser.get("/hub/launch-guest", params={"repo": offered}).status_code == 404
    prepared = {"Offered": {"repo": offered, "path": "start.ipynb"}}
    launching.configure(GUESTS=1, PREPARED=prepared)
    try:
        with (
            contextlib.closing(as_guest(launching, repo=offered, path="start.ipynb")) as guest,
            httpx.Client(base_url=launching.hub.url, trust_env=False) as second,
        ):
            eventually(lambda: ".service" in units(launching, "guest-"), 60, "the guest's server")
            assert guest.get(PAGE, params={"repo": other}).status_code == 400
            for form in ({"repo": offered}, {"repo": other, "temporary": "yes"}):
                assert guest.get(PAGE, params=form).status_code == 400
            assert guest.get("/hub/spawn").status_code >= 400
            page = second.get("/hub/launch-guest", params={"repo": offered})
            full = second.post(str(page.url), data=hidden_fields(page))
            assert full.status_code == 429
            assert second.get("/hub/launch-guest", params={"repo": other}).status_code == 403
            unit = units(launching, "guest-").split()[0]
            launching.machine.systemctl("stop", unit)

            def has_left() -> bool:
                answer = second.post(str(page.url), data=hidden_fields(page))
                return answer.status_code == 303

            eventually(has_left, 120, "room for another guest", interval_s=5)
    finally:
        launching.configure(GUESTS=0, PREPARED={})


# --- private repositories


@contextlib.contextmanager
def searched_for(launching: LaunchMachine, token: str) -> Iterator[None]:
    """Look for a token everywhere on the machine: in processes all the time, on the disk after."""
    machine = launching.machine
    (launching.directory / "git/password").write_text(f"reader:{token}")
    encoded = base64.b64encode(f"reader:{token}".encode()).decode()
    machine.put("/root/wanted", f"{token}\n{encoded}\n")
    machine.put("/root/seen", "")
    look = (
        "grep -laF -f /root/wanted /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/root/seen"
        " 2>/dev/null"
    )
    unit = f"look-{secrets.token_hex(4)}"
    machine.run(["systemd-run", f"--unit={unit}", "sh", "-c", f"while sleep 0.05; do {look}; done"])
    try:
        yield
    finally:
        machine.systemctl("stop", unit)
    assert machine.read("/root/seen") == ""
    journal = "journalctl --no-pager --all --output=export | grep -acF -f /root/wanted"
    assert machine.run(["sh", "-c", journal], check=False).stdout == "0\n"
    skipped = "--exclude-dir=proc --exclude-dir=sys"
    disk = machine.run(
        ["sh", "-c", f"grep -rslaF {skipped} -f /root/wanted /"], check=False, timeout_s=300
    )
    assert disk.stdout.split() == ["/root/wanted"]
    backup = "/root/private.tar.gz"
    launching.command("backup", backup)
    unpacked = f"zcat {backup} | grep -acF -f /root/wanted; rm {backup}"
    assert machine.run(["sh", "-c", unpacked]).stdout == "0\n"


def test_a_private_repository_is_one_persons_and_its_token_is_nowhere(
    launching: LaunchMachine,
) -> None:
    token, marker = secrets.token_hex(20), secrets.token_hex(8)
    launching.wheel("inks", inks="BLUE = 'blue'\n")
    script = f"#!/bin/sh\necho {marker}\n"
    files = {"requirements.txt": "inks\n", "postBuild": script, "secret.txt": marker}
    commit = launching.repository("private-notes", files).git("rev-parse", "main")
    public = {"repo": f"{launching.url}private-notes", "name": "private-notes"}
    with launching.hub.person() as alice, launching.hub.person() as bob:
        with searched_for(launching, token):
            wrong = launching.open_private(alice, "private-notes", token[::-1])
            assert "this name and token do not open it" in visible_text(wrong)
            page = launching.open_private(alice, "private-notes", token)
            fields = {**hidden_fields(page), "decision": "launch"}
            log = visible_text(alice.browser.post(f"{PAGE}launch", data=fields, timeout=180))
            assert marker in log, log
            alice.await_server(server="private-notes")
            assert output(alice, "private-notes", "cat secret.txt") == marker
        # Neither without a token, nor with a wrong one, nor with what alice has used.
        unknown = launching.opened(bob, "private-nothing")
        refused = launching.opened(bob, "private-notes")
        assert visible_text(refused).replace("private-notes", "private-nothing") == (
            visible_text(unknown)
        )
        wrong = launching.open_private(bob, "private-notes", token[::-1])
        assert "this name and token do not open it" in visible_text(wrong)
        theirs = {**fields, **hidden_fields(launching.opened(bob, "course")), **public}
        theirs |= {"commit": commit, "access": fields["access"], "private": "yes"}
        page = bob.browser.post(f"{PAGE}launch", data=theirs, headers={"Host": "localhost"})
        assert "Your access to" in visible_text(page)
        # The commit is no secret: without "private", somebody may approve it, and start that.
        theirs = {**theirs, "private": "", "ref": ""}
        log = visible_text(bob.browser.post(f"{PAGE}launch", data=theirs))
        assert "or it is private" in log
        id = Configuration(public["repo"], commit=commit, name="private-notes").id
        started = bob._api("POST", f"users/{bob.name}/servers/private-notes", json={"launch": id})
        assert started.status_code in (201, 202), started.text
        bob.await_server(server="private-notes")
        seen = output(bob, "private-notes", "ls -A; ls /run/jupyter/launch; cat secret.txt")
        bob.stop_server(server="private-notes")
        assert marker not in seen
        # Others on the machine read no log.
        for place in (launching.place.logs, launching.place.results, launching.place.built):
            done = launching.machine.run(["ls", str(place)], user="nobody", check=False)
            assert "Permission denied" in done.stderr
        # Whoever has a token as well builds an environment of their own: code has run in it.
        page = launching.open_private(bob, "private-notes", token)
        fields = {**hidden_fields(page), "decision": "update"}
        log = visible_text(bob.browser.post(f"{PAGE}launch", data=fields, timeout=180))
        assert "built " in log
        assert "nothing was built" not in log
        bob.await_server(server="private-notes")
        assert output(bob, "private-notes", "cat secret.txt") == marker
        # A start from the hub's page needs no token: the files are here.
        alice.stop_server(server="private-notes")
        eventually(lambda: stopped(alice, "private-notes"), 60, "the server to stop")
        alice.start_server(server="private-notes")
        assert output(alice, "private-notes", "cat secret.txt") == marker


def test_a_token_is_not_sent_to_where_a_private_repository_has_moved(
    launching: LaunchMachine,
) -> None:
    token = secrets.token_hex(20)
    machine, sent = launching.machine, launching.directory / "git/sent"
    launching.repository("private-moved", {"start.ipynb": START})
    machine.run(["sh", "-c", f"echo 127.0.0.1 {OTHER_HOST} >>/etc/hosts"])
    hosts = [f"{each}:{launching.git_port}" for each in (HOST, OTHER_HOST)]
    launching.configure(HOSTS=hosts)
    try:
        with launching.hub.person() as alice, searched_for(launching, token):
            sent.write_text("")
            form = {"repo": f"{launching.url}moved/private-moved", "name": "moved"}
            page = launching.open_private(alice, "private-moved", token, **form)
            assert "the name and token are for another host" in visible_text(page)
            assert {*sent.read_text().splitlines()} == {f"{HOST} True", f"{OTHER_HOST} False"}
    finally:
        launching.configure(HOSTS=hosts[:1])


def test_an_administrator_turns_private_launches_off(launching: LaunchMachine) -> None:
    launching.repository("private-off", {"start.ipynb": START})
    launching.configure(PRIVATE=False)
    try:
        with launching.hub.person() as alice:
            assert 'id="private"' not in alice.browser.get(f"{PAGE}?edit=1").text
            refused = launching.opened(alice, "private-off", private="yes")
            assert "this hub launches no private repositories" in visible_text(refused)
            refused = launching.opened(alice, "private-off")
            assert "say on the form" not in visible_text(refused)
    finally:
        launching.configure(PRIVATE=True)
