"""A person who launches repositories in a browser, step by step."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser.conftest import open_browser
from tests.browser.pages import answer_to, assert_accessible, assert_fits, keep, shown
from tests.eventually import eventually
from tests.hub import Hub
from tests.launch_machine import LaunchMachine

WIDTHS = (1400, 400)
DECIDE = "#decide button[value={}]"
PROBLEM = "#problem"
_API = """
const [path, body, done] = arguments;
const headers = {"Content-Type": "application/json"};
fetch(`${path}?_xsrf=${window.jhdata.xsrf_token}`,
  body ? {method: "POST", headers, body: JSON.stringify(body)} : {})
  .then(async answer => done(`${answer.status} ${await answer.text()}`));
"""
_IS_THERE = """
const isParsed = document.readyState !== "loading";
return !window.isLeft && document.body !== null && (isParsed || arguments[0]);
"""
_FOCUS = "return document.activeElement.matches(arguments[0])"
_SEEN = """
const style = getComputedStyle(document.activeElement);
return style.outlineStyle !== "none" || style.boxShadow !== "none";
"""


@dataclass
class Visitor:
    """A new user of the hub, with a browser of their own."""

    launch: LaunchMachine
    browser: Chrome
    name: str
    password: str = field(default_factory=secrets.token_urlsafe)
    url: str = ""
    """The address of the hub for the person; "": that of the machine."""

    def __post_init__(self) -> None:
        self.url = self.url or self.hub.url

    @property
    def hub(self) -> Hub:
        return self.launch.hub

    def link(self, repository: str, **form: str) -> str:
        """Return the address that launches a repository of the git server."""
        query = urlencode({"repo": f"{self.launch.url}{repository}", **form})
        return f"{self.url}/services/launch/?{query}"

    # --- going from page to page

    @contextmanager
    def leaving(self, *, to_log: bool = False) -> Iterator[None]:
        """Do something that leads to another page, and wait until that is there.

        Args:
            to_log: the page is a log, which is complete once the server starts.
        """
        self.browser.execute_script("window.isLeft = true")
        yield

        def is_there() -> bool:
            try:
                return bool(self.browser.execute_script(_IS_THERE, to_log))
            except WebDriverException as error:
                raise AssertionError(str(error)) from error

        eventually(is_there, 30, "the next page")

    def open(self, address: str) -> None:
        with self.leaving():
            self.browser.get(address)

    def press(self, selector: str, *, to_log: bool = False) -> None:
        """Press a button or follow a link, with the keyboard; `to_log` is that of `leaving`."""

        def is_pressed() -> bool:
            try:
                shown(self.browser, selector).send_keys(Keys.ENTER)
            except WebDriverException as error:  # buttons of a new page work after a second
                raise AssertionError(str(error)) from error
            return True

        with self.leaving(to_log=to_log):
            eventually(is_pressed, 30, f"{selector} to work")

    def fill_in_login(self) -> None:
        shown(self.browser, "#username_input").send_keys(self.name)
        with self.leaving():
            shown(self.browser, "#password_input").send_keys(self.password, Keys.ENTER)

    def log_in(self) -> None:
        self.open(f"{self.url}/hub/login?next=%2Fhub%2Fhome")
        self.fill_in_login()
        shown(self.browser, "#start")

    def tab_to(self, selector: str) -> None:
        """Press the tabulator key until an element has the focus, and shows it."""
        for _ in range(40):
            self.type(Keys.TAB)
            if self.browser.execute_script(_FOCUS, selector):
                assert self.browser.execute_script(_SEEN), f"{selector} does not show its focus"
                return
        raise AssertionError(f"the tabulator key does not lead to {selector}")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.browser.switch_to.active_element.send_keys(text)

    # --- what is on the page

    def text(self, selector: str = "main") -> str:
        return shown(self.browser, selector).text

    def approve(self, decision: str = "launch") -> None:
        """Press a button of the confirmation that leads to the log."""
        self.press(DECIDE.format(decision), to_log=True)

    def has(self, selector: str) -> bool:
        return bool(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def in_lab(self, server: str, page: str = "lab") -> None:
        """Wait for JupyterLab of a server."""
        path = f"{self.url}/user/{self.name}/{server}/{page}"
        eventually(lambda: self.browser.current_url.startswith(path), 90, path)
        shown(self.browser, "#jp-main-dock-panel", timeout_s=60)

    def files(self) -> list[str]:
        """Return the names in the file browser of JupyterLab."""
        shown(self.browser, ".jp-DirListing-itemText")
        script = (
            "return [...document.querySelectorAll('.jp-DirListing-itemText')]"
            ".map(each => each.textContent)"
        )
        found: list[str] = self.browser.execute_script(script)
        return found

    def answer(self, server: str, cell: str, page: str = "lab/tree/start.ipynb") -> str:
        """Return what a cell prints in the notebook that opens."""
        self.in_lab(server, page)
        return answer_to(self.browser, cell)

    # --- the hub

    def servers(self) -> dict[str, bool]:
        """Return the servers on the hub's home page, and whether they can be stopped."""
        self.open(f"{self.url}/hub/home")
        shown(self.browser, ".add-server-row")
        rows = self.browser.find_elements(By.CSS_SELECTOR, "tr[data-server-name]")
        return {
            str(row.get_attribute("data-server-name")): row.find_element(
                By.CSS_SELECTOR, ".stop-server"
            ).is_displayed()
            for row in rows
        }

    def stop(self, server: str) -> None:
        """Stop a server on the hub's home page."""
        self.open(f"{self.url}/hub/home")
        script = "return window._jupyterhub_page_loaded"
        eventually(lambda: self.browser.execute_script(script), 30, "the script of the page")
        shown(self.browser, f"#stop-{server}").click()
        shown(self.browser, f"#start-{server}", timeout_s=60)

    def api(self, path: str, body: Any = None) -> str:
        """Return status and text of JupyterHub's answer to a request of the hub's own page.

        Args:
            path: below /hub/api.
            body: what is posted; None: nothing is, the answer is only read.
        """
        answer: str = self.browser.execute_async_script(_API, f"/hub/api{path}", body)
        return answer

    # --- looking at it

    def look(self, name: str, *, is_complete: bool = True) -> None:
        """Assert that the page is usable on a desktop and on a phone, and for screen readers.

        Args:
            name: of its pictures.
            is_complete: False: the page is still being sent.
        """
        if is_complete:
            # Buttons of a confirmation are not shown at once.
            script = (
                "return document.readyState === 'complete' && document.getAnimations().length === 0"
            )
            eventually(lambda: self.browser.execute_script(script), 30, "the page")
        for width in WIDTHS:
            screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            keep(self.browser, f"{name}-{width}")
            assert_fits(self.browser, width)
            assert_accessible(self.browser)
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@contextmanager
def visiting(
    launch: LaunchMachine, directory: Path, arguments: Sequence[str] = (), *, url: str = ""
) -> Iterator[Visitor]:
    """Yield a new user, who is not logged in.

    Args:
        launch: the machine.
        directory: for the browser.
        arguments: of the browser.
        url: where the person finds the hub; "": at the machine's address.
    """
    name = f"mia{secrets.token_hex(4)}"
    with open_browser(launch.hub, directory, arguments, waits=False) as browser:
        visitor = Visitor(launch, browser, name, url=url)
        launch.machine.add_user(name, visitor.password)
        yield visitor


class OtherSite:
    """Pages of another site, which a test writes.

    Args:
        hub: the hub that the pages are about.
    """

    def __init__(self, hub: Hub) -> None:
        self.pages: dict[str, str] = {}
        site = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = site.pages.get(self.path)
                self.send_response(404 if text is None else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(f"<!doctype html><title>x</title>{text}".encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        # The browser is in the machine's network, where this is the only other address.
        here = f"{hub.machine.address.rpartition('.')[0]}.1"
        self._server = ThreadingHTTPServer((here, 0), Page)
        self.host = f"{here}:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def page(self, text: str, path: str = "/") -> str:
        """Write a page, and return its address."""
        self.pages[path] = text
        return f"http://{self.host}{path}"
