"""Reading a page in a browser."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.eventually import eventually
from tests.npm import installed

_AXE = Path(__file__).parent / "axe"


def shown(browser: Chrome, selector: str, *, timeout_s: float = 30) -> WebElement:
    """Return the first visible element that matches a CSS selector, as soon as there is one."""

    def find() -> WebElement | None:
        try:
            elements = browser.find_elements(By.CSS_SELECTOR, selector)
            return next((element for element in elements if element.is_displayed()), None)
        except WebDriverException as error:  # the next page is replacing this one
            raise AssertionError(str(error)) from error

    element = eventually(find, timeout_s, f"{selector} on the page")
    assert element is not None
    return element


def fill(browser: Chrome, **fields: str) -> None:
    """Type into fields of a form."""
    for name, text in fields.items():
        field = shown(browser, f"[name={name}]")
        field.clear()
        field.send_keys(text)


def follow(browser: Chrome, text: str) -> None:
    """Choose a link, which a phone may have folded into the menu."""
    # Selenium finds no folded link by its text.
    link = (By.XPATH, f"//a[normalize-space()='{text}']")
    togglers = browser.find_elements(By.CSS_SELECTOR, ".navbar-toggler")
    if togglers and togglers[0].is_displayed() and not browser.find_element(*link).is_displayed():
        togglers[0].click()
    eventually(lambda: browser.find_element(*link).is_displayed(), 30, text)
    browser.find_element(*link).click()


def answer_to(browser: Chrome, cell: str) -> str:
    """Run the first cell of the empty notebook that is opening, and return its output."""
    shown(browser, ".jp-Notebook .cm-content").click()
    eventually(lambda: _kernel_is_idle(browser), 60, "a kernel")
    typed = ActionChains(browser).send_keys(cell)
    typed.key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    answer = shown(browser, ".jp-OutputArea-output", timeout_s=60)
    return eventually(lambda: answer.text.strip(), 30, "an answer")


def _kernel_is_idle(browser: Chrome) -> bool:
    """Return whether the notebook's kernel is idle, and is the one that stays.

    Over HTTP/2 JupyterLab may start one, end it and start another before it settles.
    """
    status = "return document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
    if browser.execute_script(status) != "idle":
        return False
    sessions = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "const page = JSON.parse(document.getElementById('jupyter-config-data').textContent);"
        "const token = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)[1];"
        "fetch(page.baseUrl + 'api/sessions', {headers: {'X-XSRFToken': token}})"
        ".then(response => response.json()).then(done);"
    )
    kernels = [session["kernel"] for session in sessions]
    return len(kernels) == 1 and kernels[0]["connections"] > 0


def stop_server(browser: Chrome) -> None:
    """Stop the server on the hub's home page."""
    script = "return window._jupyterhub_page_loaded"
    eventually(lambda: browser.execute_script(script), 30, "the script of the page")
    # Once: the answer to a second request may come before the server has stopped.
    shown(browser, "#stop").click()
    eventually(lambda: "Start" in shown(browser, "#start").text, 90, "the server to stop")


def assert_fits(browser: Chrome, width: int) -> None:
    """Assert that the page needs no scrolling from left to right."""
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def assert_accessible(browser: Chrome) -> None:
    """Assert that axe-core finds nothing that hinders users of screen readers and keyboards."""
    browser.execute_script(_axe())
    found = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({preload: false}).then(result => done(result.violations.map("
        "each => `${each.id}: ${each.help}: ${each.nodes.map(node => node.html).join(' ')}`"
        ")), error => done([String(error)]));"
    )
    # Its probes violate the policies of pages that are strict.
    errors(browser)
    assert found == [], "\n".join(found)


@cache
def _axe() -> str:
    packages = installed("axe", [_AXE / "package.json", _AXE / "package-lock.json"])
    return (packages / "node_modules/axe-core/axe.min.js").read_text()


def keep(browser: Chrome, name: str) -> None:
    """Keep a picture of the page in the directory PICTURES, if that variable is set."""
    if directory := os.environ.get("PICTURES"):
        browser.save_screenshot(f"{directory}/{name}.png")


def errors(browser: Chrome) -> list[str]:
    """Return files that the server did not have, and policies that pages violated."""
    entries: Callable[[str], list[dict[str, str]]] = browser.get_log
    return [e["message"] for e in entries("browser") if " 404 " in e["message"]]
