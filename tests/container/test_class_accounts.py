"""Accounts that the class stack makes, sudo for administrators, and people who leave."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import terminal, wheels
from tests.client import Person, RefusedError
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine

PASSWORD, ADMIN_PASSWORD = "a password of all", "a much longer password of administrators"
# Anybody may log in with any name, as through a provider of identities.
LOGIN = f"""\
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {PASSWORD!r}
c.SharedPasswordAuthenticator.admin_password = {ADMIN_PASSWORD!r}
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"teacher"}}
c.Authenticator.username_pattern = ""
"""
SUDOERS = "/etc/sudoers.d/littlest-hub-class"
WHO = "import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name, os.getcwd())"


@pytest.fixture(scope="module")
def school(installer: Path) -> Iterator[Hub]:
    """A hub with the stack, on a machine with sudo."""
    with Machine("bookworm", packages=("sudo",)) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "teacher"})
        hub.write_fragment("41-login.py", LOGIN)
        run(hub, "enable", "class", "--yes", "--set", "login=other")
        yield hub


def run(hub: Hub, *words: str, check: bool = True) -> str:
    done = hub.machine.run([hub.path("hub/bin/littlest-hub"), *words], check=check)
    return done.stdout + done.stderr


@pytest.fixture
def teacher(school: Hub) -> Iterator[Person]:
    with Person(school.url, "teacher", ADMIN_PASSWORD) as person:
        person.log_in()
        yield person


def is_root(shell: terminal.Terminal) -> bool:
    return shell.run("sudo -n id -un") == "root\n"


def test_a_first_start_makes_an_account_and_demotion_takes_sudo_from_a_running_server(
    school: Hub, teacher: Person
) -> None:
    machine = school.machine
    with school.logged_in("alice", PASSWORD) as alice:
        alice.start_server()
        assert alice.run_cell(WHO) == "jupyter-alice /home/jupyter-alice\n"
        home = ["stat", "-c", "%U %G %a", "/home/jupyter-alice"]
        assert machine.run(home).stdout == "jupyter-alice jupyter-alice 700\n"
        assert ".bashrc" in machine.run(["ls", "-A", "/home/jupyter-alice"]).stdout
        with terminal.opened(alice) as shell:
            # sudo does not start in a server without rights.
            assert not is_root(shell)
        assert teacher._api("PATCH", "users/alice", json={"admin": True}).status_code == 200
        alice.stop_server()
        alice.start_server()
        with terminal.opened(alice) as shell, terminal.opened(alice) as root:
            assert is_root(shell)
            assert shell.run("sudo -n touch /usr/local/lib/mine && echo written") == "written\n"
            # Our own command sees what the server hides.
            assert "60-class.py:" in shell.run("sudo -n littlest-hub show", timeout_s=60)
            root.type("sudo -n -s; echo the shell of root has ended")
            eventually(lambda: root.run("id -un") == "root\n", 20, "a shell of root")
            shell.run("sudo -n sh -c 'setsid sleep 5000 &'")
            eventually(lambda: "sleep 5000" in machine.processes(), 20, "a process of root")
            assert teacher._api("PATCH", "users/alice", json={"admin": False}).status_code == 200
            eventually(lambda: not is_root(shell), 10, "no sudo")
            root.await_text("the shell of root has ended\r\n")
            eventually(lambda: "sleep 5000" not in machine.processes(), 20, "no root process")
            # The server and its kernels go on.
            assert alice.run_cell("1 + 1") == "2"
    assert "alice" not in machine.run(["cat", SUDOERS], check=False).stdout


def table(hub: Hub) -> dict[str, str]:
    """Return the accounts that were made, by login."""
    people = json.loads(run(hub, "class", "people", "--json"))["people"]
    return {each["login"]: each["account"] for each in people}


@pytest.mark.long
def test_an_environment_on_a_file_system_that_is_an_overlay_can_be_changed(
    school: Hub, tmp_path: Path
) -> None:
    machine, place = school.machine, school.path("environments")
    kind = machine.run(["stat", "--file-system", "--format=%T", place]).stdout.strip()
    assert kind == "overlayfs", "as in most containers"
    made = wheels.make(tmp_path, "greeting", files={"greeting.py": "HERE = 1\n"})
    wheel = machine.copy(made, f"/srv/{made.name}")
    assert "+ greeting 1.0" in run(school, "environment", "install", wheel)
    with school.logged_in("greeter", PASSWORD) as greeter:
        greeter.start_server()
        assert greeter.run_cell("import greeting; greeting.HERE") == "1"
    run(school, "environment", "remove", "greeting")
    run(school, "environment", "rollback")
    assert "greeting" in run(school, "environment", "export")
    mounts = machine.read("/proc/self/mounts")
    assert f"{place}/" not in mounts, "what was in memory is gone"


@pytest.mark.long
def test_the_page_of_the_class_has_nobody_who_came_by_another_kind_of_login(
    school: Hub, teacher: Person
) -> None:
    machine, password = school.machine, "a password of this machine"

    def shown(person: Person) -> set[str]:
        return set(
            re.findall(r'<li[^>]*\bdata-name="([^"]+)"', person.browser.get("/hub/class").text)
        )

    with school.logged_in("foreigner", PASSWORD):
        assert {"teacher", "foreigner"} <= shown(teacher)
    stack, login = (
        school.path(f"jupyterhub_config.d/{each}") for each in ("60-class.py", "41-login.py")
    )
    before = {each: machine.read(each) for each in (stack, login)}
    for name in ("teacher", "native"):
        machine.add_user(name, password)
    machine.put(stack, before[stack].replace('LOGIN = "other"', 'LOGIN = "system"'))
    machine.put(
        login, "c.Authenticator.allow_all = True\nc.Authenticator.admin_users = {'teacher'}\n"
    )
    try:
        school.reload()
        with school.logged_in("native", password), school.logged_in("teacher", password) as again:
            names = shown(again)
            assert {"teacher", "native"} <= names
            assert "foreigner" not in names
    finally:
        for path, text in before.items():
            machine.put(path, text)
        school.reload()
        machine.run(["userdel", "--remove", "native"], check=False)
        machine.run(["userdel", "--remove", "teacher"], check=False)


@pytest.mark.long
def test_who_leaves_is_locked_archived_or_deleted_and_nobody_finds_the_files(
    school: Hub, teacher: Person
) -> None:
    machine = school.machine
    with school.logged_in("leaver", PASSWORD) as leaver:
        leaver.start_server()
        leaver.run_cell(
            "open('diary', 'w').write('private'); import os; os.symlink('/etc', 'link')"
        )
        leaver.run_cell("import subprocess; subprocess.Popen(['setsid', 'sleep', '4000'])")
        number = machine.run(["id", "--user", "jupyter-leaver"]).stdout.strip()
        eventually(lambda: "sleep 4000" in machine.processes(number), 20, "a process of leaver")
        # Another spelling is not another person.
        said = run(school, "class", "remove", "Leaver", "--lock")
        assert "leaver cannot log in any more" in said
        assert machine.processes(number) == []
        assert leaver.browser.get("/hub/home").url.path == "/hub/login"
        assert leaver.try_to_log_in().status_code == 403
        assert teacher.start_for("leaver") >= 400
        assert run(school, "class", "unlock", "leaver")
        leaver.log_in()
        leaver.start_server()
        assert leaver.run_cell("open('diary').read()") == "'private'"
    said = run(school, "class", "remove", "leaver", "--archive")
    archive = re.search(r"/\S+\.tar\.(?:gz|zst)", said)
    assert archive, said
    assert machine.run(["stat", "-c", "%U %a", archive[0]]).stdout == "root 600\n"
    listed = machine.run(["tar", "--list", "--verbose", "--file", archive[0]]).stdout
    assert "./jupyter-leaver/diary" in listed
    assert "link -> /etc" in listed
    assert machine.run(["id", "jupyter-leaver"], check=False).returncode
    assert machine.run(["ls", "/home/jupyter-leaver"], check=False).returncode
    run(school, "class", "unlock", "leaver")
    with school.logged_in("leaver", PASSWORD) as namesake:
        namesake.start_server()
        who = namesake.run_cell("import os, pwd; print(*pwd.getpwuid(os.getuid())[:3:2])").split()
        assert who[0].startswith("jupyter-leaver-")
        assert int(who[1]) > int(number)
        assert "diary" not in namesake.run_cell("import os; os.listdir()")
        assert machine.run(["ls", "/etc/passwd"]).stdout
    assert "is deleted" in run(school, "class", "remove", "leaver", "--delete")
    assert "leaver" not in table(school)
    assert "no account was made" in run(
        school, "class", "remove", "nobody", "--delete", check=False
    )


@pytest.mark.long
def test_a_deleted_user_of_the_hub_leaves_the_files_to_nobody(school: Hub, teacher: Person) -> None:
    with school.logged_in("dora", PASSWORD) as dora:
        dora.start_server()
        dora.run_cell("open('diary', 'w').write('private')")
    teacher.delete_user("dora")
    with school.logged_in("dora", PASSWORD) as namesake:
        with pytest.raises(RefusedError, match="class keep dora"):
            namesake.start_server()
        run(school, "class", "keep", "dora")
        namesake.start_server()
        assert namesake.run_cell("open('diary').read()") == "'private'"


@pytest.mark.long
def test_an_administrator_who_opens_a_server_is_seen(school: Hub, teacher: Person) -> None:
    with school.logged_in("emil", PASSWORD) as emil:
        emil.start_server()
        assert 'id="visits"' not in emil.browser.get("/hub/home").text
        assert notices(emil) == []
        asked = teacher.browser.get("/user/emil/lab")
        fields = re.findall(r'name="(_xsrf|scopes)"[^>]*value="([^"]*)"', asked.text)
        assert fields, asked.text
        scopes = [value for name, value in fields if name == "scopes"]
        form = {**dict(fields), "scopes": scopes}
        headers = {"Referer": str(asked.url)}
        opened = teacher.browser.post(str(asked.url), data=form, headers=headers)
        assert opened.url.path == "/user/emil/lab", opened.text
        assert "teacher opens the server of emil" in school.machine.journal("littlest-hub.service")
        (notice,) = notices(emil)
        assert notice.startswith("teacher has opened your server, first at 20")
        assert notice in emil.browser.get("/hub/home").text
        assert notices(teacher) == []
        with school.logged_in("fred", PASSWORD) as fred:
            assert fred.browser.get("/user/emil/lab").status_code == 403
            assert "fred" not in emil.browser.get("/hub/home").text


def notices(person: Person) -> list[str]:
    """Return the texts that JupyterLab shows to a person."""
    found: list[str] = person.browser.get("/hub/announcement").json()["notices"]
    return found


ASK = """\
import asyncio, sys
from littlest_hub import installation
from littlest_hub.stacks.classroom.accounts.client import account_of
from littlest_hub.stacks.classroom.accounts.client import NoAccountError
async def ask(login):
    try:
        return await account_of(installation.of_this_release(), login, "test")
    except NoAccountError as error:
        return error.jupyterhub_message
async def main():
    print(*await asyncio.gather(*map(ask, sys.argv[1:])), sep="\\n")
asyncio.run(main())
"""


def accounts_of(hub: Hub, *logins: str) -> list[str]:
    """Request accounts at the same time, as the hub does."""
    python = [hub.path("hub/bin/python3"), "-I", "-c", ASK, *logins]
    return hub.machine.run(python, timeout_s=300).stdout.splitlines()


@pytest.mark.long
def test_odd_names_and_races_give_everybody_an_account_of_their_own(school: Hub) -> None:
    logins = ["bob", "Bob", "bob!", "BOB", "bob@example.org", "x" * 60, "zoë müller", "日本", "1"]
    found = accounts_of(school, *(logins * 4))
    by_login = dict(zip(logins * 4, found, strict=True))
    assert found == [by_login[login] for login in logins * 4]
    assert len(set(found)) == len(logins)
    numbers = school.machine.run(["getent", "passwd", *set(found)]).stdout
    assert len({line.split(":")[2] for line in numbers.splitlines()}) == len(logins)
    with school.logged_in("zoe@example.org", PASSWORD) as zoe:
        zoe.start_server()
        assert re.fullmatch(r"jupyter-zoe-example-\S+ /home/jupyter-zoe\S+\n", zoe.run_cell(WHO))
    for refused in accounts_of(school, "root", "daemon", "ROOT", "-x", "a/b"):
        assert "account" in refused
        assert "jupyter-" not in refused


@pytest.mark.long
def test_names_that_are_taken_and_links_in_the_way_lead_nowhere(school: Hub) -> None:
    machine = school.machine
    script = (
        "useradd --create-home jupyter-taken; groupadd jupyter-group; mkdir /home/jupyter-left;"
        "ln -s /root /home/jupyter-linked; ln -s /etc/shadow /etc/skel/shadow;"
        "echo mine >/home/jupyter-left/diary; chown 58000 /home/jupyter-left"
    )
    machine.run(["sh", "-c", script])
    try:
        logins = ["taken", "group", "left", "linked"]
        for login, account in zip(logins, accounts_of(school, *logins), strict=True):
            assert re.fullmatch(rf"jupyter-{login}-[0-9a-f]{{8}}", account)
            uid = int(machine.run(["id", "--user", account]).stdout)
            assert uid > 58000, "files of user 58000 may be anywhere"
            link = machine.run(["stat", "-c", "%F %u", f"/home/{account}/shadow"]).stdout
            assert link == f"symbolic link {uid}\n"
        assert machine.run(["stat", "-c", "%u %a", "/etc/shadow"]).stdout == "0 640\n"
        machine.run(["chown", "nobody", "/etc/skel"])
        assert "belongs to nobody" in accounts_of(school, "late")[0]
        machine.run(["chown", "root", "/etc/skel"])
        machine.run(["chmod", "o+w", "/home"])
        assert "others can put a link there" in accounts_of(school, "late")[0]
    finally:
        machine.run(["chmod", "o-w", "/home"])
        machine.run(["sh", "-c", "rm -f /etc/skel/shadow /home/jupyter-linked"])
        machine.run(["chown", "root", "/etc/skel"])
    assert accounts_of(school, "late") == ["jupyter-late"]


@pytest.mark.long
def test_groups_and_a_step_of_the_administrators_own_are_as_the_fragment_says(school: Hub) -> None:
    machine = school.machine
    fragment, hooks = school.path("jupyterhub_config.d/60-class.py"), str(school.layout.root_hooks)
    stock = machine.read(fragment)

    def groups_are(value: str) -> None:
        machine.put(fragment, stock.replace("ACCOUNT_GROUPS = {}", f"ACCOUNT_GROUPS = {value}"))

    machine.put(f"{hooks}/new-account", "#!/bin/sh\necho no space for $2; exit 1\n", mode=0o700)
    try:
        groups_are('{"all": ["*"], "project": ["hans"]}')
        assert accounts_of(school, "hans") == ["No account: new-account: no space for hans"]
        machine.put(f"{hooks}/new-account", "#!/bin/sh\necho $1 >>/srv/made\n", mode=0o700)
        assert accounts_of(school, "hans", "inge") == ["jupyter-hans", "jupyter-inge"]
        assert accounts_of(school, "hans") == ["jupyter-hans"]
        assert sorted(machine.read("/srv/made").split()) == ["jupyter-hans", "jupyter-inge"]
        groups = ["id", "--groups", "--name"]
        assert machine.run([*groups, "jupyter-hans"]).stdout == "jupyter-hans all project\n"
        assert machine.run([*groups, "jupyter-inge"]).stdout == "jupyter-inge all\n"
        groups_are('{"all": ["*"]}')
        assert accounts_of(school, "hans") == ["jupyter-hans"]
        assert machine.run([*groups, "jupyter-hans"]).stdout == "jupyter-hans all\n"
        groups_are('{"docker": ["*"]}')
        assert "as powerful as root" in accounts_of(school, "hans")[0]
        assert "as powerful as root" in run(school, "check", check=False)
    finally:
        machine.put(fragment, stock)
        machine.run(["rm", "-r", hooks])


@pytest.mark.long
def test_a_helper_that_is_killed_leaves_no_half_account(school: Hub) -> None:
    machine = school.machine
    python = [school.path("hub/bin/python3"), "-I", "-c", ASK]
    # Each step is slow, so that some kill interrupts it.
    slow = '#!/bin/sh\nsleep 0.2\n/usr/sbin/useradd "$@"; code=$?\nsleep 0.2\nexit $code\n'
    machine.put("/usr/local/sbin/useradd", slow, mode=0o755)
    try:
        for delay in range(8):
            kill = (
                f'"$0" -I -c "$1" killed{delay} >/dev/null & sleep 0.{delay};'
                " systemctl kill --signal=KILL 'littlest-hub.class-accounts@*'; wait"
            )
            machine.run(["sh", "-c", kill, python[0], ASK], check=False)
    finally:
        machine.run(["rm", "/usr/local/sbin/useradd"])
    logins = [f"killed{delay}" for delay in range(8)]
    for account in accounts_of(school, *logins):
        home = machine.run(["stat", "-c", "%U %a", f"/home/{account}"]).stdout
        assert home == f"{account} 700\n"
        assert ".bashrc" in machine.run(["ls", "-A", f"/home/{account}"]).stdout
    assert len(set(table(school).values())) == len(table(school))


@pytest.mark.long
def test_without_the_stack_nobody_has_sudo(school: Hub, teacher: Person) -> None:
    machine = school.machine
    teacher.start_server()
    try:
        with terminal.opened(teacher) as shell:
            assert is_root(shell)
            assert machine.run(["stat", "-L", "-c", "%U %a", SUDOERS]).stdout == "root 440\n"
            # The base directory is removed without `uninstall`.
            machine.run(["mv", str(school.layout.base), "/opt/gone"])
            try:
                assert not is_root(shell)
                machine.run(["visudo", "-c"])
            finally:
                machine.run(["mv", "/opt/gone", str(school.layout.base)])
            assert is_root(shell)
            assert "class is disabled" in run(school, "disable", "class")
            assert machine.run(["ls", SUDOERS], check=False).returncode
            assert not is_root(shell)
            run(school, "enable", "class", "--yes", "--set", "login=other")
            eventually(lambda: is_root(shell), 20, "sudo again")
            # The next hub sends the names of administrators again.
            machine.systemctl("restart", "littlest-hub.class-accounts.socket")
            assert not is_root(shell)
            school.reload()
            eventually(lambda: is_root(shell), 20, "sudo again")
    finally:
        teacher.stop_server()


TLJH = """\
users: {admin: [teacher], allowed: [tom, 123], banned: [mallory]}
limits: {memory: 1G}
auth: {type: firstuseauthenticator.FirstUseAuthenticator}
services: {cull: {enabled: true, timeout: 3000}}
user_environment: {default_app: jupyterlab}
"""


@pytest.mark.long
def test_people_of_tljh_keep_their_homes(school: Hub) -> None:
    machine = school.machine
    machine.run(["useradd", "--create-home", "jupyter-tom"])
    machine.run(["sh", "-c", "echo mine >/home/jupyter-tom/notebook"])
    machine.put("/opt/tljh/config/config.yaml", TLJH)
    fragment = school.path("jupyterhub_config.d/61-from-tljh.py")
    assert "Nothing is changed" in run(school, "class", "import-tljh")
    assert machine.run(["ls", fragment], check=False).returncode
    try:
        said = run(school, "class", "import-tljh", "--yes")
        assert 'LOGIN = "first-use"' in said
        school.reload()
        assert "jupyterhub_idle_culler" in machine.read(fragment)
        with school.logged_in("tom", PASSWORD) as tom:
            tom.start_server()
            assert tom.run_cell(WHO) == "jupyter-tom /home/jupyter-tom\n"
            assert tom.run_cell("open('notebook').read()") == "'mine\\n'"
            assert tom.run_cell("import os; os.environ['MEM_LIMIT']") == f"'{2**30}'"
    finally:
        machine.run(["rm", "-rf", fragment, "/opt/tljh"])
        school.reload()


@pytest.mark.long
def test_nobody_but_the_hub_reaches_the_helper(school: Hub) -> None:
    connect = (
        "import socket\n"
        "try: socket.socket(socket.AF_UNIX).connect('/run/littlest-hub.class-accounts')\n"
        "except OSError as error: print(error.strerror)\n"
    )
    with school.logged_in("gerd", PASSWORD) as gerd:
        gerd.start_server()
        assert gerd.run_cell(connect) == "Permission denied\n"
        file = school.path("state/stacks/class/accounts/accounts.json")
        said = gerd.run_cell(f"try: open({file!r})\nexcept OSError as error: print(error)")
        assert "accounts.json" in said


@pytest.mark.long
def test_a_hub_that_is_not_root_has_accounts_made_and_gives_nobody_sudo(installer: Path) -> None:
    options = {"LITTLEST_HUB_ADMIN": "teacher", "LITTLEST_HUB_USER": "jupyter"}
    packages = ["polkitd", "libpam-google-authenticator"]
    with Machine("bookworm", packages=packages) as machine:
        hub = Hub.install(machine, installer, env=options)
        machine.run(["useradd", "--create-home", "taken"])
        names_of_accounts = LOGIN.replace('c.Authenticator.username_pattern = ""\n', "")
        hub.write_fragment("41-login.py", names_of_accounts)
        run(hub, "enable", "class", "--yes", "--set", "login=other")
        assert "lets nobody become root" in run(hub, "check")
        with hub.logged_in("alice", PASSWORD) as alice:
            alice.start_server()
            assert alice.run_cell(WHO) == "alice /home/alice\n"
        with (
            hub.logged_in("taken", PASSWORD) as taken,
            pytest.raises(RefusedError, match="has its name"),
        ):
            taken.start_server()
        assert "alice cannot log in" in run(hub, "class", "remove", "alice", "--lock")
        with Person(hub.url, "alice", PASSWORD) as alice:
            assert alice.try_to_log_in().status_code == 403
        assert machine.run(["ls", SUDOERS], check=False).returncode
