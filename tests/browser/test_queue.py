"""The page of a user whose server waits until others have started."""

import secrets

from selenium.webdriver import Chrome, Keys

from tests.browser.pages import errors, shown
from tests.crowd import crowd
from tests.eventually import eventually
from tests.hub import Hub


def test_a_page_shows_ones_place_in_the_queue_over_a_restart_until_jupyterlab_opens(
    hub: Hub, browser: Chrome
) -> None:
    password = secrets.token_urlsafe()
    hub.machine.add_user("alice", password)
    with crowd(hub, 2, 1) as (others, go):
        for other in others:
            other.ask_for_server()
        browser.get(hub.url)
        shown(browser, "#username_input").send_keys("alice")
        shown(browser, "#password_input").send_keys(password, Keys.ENTER)
        eventually(lambda: "1 server before yours" in message(browser), 30, "alice's place")

        # The old hub no longer updates the position, so it does not change there.
        browser.execute_script("document.querySelector('#progress-message').textContent = 'gone'")
        hub.machine.systemctl("restart", hub.layout.hub_service)
        # The page reconnects by itself, and the order is kept.
        eventually(lambda: "1 server before yours" in message(browser), 60, "it, of the next hub")

        hub.machine.put(go, "")
        shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90)
        assert errors(browser) == []


def message(browser: Chrome) -> str:
    return shown(browser, "#progress-message").text
