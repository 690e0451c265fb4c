"""What a person sees between the login page and their first answer."""

import secrets
from pathlib import Path

from selenium.webdriver import ActionChains, Chrome, Keys

from tests.browser.pages import errors, shown
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
    shown(browser, ".jp-Notebook .cm-content").click()
    eventually(lambda: kernel_is_idle(browser), 60, "a kernel")
    cell = ActionChains(browser).send_keys("6 * 7")
    cell.key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()

    answer = shown(browser, ".jp-OutputArea-output", timeout_s=60)
    eventually(lambda: answer.text.strip() == "42", 30, "the answer 42")
    assert "/user/alice/lab" in browser.current_url
    assert errors(browser) == []


def test_a_wrong_password_is_refused_on_the_page(hub: Hub, browser: Chrome) -> None:
    browser.get(hub.url)
    shown(browser, "#username_input").send_keys("alice")
    shown(browser, "#password_input").send_keys(secrets.token_urlsafe(), Keys.ENTER)
    assert "Invalid username or password" in shown(browser, ".login_error").text


def kernel_is_idle(browser: Chrome) -> bool:
    """Whether JupyterLab's status says that the notebook's kernel waits for work."""
    script = "return document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
    return bool(browser.execute_script(script) == "idle")
