"""Access to the hub: fragments give it, and a reload applies it to sessions, tokens, servers."""

from __future__ import annotations

import json
import secrets
from functools import partial

import httpx
import pytest

from tests.client import Person, RefusedError
from tests.eventually import eventually
from tests.hub import Hub

ONLY = "c.Authenticator.allow_all = False\nc.Authenticator.allowed_users = {names!r}\n"


def only(*names: str) -> str:
    """Return a fragment that lets in these users, and the administrator."""
    return ONLY.format(names=set(names))


def is_running(hub: Hub, name: str) -> bool:
    unit = f"{hub.layout.user_unit(name)}.service"
    return hub.machine.systemctl("is-active", unit, check=False).stdout.strip() == "active"


@pytest.mark.row(9)
def test_a_name_that_is_removed_is_locked_out_at_the_reload(hub: Hub) -> None:
    with (
        hub.person("goes") as goes,
        hub.person("stays") as stays,
        hub.fragment("90-names.py", only("goes", "stays")) as fragment,
    ):
        for person in (goes, stays):
            person.start_server()
        token = {"Authorization": f"token {goes.token()}"}
        me = f"{hub.url}/hub/api/user"
        assert httpx.get(me, headers=token, trust_env=False).status_code == 200
        with stays.open_kernel() as kernel:
            assert kernel.run("n = 6 * 7") == ""

            hub.machine.put(fragment, only("stays"))
            checked = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"]).stdout
            assert "no fragment lets goes log in" in checked
            hub.reload()

            eventually(lambda: not is_running(hub, "goes"), 30, "the server to be stopped")
            assert httpx.get(me, headers=token, trust_env=False).status_code == 403
            # The session of the hub, and that of the server.
            for path in ("/hub/home", "/user/goes/lab"):
                assert "/hub/login" in str(goes.browser.get(path).url)
            with pytest.raises(RefusedError, match="Wrong user name or password"):
                goes.log_in()
            assert kernel.run("print(n)") == "42\n"
        assert is_running(hub, "stays")
        said = hub.machine.run([hub.path("hub/bin/littlest-hub"), "doctor", "--json"], check=False)
        found = {each["subject"]: each for each in json.loads(said.stdout)["findings"]}
        assert "no fragment lets this user log in" in found["goes's login"]["text"]
        checked = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"]).stdout
        assert "goes" not in checked

        hub.machine.put(fragment, only("goes", "stays"))
        hub.reload()
        goes.log_in()


@pytest.mark.row(9)
def test_adding_a_user_on_the_admin_page_lets_no_one_in(hub: Hub) -> None:
    password = secrets.token_urlsafe()
    hub.machine.add_user("added", password)
    hub.machine.add_user("warden", password)
    with (
        hub.fragment("90-names.py", f"{only()}c.Authenticator.admin_users = {{'warden'}}\n"),
        Person(hub.url, "warden", password) as warden,
        Person(hub.url, "added", password) as added,
    ):
        warden.log_in()
        assert warden._api("POST", "users", json={"usernames": ["added"]}).status_code == 201
        for _ in range(2):
            with pytest.raises(RefusedError):
                added.log_in()
            hub.reload()


def test_the_journal_tells_why_a_login_was_refused_and_the_page_does_not(hub: Hub) -> None:
    password = secrets.token_urlsafe()
    hub.machine.add_user("unnamed", password)
    hub.machine.add_user("named", password)
    tried = {
        ("unnamed", password): "no fragment lets this user log in",
        ("named", "wrong"): "wrong password, or no such account",
        ("nosuchaccount", "wrong"): "no fragment lets this user log in",
        ("Named Person", password): "this is not the form of a user name here",
    }
    said = {}
    with hub.fragment("90-names.py", only("named")):
        for (name, typed), reason in tried.items():
            with Person(hub.url, name, typed) as person:
                said[name] = person.try_to_log_in().text.split('class="login_error">')[1]
            (line,) = eventually(
                partial(_journal_lines, hub, f"Login of {name!r} from"), 30, f"a line about {name}"
            )
            assert line.endswith(reason)
    sentences = {name: text.partition("<")[0].strip() for name, text in said.items()}
    same = sentences["unnamed"]
    assert sentences["named"] == sentences["nosuchaccount"] == same
    assert sentences["Named Person"].startswith(same)
    assert "without spaces" in sentences["Named Person"]


def _journal_lines(hub: Hub, about: str) -> list[str]:
    journal = hub.machine.journal(hub.layout.hub_service).splitlines()
    return [each for each in journal if about in each]


def test_accounts_that_no_password_opens_are_named_with_the_command_that_helps(hub: Hub) -> None:
    hub.machine.add_user("locked", "a password")
    hub.machine.run(["passwd", "--lock", "locked"])
    hub.machine.run(["useradd", "cloud"])
    hub.machine.add_user("stale", "a password")
    hub.machine.run(["chage", "--lastday", "0", "stale"])
    hub.write_fragment("90-names.py", only("locked", "cloud", "stale"))
    try:
        checked = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"]).stdout
        assert "'locked' is locked" in checked
        assert "passwd --unlock locked" in checked
        assert "'cloud' has no password" in checked
        assert "'stale' has to get a new password first" in checked
        doctor = [hub.path("hub/bin/littlest-hub"), "doctor"]
        advised = hub.machine.run(doctor, check=False).stdout
        assert "$ passwd cloud" in advised
        assert "$ passwd --unlock locked" in advised
        for name, helps in (
            ("locked", "passwd --unlock locked"),
            ("cloud", "passwd cloud"),
            ("no-such-account", "useradd --create-home"),
        ):
            install = [f"LITTLEST_HUB_ADMIN={name}", hub.path("hub/bin/littlest-hub"), "install"]
            said = hub.machine.run(["env", *install]).stdout
            assert f"{name} cannot log in" in said
            assert helps in said
            # The fragment of the first installation names boss alone, and is not written again.
            assert f"10-users.py is yours and stays as it was, without {name}" in said
    finally:
        hub.machine.run(["rm", str(hub.layout.fragments / "90-names.py")])
