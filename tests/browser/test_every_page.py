"""Every page gets all its files, runs without an error, and says what people need to know."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Set

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser.pages import assert_accessible, assert_fits, keep, shown, stop_server
from tests.eventually import eventually
from tests.hub import Hub

ALL = frozenset({"Script", "Stylesheet"})
"""Types of files that each page of the hub loads."""
FRAGMENT = """
c.JupyterHub.allow_named_servers = True
c.Spawner.options_form = '<label for="x">Size</label> <input id="x" name="x" value="small">'
c.JupyterHub.services.append({
    "name": "asking",
    "oauth_client_id": "service-asking",
    "api_token": "0123456789abcdef0123456789abcdef",
    "oauth_no_confirm": False,
    "oauth_redirect_uri": "http://127.0.0.1:9/back",
})
"""
AUTHORIZE = (
    "/hub/api/oauth2/authorize?client_id=service-asking&response_type=code"
    "&redirect_uri=http://127.0.0.1:9/back&state=x"
)


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[str]:
    """The password of an administrator; the hub has a spawn form."""
    password = secrets.token_urlsafe()
    hub.machine.add_user("alice", password)
    with hub.fragment("50-questions.py", FRAGMENT):
        yield password


def test_every_page_has_all_its_files_and_runs_without_an_error(
    hub: Hub, browser: Chrome, alice: str
) -> None:
    def open_page(path: str, selector: str, types: Set[str] = ALL) -> None:
        browser.get(hub.url + path)
        shown(browser, selector)
        loaded = settled(browser, path)
        assert types <= loaded, f"{path}: what it loads was not seen"

    open_page("/hub/login", "#username_input")
    open_page("/hub/no-such-page", ".error")
    log_in(hub, browser, alice)
    shown(browser, "form[enctype] input[name=x]")
    settled(browser, "the questions before a server starts")

    open_page("/hub/home", "#start")
    open_page("/hub/token", "#request-token-form")
    open_page("/hub/admin", ".admin-table-head, [data-testid=container] table")
    open_page("/hub/user/alice/lab", "#start")
    open_page(AUTHORIZE, "form button[type=submit]")
    open_page("/hub/spawn", "form[enctype] input[name=x]")
    shown(browser, "form[enctype] button[type=submit]").click()
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90)
    configuration = "return JSON.parse(document.getElementById('jupyter-config-data').textContent)"
    assert browser.execute_script(configuration)["news"] == {"disabled": True}
    settled(browser, "the progress of the start, and JupyterLab")
    open_page("/user/alice/tree", "body", {"Stylesheet"})  # a page of Jupyter Server, no scripts
    open_page("/hub/home", "#stop")
    stop_server(browser)
    settled(browser, "the end of a server")
    open_page("/hub/logout", "#login-main, .container")


FAILING = """
c.Spawner.options_form = ""
c.Spawner.cmd = ["sh", "-c", "while [ -e ~/starting ]; do sleep 0.1; done; exit 1"]
c.Pages.contact = "the help desk, help@example.org"
"""


@pytest.mark.parametrize(
    ("width", "when"),
    [(1400, "at-once"), (400, "later")],
    ids=["at-once-on-a-desktop", "later-on-a-phone"],
    indirect=["width"],
)
def test_a_failed_start_says_so_and_offers_to_try_again(
    hub: Hub, browser: Chrome, alice: str, width: int, when: str
) -> None:
    with hub.fragment("60-failing.py", FAILING):
        log_in(hub, browser, alice, "/hub/home")
        for _ in range(2):
            if when == "later":
                hub.machine.put("/home/alice/starting", "")
            shown(browser, "#start").click()
            if when == "later":
                shown(browser, "#stop-server-btn")
                hub.machine.run(["rm", "/home/alice/starting"])
            said = eventually(
                lambda: heading(browser, "did not start"), 30, "the page that says so"
            )
            assert said == "Your server did not start."
            page = shown(browser, "body").text
            assert "redirected" not in page
            assert "Stop Server" not in page
            assert "littlest-hub.user-alice.service" not in page  # folded
            assert shown(browser, "#contact a").get_attribute("href") == "mailto:help@example.org"
            keep(browser, f"failed-{when}-{width}")
            shown(browser, "summary").send_keys(Keys.ENTER)
            assert "littlest-hub.user-alice.service" in shown(browser, "details p").text
            assert_fits(browser, width)
            again = shown(browser, "#try-again, #start")
            assert again.text == "Try again"
            # The heading goes, so that only that of the next page is found.
            script = "arguments[0].id = 'start'; document.querySelector('h1').remove()"
            browser.execute_script(script, again)
        if width < 576:  # Bootstrap folds the navigation
            shown(browser, ".navbar-toggler").click()
        assert "alice" in shown(browser, "#login_widget").text
        assert shown(browser, "#logout").is_displayed()


def test_the_admin_page_says_what_adding_means_and_why_a_name_is_refused(
    hub: Hub, browser: Chrome, alice: str, width: int
) -> None:
    log_in(hub, browser, alice, "/hub/admin")
    assert "lets no one in" in shown(browser, "#who-may-log-in").text
    row = "[data-testid^=user-row-name]"
    shown(browser, row)
    (shutdown,) = browser.find_elements(By.ID, "shutdown-button")
    assert not shutdown.is_displayed()
    keep(browser, f"admin-{width}")
    assert_fits(browser, width)
    # The last button of a row, which a phone has to scroll to.
    button = browser.find_elements(By.CSS_SELECTOR, f"tr:has({row}) button")[-1]
    # In one step and at once: Bootstrap scrolls pages smoothly.
    reach = """
        arguments[0].scrollIntoView({behavior: "instant", block: "center", inline: "center"});
        const box = arguments[0].getBoundingClientRect();
        return document.elementFromPoint(box.x + 5, box.y + 5) === arguments[0];
    """
    assert browser.execute_script(reach, button), button.rect

    browser.get(f"{hub.url}/hub/admin#/add-users")
    names = shown(browser, "[data-testid=user-textarea]")
    names.send_keys("carol\nBad Name\ndave\n")
    shown(browser, "[data-testid=submit]").click()
    refused = eventually(lambda: shown(browser, "#refused").text, 30, "the reason")
    assert "bad name" in refused
    assert "carol" not in refused
    # To be corrected where they are: nothing has to be typed again, and none was added.
    assert names.get_attribute("value") == "carol\nBad Name\ndave\n"
    keep(browser, f"refused-{width}")


def test_a_page_that_does_not_exist_says_so_once_and_keeps_name_and_logout(
    hub: Hub, browser: Chrome, alice: str, width: int
) -> None:
    log_in(hub, browser, alice, "/hub/no-such-page")
    said = eventually(lambda: heading(browser, "page"), 30, "the page that says so")
    assert said == "There is no such page."
    page = shown(browser, "body").text
    assert "None" not in page
    assert "404" not in page
    assert_fits(browser, width)
    keep(browser, f"missing-{width}")
    shown(browser, "#to-home").click()
    shown(browser, "#start")


@pytest.fixture(scope="module")
def announce(hub: Hub, alice: str) -> Iterator[None]:
    """The stack announce is enabled."""
    littlest_hub = hub.path("hub/bin/littlest-hub")
    hub.machine.run([littlest_hub, "enable", "announce", "--yes"])
    yield
    hub.machine.run([littlest_hub, "disable", "announce"])


def test_an_administrator_announces_something_with_the_keyboard_alone(
    hub: Hub, browser: Chrome, alice: str, announce: None, width: int
) -> None:
    banner = f"<b>Maintenance</b> at 18:00, see https://example.org/{width}"
    log_in(hub, browser, alice, "/services/announce/")
    # The first field has the focus.
    field = shown(browser, "#banner:focus")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(banner, Keys.TAB)
    message = shown(browser, "#message:focus")
    message.send_keys(Keys.CONTROL, "a")
    message.send_keys("Your files are safe.\nServers go on.", Keys.TAB)
    shown(browser, "button:focus").send_keys(Keys.ENTER)
    assert "Saved" in shown(browser, "[role=status]").text
    assert shown(browser, "#banner").get_attribute("value") == banner
    assert "Written by alice" in shown(browser, "main").text
    assert settled(browser, "the page of announcements") >= {"Stylesheet"}
    assert_fits(browser, width)
    assert_accessible(browser)
    keep(browser, f"announce-{width}")
    browser.get(f"{hub.url}/hub/home")
    assert shown(browser, ".announcement").text == banner
    assert f"org/{width}" in str(shown(browser, ".announcement a").get_attribute("href"))
    assert shown(browser, "#message-of-the-day").text == "Your files are safe.\nServers go on."
    settled(browser, "home with an announcement")
    assert_fits(browser, width)
    keep(browser, f"announced-{width}")
    browser.get(f"{hub.url}/hub/token")
    assert shown(browser, ".announcement").text == banner
    assert not browser.find_elements(By.CSS_SELECTOR, "#message-of-the-day")


def heading(browser: Chrome, words: str) -> str:
    """Return the page's heading if it contains these words."""
    # In one step: the page may be replaced at any moment.
    found = str(browser.execute_script("return document.querySelector('h1')?.innerText"))
    return found if words in found else ""


def log_in(hub: Hub, browser: Chrome, password: str, page: str = "") -> None:
    """Log in as alice, and go on to a page."""
    browser.get(f"{hub.url}/hub/login?next={page}")
    shown(browser, "#username_input").send_keys("alice")
    shown(browser, "#password_input").send_keys(password, Keys.ENTER)
    eventually(lambda: "/hub/login" not in browser.current_url, 30, "the next page")


def settled(browser: Chrome, page: str) -> set[str]:
    """Assert that everything loaded since the last call is complete, once the page is idle.

    Returns:
        The types of loaded files, as the browser calls them.
    """
    state = "return document.readyState"
    eventually(lambda: browser.execute_script(state) == "complete", 30, f"{page} to be loaded")
    logs: Callable[[str], list[dict[str, str]]] = browser.get_log
    missing = []
    seen: set[str] = set()
    for entry in logs("performance"):
        event = json.loads(entry["message"])["message"]
        parameters = event["params"]
        if parameters.get("type") == "Document":
            continue  # a page may be one that says "not found"
        if event["method"] == "Network.responseReceived":
            response = parameters["response"]
            seen.add(parameters["type"])
            if response["status"] >= 400:
                missing.append(f"{response['status']} {response['url']}")
        if event["method"] == "Network.loadingFailed" and not parameters.get("canceled"):
            missing.append(f"{parameters['type']}: {parameters['errorText']}")
    assert missing == [], page
    severe = [
        entry["message"]
        for entry in logs("browser")
        if entry["level"] == "SEVERE" and entry["source"] != "network"
    ]
    assert severe == [], page
    return seen
