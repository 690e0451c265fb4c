"""Looking at a page."""

from collections.abc import Callable

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.eventually import eventually


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


def errors(browser: Chrome) -> list[str]:
    """Files that the server did not have, and policies that pages violated."""
    entries: Callable[[str], list[dict[str, str]]] = browser.get_log
    return [e["message"] for e in entries("browser") if " 404 " in e["message"]]
