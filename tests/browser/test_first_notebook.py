"""What a person sees between the login page and their first answer."""

import secrets
from collections.abc import Callable
from pathlib import Path

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

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


def shown(browser: Chrome, selector: str, *, timeout_s: float = 30) -> WebElement:
    """The first visible element that matches a CSS selector, as soon as there is one."""

    def find() -> WebElement | None:
        try:
            elements = browser.find_elements(By.CSS_SELECTOR, selector)
            return next((element for element in elements if element.is_displayed()), None)
        except WebDriverException as error:  # the page is being replaced by the next
            raise AssertionError(str(error)) from error

    element = eventually(find, timeout_s, f"{selector} on the page")
    assert element is not None
    return element


def kernel_is_idle(browser: Chrome) -> bool:
    """Whether JupyterLab's status says that the notebook's kernel waits for work."""
    script = "return document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
    return bool(browser.execute_script(script) == "idle")


def errors(browser: Chrome) -> list[str]:
    """Files that the server did not have, and policies that pages violated."""
    entries: Callable[[str], list[dict[str, str]]] = browser.get_log
    return [e["message"] for e in entries("browser") if " 404 " in e["message"]]
