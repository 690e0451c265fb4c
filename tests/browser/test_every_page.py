"""Every page gets every file that it requests, and its scripts raise no error."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Set

import pytest
from selenium.webdriver import Chrome, Keys

from tests.browser.pages import shown
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


@pytest.fixture
def alice(hub: Hub, browser: Chrome) -> Iterator[str]:
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
    browser.get(f"{hub.url}/hub/login")
    shown(browser, "#username_input").send_keys("alice")
    shown(browser, "#password_input").send_keys(alice, Keys.ENTER)
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
    settled(browser, "the progress of the start, and JupyterLab")
    open_page("/user/alice/tree", "body", {"Stylesheet"})  # a page of Jupyter Server, no scripts
    open_page("/hub/home", "#stop")
    shown(browser, "#stop").click()
    eventually(lambda: "Start" in shown(browser, "#start").text, 60, "the server to stop")
    settled(browser, "the end of a server")
    open_page("/hub/logout", "#login-main, .container")


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
