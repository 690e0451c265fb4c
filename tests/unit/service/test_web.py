"""A stack's web service: the hub's login, forms with XSRF fields, and any base URL of the hub."""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler, authenticated

from littlest_hub.errors import LittlestHubError
from littlest_hub.service.web import Handler, WebService, from_environ, server_of
from littlest_hub.units.stack import HUB_ADDRESS, SERVICE

TOKEN = "0123456789abcdef"
ACCESS = "access:services!service=notes"


class Page(Handler):
    """A page with a form."""

    @authenticated  # type: ignore[untyped-decorator]
    def get(self) -> None:
        self.finish(f"{self.current_user['name']} {self.xsrf_form_html()}")

    @authenticated  # type: ignore[untyped-decorator]
    def post(self) -> None:
        self.finish(f"saved {self.get_body_argument('text')}")


class HubToken(RequestHandler):  # type: ignore[misc]
    """The hub's answer to a service that has a code: a token of the user."""

    def check_xsrf_cookie(self) -> None:
        pass

    def post(self, base: str) -> None:
        assert self.get_body_argument("client_secret") == TOKEN
        self.finish({"access_token": self.get_body_argument("code")})


class HubUser(RequestHandler):  # type: ignore[misc]
    """The hub's answer to whose token that is."""

    def get(self, base: str) -> None:
        name = self.request.headers["Authorization"].split()[-1]
        scopes = [ACCESS] if name == "boss" else []
        self.finish({"kind": "user", "name": name, "admin": False, "groups": [], "scopes": scopes})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a service, whose hub is a small one of ours."""
    hub_socket, hub_port = bind_unused_port()
    own_socket, port = bind_unused_port()
    ready = threading.Barrier(3)

    def serve(make: Callable[[], Application], listening: socket.socket) -> None:
        async def run() -> None:
            made = make()
            is_service = isinstance(made, WebService)
            server = server_of(made) if is_service else HTTPServer(made, no_keep_alive=True)
            server.add_sockets([listening])
            stopped = asyncio.Event()
            stops.append((asyncio.get_running_loop(), stopped))
            ready.wait()
            await stopped.wait()

        asyncio.run(run())

    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    hub = [(r"(/.*)?/hub/api/oauth2/token", HubToken), (r"(/.*)?/hub/api/user", HubUser)]
    service = partial(WebService, "notes", TOKEN, f"127.0.0.1:{hub_port}", [("", Page)])
    threads = [
        threading.Thread(target=serve, args=(partial(Application, hub), hub_socket), daemon=True),
        threading.Thread(target=serve, args=(service, own_socket), daemon=True),
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    yield f"http://127.0.0.1:{port}"
    for loop, stopped in stops:
        loop.call_soon_threadsafe(stopped.set)
    for thread in threads:
        thread.join(10)


def logged_in(url: str, base: str, name: str) -> tuple[httpx.Client, httpx.Response]:
    """Return a browser after the login at the hub, and the page that it gets."""
    browser = httpx.Client(base_url=url, trust_env=False)
    to_hub = browser.get(f"{base}/services/notes/")
    assert to_hub.status_code == 302
    address = urlsplit(to_hub.headers["Location"])
    assert address.path == f"{base}/hub/api/oauth2/authorize"
    asked = parse_qs(address.query)
    assert asked["client_id"] == ["service-notes"]
    (back,), (state,) = asked["redirect_uri"], asked["state"]
    assert back == f"{base}/services/notes/oauth_callback"
    browser.get(back, params={"code": name, "state": state})
    return browser, browser.get(f"{base}/services/notes/")


@pytest.mark.parametrize("base", ["", "/jupyter", "/a/b-c"])
def test_a_user_logs_in_at_the_hub_whatever_its_base_url(url: str, base: str) -> None:
    browser, page = logged_in(url, base, "boss")
    assert page.status_code == 200
    assert page.text.startswith("boss ")
    (field,) = re.findall(r'name="_xsrf" value="([^"]+)"', page.text)
    sent = browser.post(f"{base}/services/notes/", data={"text": "hi", "_xsrf": field})
    assert sent.text == "saved hi"
    assert sent.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_form_of_another_site_is_refused(url: str) -> None:
    browser, _ = logged_in(url, "", "boss")
    for fields in ({}, {"_xsrf": "guessed"}):
        sent = browser.post("/services/notes/", data={"text": "forged", **fields})
        assert "forged" not in sent.text
        assert sent.status_code in {302, 403}


@pytest.mark.row(30)
@pytest.mark.parametrize("header", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_large_body_is_refused_before_it_is_there(url: str, header: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sender:
        sender.sendall(f"POST /services/notes/ HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        # A chunk of a million bytes is announced, and a tenth of it sent.
        sender.sendall(b"f4240\r\n" + b"x" * 100_000)
        assert re.match(rb"HTTP/1.1 (?:400|403) |$", sender.recv(100))


def test_a_user_without_the_scope_is_refused(url: str) -> None:
    _, page = logged_in(url, "", "mallory")
    assert page.status_code == 403
    assert "mallory" not in page.text


def test_an_invented_login_is_refused(url: str) -> None:
    browser = httpx.Client(base_url=url, trust_env=False)
    back = "/services/notes/oauth_callback"
    assert browser.get(back, params={"code": "boss", "state": "x"}).status_code == 403
    assert browser.get("/services/other/").status_code == 404


@pytest.mark.parametrize("base", ["//x.org", "/a/..", "/%2e"])
def test_a_strange_base_leads_nowhere_else(url: str, base: str) -> None:
    answer = httpx.get(f"{url}{base}/services/notes/", trust_env=False, follow_redirects=False)
    target = urlsplit(answer.headers.get("Location", ""))
    assert not target.netloc
    assert not answer.headers.get("Location", "").startswith("//")


def test_a_program_without_its_unit_says_what_it_needs() -> None:
    with pytest.raises(LittlestHubError, match="expected LITTLEST_HUB_SERVICE"):
        from_environ({}, "", [])
    environ = {SERVICE: "notes", HUB_ADDRESS: "127.0.0.1:1"}
    service = from_environ(environ, TOKEN, [], place="/srv")
    assert service.name == "notes"
    assert service.settings["place"] == "/srv"
