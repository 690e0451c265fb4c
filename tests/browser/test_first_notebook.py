"""The way of a user from the login page to the first result."""

import secrets
from pathlib import Path

from selenium.webdriver import Chrome, Keys

from tests.browser.pages import answer_to, errors, shown
from tests.eventually import eventually
from tests.hub import Hub


def test_a_person_logs_in_opens_a_notebook_and_sees_the_answer(
    hub: Hub, browser: Chrome, tmp_path: Path
) -> None:
    password = secrets.token_urlsafe()
    hub.machine.add_user("alice", password)

    browser.get(hub.url)
    shown(browser, "#username_input").send_keys("alice")
    shown(browser, "#password_input").send_keys(password, Keys.ENTER)

    # The server starts, and JupyterLab opens by itself.
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90).click()
    assert answer_to(browser, "6 * 7") == "42"
    assert "/user/alice/lab" in browser.current_url
    used = shown(browser, "#jp-main-statusbar #littlest-hub-resources")
    assert "Disk: " in str(used.get_attribute("title"))
    assert errors(browser) == []

    # A phone shows the notebook, since the sidebar is closed.
    address = browser.current_url
    browser.switch_to.new_window("tab")
    screen = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(address)
    notebook = shown(browser, ".jp-NotebookPanel", timeout_s=90)
    eventually(lambda: notebook.size["width"] > 300, 30, "room for the notebook")
    assert errors(browser) == []


def test_a_wrong_password_is_refused_on_the_page(hub: Hub, browser: Chrome) -> None:
    browser.get(hub.url)
    shown(browser, "#username_input").send_keys("alice")
    shown(browser, "#password_input").send_keys(secrets.token_urlsafe(), Keys.ENTER)
    assert "Wrong user name or password" in shown(browser, ".login_error").text
