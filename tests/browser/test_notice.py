"""Notices of the hub in JupyterLab: of upgrades, which stop no server, and announcements."""

import secrets

from selenium.webdriver import Chrome, Keys

from tests.browser.pages import errors, shown, stop_server
from tests.eventually import eventually
from tests.hub import Hub


def test_a_person_is_told_of_another_release_and_of_announcements_until_they_have_read_them(
    hub: Hub, browser: Chrome
) -> None:
    password = secrets.token_urlsafe()
    hub.machine.add_user("alice", password)
    browser.get(hub.url)
    shown(browser, "#username_input").send_keys("alice")
    shown(browser, "#password_input").send_keys(password, Keys.ENTER)
    lab_is_there(browser)
    first = releases(browser)["running"]
    assert releases(browser) == {"running": first, "active": first}
    assert notices(browser) == []

    move_on(hub, "2099.1.0")
    browser.refresh()
    assert "updated (2099.1.0)" in notice(browser)
    assert releases(browser) == {"running": first, "active": "2099.1.0"}
    press(browser, "Later")
    browser.refresh()
    lab_is_there(browser)
    assert notices(browser) == [], "told twice of the same release"

    move_on(hub, "2099.2.0")
    browser.refresh()
    assert "updated (2099.2.0)" in notice(browser)
    press(browser, "Restart now")
    eventually(lambda: browser.current_url == f"{hub.url}/hub/home", 30, "the hub's page")
    stop_server(browser)
    shown(browser, "#start").click()
    lab_is_there(browser)
    assert releases(browser) == {"running": "2099.2.0", "active": "2099.2.0"}
    assert notices(browser) == []

    with hub.fragment("60-news.py", NEWS):
        browser.refresh()
        assert notice(browser, "Maintenance") == "Maintenance at 18:00"
        press(browser, "OK")
        browser.refresh()
        lab_is_there(browser, "/hub/announcement")
        assert notices(browser, "Maintenance") == [], "shown again after it was read"
    assert errors(browser) == []


NEWS = """c.JupyterHub.template_vars.update(
    {"announcement": "<b>Maintenance</b> at 18:00<script>document.title = 'run'</script>"}
)
"""


def move_on(hub: Hub, version: str) -> None:
    """Create another release that differs only in its name, as after an upgrade."""
    releases = hub.layout.releases
    script = 'cp --archive --link "$(readlink --canonicalize "$1")" "$2" && ln -sfnT "$2" "$1"'
    machine = hub.machine
    machine.run(["sh", "-c", script, "sh", hub.layout.hub, releases / version])
    machine.systemctl("restart", hub.layout.hub_service)


def lab_is_there(browser: Chrome, asked: str = "/littlest-hub/release") -> None:
    """Return when JupyterLab has started and our extension has its answer from an address."""
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90)
    script = (
        "return performance.getEntriesByType('resource')"
        ".some(e => e.name.includes(arguments[0]) && e.responseEnd > 0)"
    )
    eventually(lambda: browser.execute_script(script, asked), 30, f"{asked} to be asked for")


def releases(browser: Chrome) -> dict[str, str]:
    """Return the user server's answer to this page."""
    script = """
        const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
        return fetch(base + 'littlest-hub/release').then(answer => answer.json());
    """
    answer: dict[str, str] = browser.execute_script(script)
    return answer


def notices(browser: Chrome, about: str = "The hub was updated") -> list[str]:
    """Return our notifications among those that JupyterLab shows."""
    script = (
        "return [...document.querySelectorAll('.jp-toast-message')].map(e => e.textContent)"
        ".filter(text => text.includes(arguments[0]))"
    )
    found: list[str] = browser.execute_script(script, about)
    return found


def notice(browser: Chrome, about: str = "The hub was updated") -> str:
    return eventually(lambda: notices(browser, about), 60, "the notice")[0]


def press(browser: Chrome, label: str) -> None:
    script = (
        "[...document.querySelectorAll('.jp-toast-button')]"
        ".find(e => e.textContent === arguments[0]).click()"
    )
    browser.execute_script(script, label)
