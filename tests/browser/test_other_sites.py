"""Pages of other sites, in a real browser whose user is logged in to the hub."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser.pages import shown
from tests.eventually import eventually
from tests.hub import Hub

FRAGMENT = """
from traitlets import Enum
c.Authenticator.allow_all = True
c.JupyterHub.shutdown_on_logout = True
c.JupyterHub.implicit_spawn_seconds = 1
c.RequestPolicy.user_options = {"size": Enum(["small", "large"])}
c.Spawner.environment = {"SIZE": lambda spawner: spawner.user_options.get("size", "none")}
"""
LAB = ".jp-LauncherCard[data-category='Notebook']"


@pytest.fixture(params=["plain HTTP", "as with HTTPS"])
def arguments(request: pytest.FixtureRequest, hub: Hub) -> list[str]:
    """Over plain HTTP, a browser sends no Sec-Fetch-Site; with this argument, it does."""
    secure = f"--unsafely-treat-insecure-origin-as-secure={hub.url.rstrip('/')}"
    return [] if request.param == "plain HTTP" else [secure]


@pytest.fixture
def mia() -> str:
    """The name of a new user."""
    return f"mia{secrets.token_hex(4)}"


@pytest.fixture
def evil(hub: Hub, mia: str) -> Iterator[str]:
    """The URL of a page of another site, full of links, images and forms for the hub."""
    url = hub.url.rstrip("/")
    option = "opt-size=large&size=large&prologue=touch"
    page = f"""<!doctype html><title>evil</title>
<a id="options" href="{url}/hub/spawn?{option}">x</a>
<a id="hidden" rel="noreferrer" href="{url}/hub/spawn?{option}">x</a>
<a id="implicit" href="{url}/user/{mia}/lab">x</a>
<a id="logout" href="{url}/hub/logout">x</a>
<a id="quiet-logout" rel="noreferrer" href="{url}/hub/logout">x</a>
<a id="course" href="{url}/hub/user-redirect/lab/tree?x=1">x</a>
<form id="start" method="post" action="{url}/hub/spawn/{mia}?{option}"><input name="size"></form>
<form id="exchange" method="post" action="{url}/hub/login">
  <input name="username" value="mallory"><input name="password" value="x"><input name="_xsrf">
</form>
<img src="{url}/hub/logout"><img referrerpolicy="no-referrer" src="{url}/hub/logout">
<img src="{url}/hub/spawn?{option}"><iframe src="{url}/hub/spawn?{option}"></iframe>
<script>
fetch("{url}/hub/api/users/{mia}/server", {{method: "POST", mode: "no-cors", credentials: "include",
  headers: {{"Content-Type": "text/plain"}}, body: "{{}}"}});
fetch("{url}/hub/logout", {{mode: "no-cors", credentials: "include"}});
</script>""".encode()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    # The browser is in the machine's network, where this is the only other address.
    here = f"{hub.machine.address.rpartition('.')[0]}.1"
    with ThreadingHTTPServer((here, 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{here}:{server.server_port}/"
        server.shutdown()


@pytest.mark.row(28)
def test_a_page_of_another_site_starts_stops_and_logs_out_nothing(
    hub: Hub, browser: Chrome, evil: str, mia: str
) -> None:
    password = secrets.token_urlsafe()
    hub.machine.add_user(mia, password)
    unit = f"{hub.layout.user_unit(mia)}.service"

    def follow(link: str) -> None:
        browser.get(evil)  # returns when its images are loaded
        browser.find_element(By.ID, link).click()

    def is_running() -> bool:
        return hub.machine.systemctl("is-active", unit, check=False).stdout.strip() == "active"

    def log_in() -> None:
        shown(browser, "#username_input").send_keys(mia)
        shown(browser, "#password_input").send_keys(password, Keys.ENTER)

    with hub.fragment("60-links.py", FRAGMENT):
        browser.get(f"{hub.url}/hub/login?next=%2Fhub%2Fhome")
        log_in()
        shown(browser, "#start")
        for link in ("options", "hidden", "implicit"):
            follow(link)
            start = shown(browser, "a#start")
            assert "size" not in str(start.get_attribute("href"))
        browser.get(evil)
        browser.execute_script("document.getElementById('start').submit()")
        shown(browser, ".error")
        assert not is_running()

        follow("options")
        shown(browser, "a#start").click()
        shown(browser, LAB, timeout_s=90)
        environment = hub.machine.read(f"/proc/{hub.main_pid(unit)}/environ").split("\0")
        assert "SIZE=none" in environment

        for link in ("logout", "quiet-logout"):
            follow(link)
            shown(browser, "#confirm-logout")
        browser.get(evil)
        browser.execute_script("document.getElementById('exchange').submit()")
        shown(browser, "body")
        browser.get(f"{hub.url}/hub/home")
        assert mia in shown(browser, "#login_widget").text
        assert is_running()

        # A course page's link works in one click, and after a login too.
        follow("course")
        eventually(lambda: f"/user/{mia}/lab/tree" in browser.current_url, 30, "the link's target")
        follow("logout")
        shown(browser, "#confirm-logout").click()
        shown(browser, "#username_input")
        eventually(lambda: not is_running(), 30, "the server to stop, as configured")
        follow("course")
        log_in()
        eventually(lambda: f"/user/{mia}/lab/tree" in browser.current_url, 90, "the link's target")
