"""Root's hooks, which a fragment declares: accounts, home directories, programs."""

import json
from collections.abc import Iterator

import pytest

from tests.client import Person, RefusedError
from tests.hub import Hub

pytestmark = pytest.mark.row(38)

HOOK = """\
from littlest_hub.hub.root_hooks import RootHook
c.Spawner.pre_spawn_hook = RootHook({!r})
"""


@pytest.fixture
def programs(hub: Hub) -> Iterator[str]:
    """The directory of the administrator's hooks."""
    directory = str(hub.layout.root_hooks)
    hub.machine.run(["mkdir", "--mode=0700", directory])
    yield directory
    hub.machine.run(["rm", "-r", directory])


def test_a_user_whom_an_administrator_adds_gets_an_account(hub: Hub, boss: Person) -> None:
    home = ["stat", "-c", "%U %a", "/home/joined"]
    with hub.fragment("30-accounts.py", "c.LocalAuthenticator.create_system_users = True\n"):
        assert boss._api("POST", "users/joined").status_code == 201
        assert hub.machine.run(home).stdout == "joined 700\n"
        for refused in ("lhub-proxy", "1digit"):
            assert boss._api("POST", f"users/{refused}").status_code == 400
            assert hub.machine.run(["id", refused], check=False).returncode != 0
    assert boss._api("POST", "users/undeclared").status_code == 400


def test_a_server_starts_in_a_home_directory_that_root_has_made(hub: Hub) -> None:
    home = "/home/elsewhere/homeless"
    hub.machine.run(["useradd", "--no-create-home", "--home-dir", home, "homeless"])
    hub.machine.run(["chpasswd"], input="homeless:a password\n")
    with (
        hub.fragment("30-homes.py", HOOK.format("make-home")),
        Person(hub.url, "homeless", "a password") as homeless,
    ):
        homeless.log_in()
        homeless.start_server()
        assert homeless.run_cell("import os; print(os.getcwd())") == f"{home}\n"
        homeless.stop_server()
    modes = ["stat", "-c", "%U %a", "/home/elsewhere", home]
    assert hub.machine.run(modes).stdout == "root 755\nhomeless 700\n"


def test_a_hook_that_fails_says_why_on_the_page_and_in_doctor(hub: Hub, programs: str) -> None:
    hub.machine.put(
        f"{programs}/project", '#!/bin/sh\necho "no space for $1"; exit 1\n', mode=0o700
    )
    with hub.fragment("30-project.py", HOOK.format("project")), hub.person("unlucky") as person:
        with pytest.raises(RefusedError, match="no space for unlucky"):
            person.start_server()
        page = person.browser.get("/hub/spawn-pending/unlucky")
        assert "no space for unlucky" in page.text
        doctor = [hub.path("hub/bin/littlest-hub"), "doctor", "--json"]
        found = json.loads(hub.machine.run(doctor, check=False).stdout)["findings"]
        (finding,) = (each for each in found if each["subject"] == "unlucky's server")
        assert "littlest-hub-hook@" in finding["command"]
        hub.machine.put(f"{programs}/project", "#!/bin/sh\nmkdir -p /srv/projects/$1\n", mode=0o700)
        person.start_server()
        hub.machine.run(["rmdir", "/srv/projects/unlucky"])


@pytest.mark.parametrize(
    "hook",
    [
        "subprocess.run(['mkhomedir_helper', s.user.name, '0077'], check=True)",
        "shutil.copytree('/etc/skel', '/srv/homes/' + s.user.name)",
    ],
)
def test_a_hook_that_the_sandbox_forbids_names_the_way(hub: Hub, hook: str) -> None:
    text = f"import shutil, subprocess\ndef home(s): {hook}\nc.Spawner.pre_spawn_hook = home\n"
    with hub.fragment("30-homes.py", text), hub.person() as person:
        hub.machine.run(["mv", f"/home/{person.name}", "/home/moved"])
        with pytest.raises(RefusedError, match="RootHook"):
            person.start_server()
        hub.machine.run(["mv", "/home/moved", f"/home/{person.name}"])
        doctor = [hub.path("hub/bin/littlest-hub"), "doctor", "--json"]
        found = json.loads(hub.machine.run(doctor, check=False).stdout)["findings"]
        (finding,) = (each for each in found if each["subject"] == f"{person.name}'s server")
        assert "how-to/homes.md" in finding["text"]


HOOK_THAT_RAISES = """\
async def hook(*_): raise ValueError('no such course')
c.Spawner.auth_state_hook = hook
async def another(*_): raise ValueError('no such group')
c.Authenticator.post_auth_hook = another
"""


def test_a_hook_that_raises_is_named_on_the_page_and_in_doctor(hub: Hub) -> None:
    with hub.person() as person, hub.fragment("30-hook.py", HOOK_THAT_RAISES) as fragment:
        with pytest.raises(RefusedError, match=r"30-hook\.py:1 \(ValueError\)"):
            person.start_server()
        with Person(hub.url, person.name, person.password) as again:
            page = again.try_to_log_in()
        assert page.status_code == 500
        assert "30-hook.py:3 (ValueError)" in page.text
        doctor = [hub.path("hub/bin/littlest-hub"), "doctor", "--json"]
        found = json.loads(hub.machine.run(doctor, check=False).stdout)["findings"]
        texts = {each["subject"]: each["text"] for each in found}
        reason = f"c.Spawner.auth_state_hook fails at {fragment}:1: ValueError: no such course"
        assert reason in texts[f"{fragment}:1"]
        assert reason in texts[f"{person.name}'s server"]
        assert "c.Authenticator.post_auth_hook fails" in texts[f"{fragment}:3"]


def test_nobody_but_the_hub_reaches_the_helpers(hub: Hub) -> None:
    hub.machine.run(["useradd", "--create-home", "outsider"])
    connect = (
        "import socket, sys\n"
        "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "except OSError as error: print(error.strerror)\n"
    )
    for address in (hub.layout.password_address, hub.layout.hook_address):
        python = [hub.path("hub/bin/python3"), "-I", "-c", connect, str(address)]
        assert hub.machine.run(python, user="outsider").stdout == "Permission denied\n"


def test_many_first_logins_at_once_get_their_accounts(hub: Hub) -> None:
    ask = (
        "import asyncio\n"
        "from littlest_hub.hub.root_hooks import run_root_hook\n"
        "async def main():\n"
        "    await asyncio.gather(*(run_root_hook('add-user', f'pupil{n}') for n in range(30)))\n"
        "asyncio.run(main())\n"
    )
    with hub.fragment("30-accounts.py", "c.LocalAuthenticator.create_system_users = True\n"):
        hub.machine.run([hub.path("hub/bin/python3"), "-I", "-c", ask])
    members = hub.machine.run(["getent", "passwd", *(f"pupil{n}" for n in range(30))]).stdout
    assert len(members.splitlines()) == 30
