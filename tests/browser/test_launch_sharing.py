"""What launched servers share and what they do not, in a browser: `make test-launch`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.browser.launching import DECIDE, Visitor, visiting
from tests.browser.pages import answer_to, fill, keep, shown
from tests.eventually import eventually
from tests.hub import Hub
from tests.launch_machine import PACKAGES, START, LaunchMachine, launch_machine
from tests.machine import Machine

pytestmark = pytest.mark.long
PEOPLE = "c.Authenticator.allow_all = True\nc.JupyterHub.load_groups = {'lab': {'users': []}}\n"
VOLUMES: dict[str, Any] = {
    "data": {"path": "/srv/data", "read": ["lab", "guests"]},
    "finance": {"path": "/srv/finance", "write": ["finance"]},
}
_READ = "print(open('volumes/data/numbers.txt').read())"
ASK_NEVER = "#never-commit"
HERE = "http://localhost"
"""The hub for a browser on the machine itself, which sends nothing over a network."""


@pytest.fixture(scope="module")
def launch(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchMachine]:
    """A hub with volumes and guests, whose administrator is `boss`."""
    with Machine("bookworm", packages=PACKAGES) as machine:
        hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": "boss"})
        hub.write_fragment("50-people.py", PEOPLE)
        machine.run(["mkdir", "--mode=777", "/srv/data", "/srv/finance"])
        machine.put("/srv/data/numbers.txt", "42")
        values = {
            "TITLE": "Physics Hub",
            "VOLUMES": VOLUMES,
            "GROUP_VOLUMES": {"lab": 1},
            "GUESTS": 5,
        }
        with launch_machine(hub, tmp_path_factory.mktemp("launch"), values=values) as found:
            found.repository("course", {"start.ipynb": START})
            found.repository("open", {"start.ipynb": START})
            open_to_all = {"repo": f"{found.url}open", "path": "start.ipynb"}
            found.configure(PREPARED={"Open to all": open_to_all})
            yield found


@pytest.fixture
def mia(launch: LaunchMachine, tmp_path: Path) -> Iterator[Visitor]:
    """A new user, who is not logged in."""
    with visiting(launch, tmp_path / "mia") as visitor:
        yield visitor


@pytest.fixture
def bob(launch: LaunchMachine, tmp_path: Path) -> Iterator[Visitor]:
    """Another one."""
    with visiting(launch, tmp_path / "bob") as visitor:
        visitor.log_in()
        yield visitor


def add_to_group(launch: LaunchMachine, name: str) -> None:
    text = PEOPLE.replace("[]", repr([name]))
    launch.hub.write_fragment("50-people.py", text)
    launch.hub.reload()


def open_shared(visitor: Visitor, owner: str, server: str) -> None:
    """Open somebody else's server from the hub's home page, and agree to tell it who one is."""
    visitor.open(f"{visitor.hub.url}/hub/home")
    visitor.press(f"a[href$='launch-shared/{owner}/{server}']")
    agree(visitor, owner, server)


def agree(visitor: Visitor, owner: str, server: str) -> None:
    """Agree to tell a server who one is, as JupyterHub asks after each of its starts."""
    path = f"/user/{owner}/{server}/"

    def has_arrived() -> bool:
        if path in visitor.browser.current_url:
            return True
        for button in visitor.browser.find_elements(By.CSS_SELECTOR, ".btn-jupyter[type=submit]"):
            button.click()
        return False

    eventually(has_arrived, 60, path)
    shown(visitor.browser, "#jp-main-dock-panel", timeout_s=60)


def test_a_server_is_shared_opened_restarted_and_taken_back(
    launch: LaunchMachine, mia: Visitor, bob: Visitor, tmp_path: Path
) -> None:
    mia.log_in()
    mia.open(f"{mia.hub.url}/services/launch/")
    shown(mia.browser, "#own summary").click()
    fill(mia.browser, repo=f"{launch.url}course", path="start.ipynb", name="proj", share=bob.name)
    mia.look("sharing-form")
    mia.press("#own button")
    assert bob.name in mia.text("#share")
    mia.look("sharing-confirmation")
    mia.approve()
    assert mia.answer("proj", "open('both.txt', 'w').write('mia')") == "3"
    bob.open(f"{bob.hub.url}/hub/home")
    assert f"{mia.name}/proj" in bob.text("body")
    keep(bob.browser, "shared-with-you")
    open_shared(bob, mia.name, "proj")
    assert "both.txt" in bob.files()

    mia.stop("proj")
    assert f"used by {bob.name}, who lose it when you delete it" in mia.text("body")
    bob.open(f"{bob.hub.url}/hub/launch-shared/{mia.name}/proj")
    bob.look("shared-server")
    bob.press("#start-shared")
    agree(bob, mia.name, "proj")
    assert "both.txt" in bob.files()
    bob.open(f"{bob.hub.url}/hub/home")
    refused = bob.api(f"/users/{mia.name}/servers/proj", {"user_options": {"launch": "0" * 64}})
    assert refused.startswith(("403", "404"))

    with visiting(launch, tmp_path / "carol") as carol:
        carol.log_in()
        carol.open(f"{carol.hub.url}/user/{mia.name}/proj/lab")
        assert "403" in carol.browser.page_source

    mia.open(f"{mia.hub.url}/services/launch/servers")
    mia.look("servers")
    mia.press("form[action$='servers/remove'] button")
    assert bob.name not in mia.text()
    bob.open(f"{bob.hub.url}/user/{mia.name}/proj/lab")
    eventually(
        lambda: any(code in bob.browser.page_source for code in ("403", "404")), 30, "a refusal"
    )
    bob.open(f"{bob.hub.url}/hub/home")
    assert f"{mia.name}/proj" not in bob.text("body")
    mia.open(f"{mia.hub.url}/services/launch/servers/delete?server=proj")
    mia.look("delete")


def test_a_person_chooses_the_volumes_of_their_groups(launch: LaunchMachine, mia: Visitor) -> None:
    mia.log_in()
    add_to_group(launch, mia.name)
    mia.open(mia.link("course", name="with-data", path="start.ipynb", edit="1"))
    assert not mia.has("#mount-finance")
    Select(shown(mia.browser, "#mount-data")).select_by_value("data")
    mia.look("volumes-form")
    mia.press("#own button")
    assert "volumes/data: read only" in mia.text("#volumes")
    mia.look("volumes-confirmation")
    mia.approve()
    assert mia.answer("with-data", _READ) == "42"
    assert "volumes" in mia.files()
    mia.open(mia.link("course", name="other", mount="finance"))
    assert "there is no volume 'finance' for you" in mia.text("#mount-problem")
    mia.look("volumes-refused")
    mia.open(mia.link("course", name="other", mount="data:rw"))
    assert "you may only read data" in mia.text("#mount-problem")


def test_a_person_makes_a_volume_for_a_group_and_deletes_it(
    launch: LaunchMachine, mia: Visitor
) -> None:
    mia.log_in()
    add_to_group(launch, mia.name)
    mia.open(f"{mia.hub.url}/services/launch/volumes")
    mia.look("group-volumes-none")
    fill(mia.browser, name="../etc")
    mia.press("#make button")
    assert "Found '../etc', expected a name" in mia.text("#problem")
    mia.look("group-volumes-refused")
    fill(mia.browser, name="results")
    mia.press("#make button")
    assert "All members may read and write." in mia.text()
    assert "You can make no more: 1 is the most" in mia.text("#full")
    mia.look("group-volumes")
    mia.open(mia.link("course", name="with-results", path="start.ipynb", edit="1"))
    Select(shown(mia.browser, "[id='mount-lab.results']")).select_by_value("lab.results:rw")
    mia.press("#own button")
    mia.approve()
    cell = "open('volumes/lab.results/x', 'w').write('mine'); print('written')"
    assert mia.answer("with-results", cell).endswith("written")
    mia.open(f"{mia.hub.url}/services/launch/volumes/delete?volume=lab.results")
    assert "All members of lab lose it, and everything in it: " in mia.text("#lose")
    assert mia.name in mia.text("#lose")
    mia.look("delete-volume")
    mia.press("form[action$='volumes/delete'] button")
    assert "Your groups have none." in mia.text()


def test_a_guest_visits_without_a_login_and_leaves_nothing(
    launch: LaunchMachine, mia: Visitor
) -> None:
    address = mia.link("open", path="start.ipynb", mount="data")
    guest_link = address.replace("/services/launch/", "/hub/launch-guest")
    for attempt in range(2):
        mia.browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
        mia.open(guest_link)
        if not attempt:
            mia.look("guest")
        mia.press("#guest")
        assert "Nothing is left of this server" in mia.text("#temporary")
        mia.approve()
        shown(mia.browser, ".jp-Notebook .cm-content", timeout_s=90)
        files = mia.files()
        assert "mine.txt" not in files
        cell = (
            "import os; open('mine.txt', 'w').write('x'); print(os.listdir('/home'),"
            " os.access('volumes/data', os.W_OK), open('volumes/data/numbers.txt').read())"
        )
        assert answer_to(mia.browser, cell) == "[] False 42"
        pattern = "littlest-hub.user-guest*"
        launch.machine.systemctl("stop", pattern)
    left = launch.machine.run(["find", "/home", "/var/lib/private", "-name", "*guest*"])
    assert left.stdout == ""


def test_a_launch_is_published_shown_launched_and_counted(
    launch: LaunchMachine, mia: Visitor, bob: Visitor, tmp_path: Path
) -> None:
    mia.log_in()
    mia.open(mia.link("course", path="start.ipynb", name="mine"))
    mia.press("a[href*='launch/links?']")
    fill(mia.browser, title="Physics, week 1", about="Pendulums, with all data")
    mia.look("publish")
    mia.press("#publish button")
    assert "Waits for an administrator" in mia.text()
    bob.open(f"{bob.hub.url}/services/launch/gallery")
    assert "Physics, week 1" not in bob.text()

    with visiting(launch, tmp_path / "boss") as boss:
        boss.name = "boss"
        launch.machine.add_user("boss", boss.password)
        boss.log_in()
        boss.open(f"{boss.hub.url}/services/launch/gallery")
        boss.look("gallery-waiting")
        boss.press("button[value=show]")
        assert "launched 0 times" in boss.text("#shown")

    bob.open(f"{bob.hub.url}/services/launch/gallery?q=pendulums")
    bob.look("gallery")
    bob.press("#shown h3 a")
    shown(bob.browser, DECIDE.format("launch"))
    bob.approve()
    shown(bob.browser, ".jp-Notebook .cm-content", timeout_s=90)
    bob.open(f"{bob.hub.url}/services/launch/gallery")
    assert "launched 1 time" in bob.text("#shown")


# --- private repositories


def addresses(visitor: Visitor) -> str:
    """Return the addresses and headers of all requests of a browser."""
    log: Callable[[str], list[dict[str, str]]] = visitor.browser.get_log
    messages = (json.loads(entry["message"])["message"] for entry in log("performance"))
    sent = (each["params"] for each in messages if each["method"] == "Network.requestWillBeSent")
    return "\n".join(f"{each['request']['url']} {each['request']['headers']}" for each in sent)


def test_a_private_repository_is_opened_with_a_token_that_the_browser_sends_once(
    launch: LaunchMachine, mia: Visitor, tmp_path: Path
) -> None:
    token = secrets.token_hex(20)
    (launch.directory / "git/password").write_text(f"reader:{token}")
    repository = launch.repository("private-notes", {"start.ipynb": START, "secret.txt": "42"})
    form = {"path": "start.ipynb", "name": "notes"}

    # From elsewhere, without https, nobody can type a token.
    mia.log_in()
    mia.open(mia.link("private-notes", private="yes", **form))
    assert "This page is not encrypted" in mia.text("#open")
    assert not mia.has("#access")
    mia.look("private-open")
    with visiting(launch, tmp_path / "here", url=HERE) as ada:
        ada.log_in()
        ada.open(f"{HERE}/services/launch/")
        shown(ada.browser, "#own summary").click()
        fill(ada.browser, repo=f"{launch.url}private-notes", **form)
        ada.press("#own button")
        assert "or it is private" in ada.text(".alert-danger")
        shown(ada.browser, "#private").send_keys(Keys.SPACE)
        ada.press("#own button")
        ada.look("private-access")
        fill(ada.browser, user="reader", password=token[::-1])
        ada.press("#access button")
        assert "this name and token do not open it" in ada.text("#refusal")
        assert not shown(ada.browser, "#password").get_attribute("value")
        ada.look("private-refused")
        fill(ada.browser, user="reader", password=token)
        ada.press("#access button")
        assert repository.git("rev-parse", "main") in ada.text("dl")
        assert not ada.has(ASK_NEVER)
        assert token not in ada.browser.page_source
        ada.look("private-confirmation")
        ada.approve()
        assert ada.answer("notes", "print(open('secret.txt').read())") == "42"
        ada.stop("notes")

        # A start of the server needs no token; an update does.
        shown(ada.browser, "#start-notes").click()
        ada.in_lab("notes")
        ada.open(ada.link("private-notes", private="yes", **form))
        shown(ada.browser, "#access")
        ada.press("#access a.btn-outline-primary")
        ada.in_lab("notes")
        assert "secret.txt" in ada.files()
        visited = addresses(ada)
        assert "private=yes" in visited
        assert token not in visited
    mia.open(mia.link("private-notes", **form))
    assert "or it is private" in mia.text(".alert-danger")
