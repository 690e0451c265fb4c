"""User servers as units: named servers, systemd's answers, and users who leave."""

import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.client import Person, RefusedError
from tests.eventually import eventually
from tests.hub import Hub
from tests.terminal import opened

NAMED = "c.JupyterHub.allow_named_servers = True\n"
# The socket of root, and the one of everyone else, for requests to systemd.
ASKED = ("/run/systemd/private", "/run/dbus/system_bus_socket")


def unit(hub: Hub, person: Person, server: str = "") -> str:
    return f"{hub.layout.user_unit(person.name, server)}.service"


def is_active(hub: Hub, name: str) -> bool:
    return hub.machine.systemctl("is-active", "--quiet", name, check=False).returncode == 0


def await_end(hub: Hub, name: str, timeout_s: float = 30) -> None:
    eventually(lambda: not is_active(hub, name), timeout_s, f"the end of {name}")


def kill(hub: Hub) -> None:
    """Kill the hub that serves; its supervisor starts another one at once."""
    hub.machine.run(["sh", "-c", f"kill -KILL {hub.serving_pid()}"])


@contextmanager
def systemd_does_not_answer(hub: Hub) -> Iterator[None]:
    for socket in ASKED:
        hub.machine.run(["sh", "-c", f"if [ -e {socket} ]; then mv {socket} {socket}.away; fi"])
    try:
        yield
    finally:
        for socket in ASKED:
            script = f"if [ -e {socket}.away ]; then mv {socket}.away {socket}; fi"
            hub.machine.run(["sh", "-c", script])


def listening(hub: Hub) -> set[str]:
    """Return the ports at which programs listen on the machine's loopback interface."""
    tables = hub.machine.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout.splitlines()
    rows = [line.split() for line in tables if " 0A " in line]
    return {str(int(row[1].rpartition(":")[2], 16)) for row in rows}


# --- named servers


def test_named_servers_run_side_by_side_each_in_a_unit_of_its_own_and_are_culled(hub: Hub) -> None:
    idle = (
        "c.JupyterHub.services[0]['command'][-1] = '--timeout=1'\n"
        "c.JupyterHub.services[0]['command'].append('--cull-every=1')\n"
    )
    lists = 'c.SystemdSpawner.unit_extra_properties = {"Environment": ["A=1", "B=2"]}\n'
    with hub.fragment("70-named.py", NAMED + lists), hub.person() as alice:
        alice.start_server()
        alice.start_server(server="lab")
        with alice.open_kernel() as default, alice.open_kernel(server="lab") as lab:
            default.run("x = 'default'")
            lab.run("x = 'lab'")
            assert (default.run("x"), lab.run("x")) == ("'default'", "'lab'")
            assert lab.run("import os\nos.environ['A'] + os.environ['B']") == "'12'"
            pids = {hub.main_pid(unit(hub, alice, name)) for name in ("", "lab")}
            assert len(pids - {0}) == 2
            alice.stop_server()
            await_end(hub, unit(hub, alice))
            assert lab.run("x") == "'lab'"
        left = hub.machine.run(["ls", str(hub.layout.server_environments)]).stdout.split()
        assert f"{hub.layout.user_unit(alice.name, 'lab')}.env" in left
        assert f"{hub.layout.user_unit(alice.name)}.env" not in left
        with hub.fragment("80-idle.py", idle):
            await_end(hub, unit(hub, alice, "lab"), 60)


@pytest.mark.row(2)
def test_a_name_of_anything_has_a_server_of_its_own(hub: Hub) -> None:
    password = secrets.token_urlsafe()
    # A directory, a template, several words, quotes, an escape of systemd's, a unit's suffix.
    name = '..a@b "c" é\\x2e.service'
    anything = (
        'c.JupyterHub.authenticator_class = "shared-password"\n'
        f"c.SharedPasswordAuthenticator.user_password = {password!r}\n"
        "c.Authenticator.allow_all = True\n"
        "c.Authenticator.username_pattern = '.*'\n"
        "c.SystemdSpawner.dynamic_users = True\n"
    )
    with hub.fragment("70-anything.py", anything), Person(hub.url, name, password) as somebody:
        somebody.log_in()
        somebody.start_server()
        running = unit(hub, somebody)
        assert is_active(hub, running)
        show = ["show", "--property=StateDirectory,EnvironmentFiles", running]
        shown = hub.machine.systemctl(*show).stdout
        assert f"={hub.layout.server_environments}/{hub.layout.user_unit(name)}.env " in shown
        assert f"={hub.layout.dynamic_homes[0].name}/_x2e." in shown
        somebody.stop_server()
        await_end(hub, running)


@pytest.mark.row(3)
def test_the_environment_of_a_server_is_for_root_and_the_server_alone(hub: Hub) -> None:
    with hub.person() as alice, hub.person() as bob:
        alice.start_server()
        file = f"{hub.layout.server_environments}/{hub.layout.user_unit(alice.name)}.env"
        assert "JUPYTERHUB_API_TOKEN=" in hub.machine.read(file)
        (token,) = re.findall(r"JUPYTERHUB_API_TOKEN=(\w+)", hub.machine.read(file))
        for who in (alice, bob):
            refused = hub.machine.run(["cat", file], user=who.name, check=False)
            assert "Permission denied" in refused.stderr
        looks = ("show", "--all"), ("cat",), ("status", "--lines=1000")
        for look in looks:
            told = hub.machine.run(["systemctl", *look, unit(hub, alice)], user=bob.name)
            assert token not in told.stdout
        processes = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'"
        told = hub.machine.run(["sh", "-c", processes], user=bob.name, check=False)
        assert "littlest_hub.singleuser" in told.stdout
        assert token not in told.stdout


# --- answers of systemd


def test_a_waiting_user_sees_at_once_how_the_server_ended(hub: Hub) -> None:
    ends = "c.Spawner.cmd = ['/bin/sh', '-c', 'exit 3']\n"
    lost = "c.SystemdSpawner.user_workingdir = '/nowhere'\n"
    with hub.person() as alice:
        with (
            hub.fragment("70-ends.py", ends),
            pytest.raises(RefusedError, match=r"ended before it listened \(exit-code, 3\)"),
        ):
            alice.start_server()
        with (
            hub.fragment("70-lost.py", lost),
            pytest.raises(RefusedError, match=r"does not start .* directory, cannot be entered"),
        ):
            alice.start_server()
        alice.start_server()


@pytest.mark.row(19)
def test_a_server_outlives_a_hub_that_is_killed_while_it_starts_it(hub: Hub) -> None:
    with hub.person() as alice:
        with ThreadPoolExecutor() as background:
            # The request breaks off.
            background.submit(alice.start_server)
            eventually(lambda: is_active(hub, unit(hub, alice)), 30, "the server's unit")
            pid = hub.main_pid(unit(hub, alice))
            kill(hub)
        eventually(hub.answers, 60, "the next hub")
        alice.await_server()
        assert alice.run_cell("6 * 7") == "42"
        assert hub.main_pid(unit(hub, alice)) == pid


@pytest.mark.row(19)
def test_a_server_of_a_release_that_named_its_client_otherwise_is_not_cut_off(hub: Hub) -> None:
    before = "import jupyterhub.user, urllib.parse\njupyterhub.user.quote = urllib.parse.quote\n"
    with hub.person("ann-marie") as ann:
        with hub.fragment("70-before.py", before):
            ann.start_server()
            pid = hub.main_pid(unit(hub, ann))
        with Person(hub.url, ann.name, ann.password) as again:
            again.log_in()
            # In a browser without the server's cookies.
            again.await_server()
            assert again.run_cell("6 * 7") == "42"
        assert hub.main_pid(unit(hub, ann)) == pid
        ann.stop_server()
        await_end(hub, unit(hub, ann))
        ann.start_server()
        assert ann.run_cell("6 * 7") == "42"


@pytest.mark.row(19)
def test_no_server_is_dead_because_systemd_does_not_answer_or_starts_anew(hub: Hub) -> None:
    anew = "for i in $(seq 5); do systemctl daemon-reload; systemctl daemon-reexec; done"
    with hub.person() as alice:
        alice.start_server()
        with alice.open_kernel() as kernel, ThreadPoolExecutor() as background:
            kernel.run("x = 41")
            pid = hub.serving_pid()
            with systemd_does_not_answer(hub):
                hub.machine.run(["sh", "-c", f"kill -KILL {pid}"])
                eventually(hub.answers, 60, "the next hub")
                warned = f"{unit(hub, alice)} is taken to be running"
                eventually(
                    lambda: warned in hub.machine.journal(hub.layout.hub_service), 60, "a warning"
                )
                assert alice.has_server()
            pid = hub.serving_pid()
            busy = background.submit(hub.machine.run, ["sh", "-c", anew])
            hub.machine.run(["sh", "-c", f"kill -KILL {pid}"])
            eventually(hub.answers, 60, "the next hub")
            busy.result(timeout=120)
            alice.await_server()
            assert kernel.run("x + 1") == "42"
            assert alice.run_cell("6 * 7") == "42"


# Fixed ports before free ones: an attacker may guess them.
GUESSED = """
from littlest_hub.hub import spawner
ports, free = [45678], spawner.random_port
spawner.random_port = lambda: ports.pop() if ports else free()
"""


@contextmanager
def program_at_guessed_port(hub: Hub, address: str) -> Iterator[Person]:
    """Let another user's program listen at the port that the hub chooses; yield a person."""
    listen = ["-m", "http.server", f"--bind={address}", "45678"]
    with hub.person() as alice, hub.person() as mallory, hub.fragment("70-guess.py", GUESSED):
        run = ["systemd-run", "--unit=mallory", f"--uid={mallory.name}", "--working-directory=/"]
        hub.machine.run([*run, hub.path("hub/bin/python3"), *listen])
        try:
            eventually(lambda: "45678" in listening(hub), 30, "mallory's program")
            yield alice
        finally:
            hub.machine.systemctl("stop", "mallory.service")


@pytest.mark.row(5)
def test_a_program_at_a_guessed_port_does_not_pose_as_another_users_server(hub: Hub) -> None:
    with program_at_guessed_port(hub, "127.0.0.1") as alice:
        alice.start_server()
        assert alice.run_cell("6 * 7") == "42"
        said = "another user's program has taken port 45678"
        assert said in hub.machine.journal(hub.layout.hub_service)


@pytest.mark.row(27)
def test_a_program_at_another_loopback_address_keeps_no_server_from_starting(hub: Hub) -> None:
    with program_at_guessed_port(hub, "::1") as alice:
        alice.start_server()
        url = alice.run_cell("import os\nos.environ['JUPYTERHUB_SERVICE_URL']")
        assert url.startswith("'http://127.0.0.1:45678/")


@pytest.mark.row(5)
def test_a_unit_of_ones_own_that_is_called_like_the_server_of_another_is_not_that(hub: Hub) -> None:
    with hub.person() as alice, hub.person() as mallory, hub.fragment("70-guess.py", GUESSED):
        uid = hub.machine.run(["id", "--user", mallory.name]).stdout.strip()
        own = f"user@{uid}.service"
        listen = ["-m", "http.server", "--bind=127.0.0.1", "45678"]
        run = ["systemd-run", "--user", f"--unit={unit(hub, alice)}"]
        environment = ["env", f"XDG_RUNTIME_DIR=/run/user/{uid}"]
        hub.machine.systemctl("start", own)
        try:
            python = hub.path("hub/bin/python3")
            hub.machine.run([*environment, *run, python, *listen], user=mallory.name)
            eventually(lambda: "45678" in listening(hub), 30, "mallory's program")
            alice.start_server()
            assert alice.run_cell("6 * 7") == "42"
        finally:
            hub.machine.systemctl("stop", own)


def test_jupyterlab_asks_nobody_about_news_and_fetches_them_only_if_a_fragment_says_so(
    hub: Hub,
) -> None:
    line = 'c.Spawner.args = ["--LabApp.news_url=https://news.example.org/feed.xml"]\n'
    fetches = []
    with hub.person() as person:
        for text in ("", line):
            with hub.fragment("60-news.py", text):
                person.start_server()
                page = person.browser.get(f"/user/{person.name}/lab").text
                found = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
                assert found
                fetches.append(not json.loads(found[1])["news"]["disabled"])
                # Its script asks, whatever the page says, unless this has a value.
                plugin = "@jupyterlab/apputils-extension:notification"
                path = f"/user/{person.name}/lab/api/settings/{plugin}"
                schema = person.browser.get(path).json()["schema"]
                assert schema["properties"]["fetchNews"]["default"] == "false"
                person.stop_server()
                eventually(lambda: not person.has_server(), 30, "the server to stop")
    assert fetches == [False, True]


# --- users who leave


@pytest.fixture
def lent(hub: Hub) -> Iterator[tuple[str, str]]:
    """A hub for users without system accounts; the passwords of users and of its administrator."""
    catalogue = Path(__file__).parents[2] / "jupyterhub_config.d"
    password, admin_password = secrets.token_urlsafe(), secrets.token_urlsafe(32)
    fragment = (catalogue / "40-no-system-users.py").read_text().replace("CHANGE-ME", password)
    chief = (
        f"c.SharedPasswordAuthenticator.admin_password = {admin_password!r}\n"
        'c.Authenticator.admin_users = {"chief"}\n'
    )
    with hub.fragment("40-no-system-users.py", fragment + chief):
        yield password, admin_password


WHO = """
import getpass, grp, os, pwd
account = pwd.getpwuid(os.getuid())
print(account.pw_name, getpass.getuser(), grp.getgrgid(os.getgid()).gr_name, os.environ["USER"])
print(account.pw_dir, os.path.expanduser("~"), account.pw_shell, os.access("/etc/passwd", os.W_OK))
"""


def test_a_user_without_an_account_has_a_name_on_a_machine_without_libnss_systemd(
    hub: Hub, lent: tuple[str, str]
) -> None:
    assert "systemd" not in hub.machine.read("/etc/nsswitch.conf")
    home, files = hub.layout.dynamic_homes[0], hub.layout.server_environments
    for name, expected in (("ada", "ada"), ("tty", hub.layout.dynamic_user("tty"))):
        with Person(hub.url, name, lent[0]) as person:
            person.log_in()
            person.start_server()
            lines = person.run_cell(WHO).splitlines()
            assert lines == [
                " ".join([expected] * 4),
                f"{home}/{name} {home}/{name} /bin/bash False",
            ]
            with opened(person) as terminal:
                assert terminal.run("whoami; id -gn") == f"{expected}\n{expected}\n"
                assert f"{expected}@" in terminal.shown
            person.stop_server()
            running = unit(hub, person)
            await_end(hub, running)
            left = hub.machine.run(["ls", str(files)]).stdout.split()
            assert not [each for each in left if each.startswith(hub.layout.user_unit(name))]


@pytest.mark.row(22)
def test_a_new_user_with_a_former_users_name_finds_no_file_of_theirs(
    hub: Hub, lent: tuple[str, str]
) -> None:
    password, admin_password = lent
    keep = "from pathlib import Path\n_ = Path('diary').write_text('mine')"
    look = "from pathlib import Path\n[p.name for p in Path().glob('diary')]"
    owner = str(hub.layout.home_owners / "ada")

    with (
        Person(hub.url, "ada", password) as ada,
        Person(hub.url, "chief", admin_password) as chief,
    ):
        ada.log_in()
        ada.start_server()
        ada.run_cell(keep)
        assert ada.run_cell(look) == "['diary']"
        # Stopped and started: still the same home directory.
        ada.stop_server()
        await_end(hub, unit(hub, ada))
        ada.start_server()
        assert ada.run_cell(look) == "['diary']"
        token = ada.token()
        chief.log_in()
        chief.delete_user("ada")
        assert not is_active(hub, unit(hub, ada))
        whoami = httpx.get(
            f"{hub.url}/hub/api/user", headers={"Authorization": f"token {token}"}, trust_env=False
        )
        assert whoami.status_code == 403

    with Person(hub.url, "ada", password) as ada:
        ada.log_in()
        ada.start_server()
        assert ada.run_cell(look) == "[]"
        ada.run_cell(keep)
        ada.stop_server()
        await_end(hub, unit(hub, ada))
        # Deleted in the database, not through the hub's API: the next one is a new user.
        hub.machine.put(owner, "another", mode=0o600)
        ada.start_server()
        assert ada.run_cell(look) == "[]"
        ada.stop_server()

    former = str(hub.layout.former_homes)
    found = hub.machine.run(["find", former, "-name", "diary"]).stdout.split()
    assert len(found) == 2
    modes = hub.machine.run(["stat", "--format=%U %a", former, str(Path(found[0]).parent)]).stdout
    assert modes.split("\n")[:2] == ["root 700", "root 700"]
    assert hub.machine.run(["ls", former], user="nobody", check=False).returncode != 0

    # A new user only according to the database: docs/how-to/workshop.md.
    home = str(hub.layout.dynamic_homes[1] / "ada")
    hub.machine.run(["mv", "-T", home, f"{former}/ada-meanwhile"])
    hub.machine.run(["mv", "-T", str(Path(found[0]).parent), home])
    with Person(hub.url, "ada", password) as ada:
        ada.log_in()
        ada.start_server()
        assert ada.run_cell(look) == "['diary']"
        ada.run_cell(keep)
        ada.stop_server()
    hub.machine.run(["rm", "-r", former])
