"""Rights of requests that another site has caused, and options that reach a spawner."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode
from traitlets.config import Config

from littlest_hub.hub.cross_site import Site, site_of, without_options
from littlest_hub.hub.spawn_options import FormOptions, RequestPolicy, converted
from tests.eventually import eventually
from tests.network import free_port
from tests.unit.hub import hub_program
from tests.unit.hub.hub_program import xsrf

pytestmark = pytest.mark.unit

OWN = {"Sec-Fetch-Site": "same-origin"}
# In the order of browsers: with HTTPS; over plain HTTP; over plain HTTP from a page that hides
# itself; a sibling domain.
OTHERS: tuple[dict[str, str], ...] = (
    {"Sec-Fetch-Site": "cross-site", "Referer": "http://evil.example.org/"},
    {"Referer": "http://evil.example.org/"},
    {},
    {"Sec-Fetch-Site": "same-site"},
)
_names = (f"someone{number}" for number in count())


# --- the site of a request


@pytest.mark.row(28)
@pytest.mark.parametrize(
    ("headers", "has_cookie", "site"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, False, Site.OWN),
        ({"Sec-Fetch-Site": "none"}, False, Site.OWN),
        ({"Sec-Fetch-Site": "cross-site"}, True, Site.OTHER),
        ({"Sec-Fetch-Site": "same-site"}, True, Site.OTHER),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "http://hub.org/hub/home"}, True, Site.OTHER),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "https://portal.org/x"}, False, Site.OWN),
        ({"Origin": "https://portal.org"}, False, Site.OWN),
        ({"Origin": "http://hub.org"}, False, Site.OWN),
        ({"Origin": "http://hub.org.evil.org"}, True, Site.OTHER),
        ({"Origin": "http://hub.org:8000"}, True, Site.OTHER),
        ({"Origin": "null"}, True, Site.OTHER),
        ({"Referer": "http://HUB.org/hub/home"}, False, Site.OWN),
        ({"Referer": "http://evil.org/http://hub.org/"}, True, Site.OTHER),
        ({"Referer": "http://hub.org@evil.org/"}, True, Site.OTHER),
        ({"Referer": "about:blank"}, True, Site.OTHER),
        ({}, True, Site.OWN),
        ({}, False, Site.UNKNOWN),
    ],
)
def test_the_site_that_caused_a_request_is_recognized(
    headers: dict[str, str], has_cookie: bool, site: Site
) -> None:
    trusted = {"https://portal.org"}
    assert site_of(headers, {"hub.org"}, trusted=trusted, has_site_cookie=has_cookie) is site


@pytest.mark.row(28)
@pytest.mark.parametrize(
    "path",
    [
        "/hub/spawn",
        "/hub/spawn/",
        "/hub/spawn/alice/lab",
        "/hub//spawn",
        "/hub/./spawn",
        "/hub/user-redirect/../spawn/alice",
        "/hub/user-redirect/%2e%2e/spawn/alice",
        "/user/alice/..%2f../hub/spawn/alice/other",
        "/hub/%73pawn",
        "https://hub.org/hub/spawn",
    ],
)
def test_the_address_of_a_start_loses_its_options_in_any_spelling(path: str) -> None:
    kept = "next=%2Fuser%2Falice%2Fgit-pull%3Frepo%3Dr"
    assert without_options(f"{path}?opt-x=1&{kept}&y=2", "/hub/") == f"{path}?{kept}"


@pytest.mark.parametrize(
    "url",
    [
        "/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgit.org%2Fr&branch=main",
        "/user/alice/lab/tree/a b?x=1#y",
        "/hub/spawned?x=1",
        "/hub/spawn-pending/alice?x=1",
        "https://provider.org/authorize?state=x&code=y",
        "",
    ],
)
def test_other_addresses_stay_as_they_are(url: str) -> None:
    assert without_options(url, "/hub/") == url


# --- options and their types


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        ("3", Int(min=1, max=12), 3),
        (["3"], Int(min=1, max=12), 3),
        (3, Int(min=1, max=12), 3),
        ("1.5", Float(min=0), 1.5),
        ("true", Bool(), True),
        (False, Bool(), False),
        (["small"], Enum(["small", "large"]), "small"),
        ("feature/x y", Unicode(), "feature/x y"),
        ('"quoted"', Unicode(), '"quoted"'),
    ],
)
def test_an_option_has_its_declared_type(value: object, kind: Any, result: object) -> None:
    assert converted(value, kind) == result
    assert type(converted(value, kind)) is type(result)


@pytest.mark.row(28)
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("13", Int(min=1, max=12)),
        ("x", Int()),
        (True, Int()),
        (["1", "2"], Int()),
        ("medium", Enum(["small", "large"])),
        ({"a": 1}, Enum(["small", "large"])),
        (1, Bool()),
        ("main\n#SBATCH --uid=0", Unicode()),
        ("x" * 257, Unicode()),
        (["a", "b"], Unicode()),
        ({"a": "b"}, Unicode()),
        (None, Unicode()),
    ],
)
def test_any_other_value_is_refused(value: object, kind: Any) -> None:
    with pytest.raises(ValueError, match="expected "):
        converted(value, kind)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("user_options", {"size": str}, r"size: expected one of traitlets' Bool\(\), Int\(\)"),
        ("user_options", {"size": ["a", "b"]}, "size: expected"),
        ("trusted_origins", {"portal.org"}, "expected 'https://portal.example.org'"),
        ("trusted_origins", {"https://portal.org/"}, "expected 'https://portal.example.org'"),
    ],
)
def test_a_declaration_without_meaning_is_refused(
    setting: str, value: object, message: str
) -> None:
    with pytest.raises(TraitError, match=message):
        RequestPolicy(config=Config(RequestPolicy=Config({setting: value})))


def test_a_function_may_decide_what_an_option_is() -> None:
    from tornado.web import HTTPError

    def mounts(value: Any) -> list[str]:
        if not isinstance(value, list) or not set(value) <= {"data", "home"}:
            raise ValueError("expected data, home, or both")
        return value

    policy = RequestPolicy(config=Config(RequestPolicy=Config(user_options={"mounts": mounts})))
    assert policy.accepted({"mounts": ["data"], "x": 1}) == {"mounts": ["data"]}
    with pytest.raises(HTTPError, match=r"mounts: not accepted \(TypeError\)"):
        policy.accepted({"mounts": [{}]})
    with pytest.raises(HTTPError, match="mounts: expected data, home, or both"):
        policy.accepted({"mounts": ["/etc"]})
    assert policy.still_accepted({"mounts": ["/etc"]}) == {}


def test_options_of_a_form_are_bounded() -> None:
    from tornado.web import HTTPError

    policy = RequestPolicy()
    assert policy.accepted(FormOptions(any=["thing"])) == {"any": ["thing"]}
    with pytest.raises(HTTPError, match="expected at most 65536"):
        policy.accepted(FormOptions(any="x" * 65536))


# --- a real hub


@dataclass(frozen=True)
class SmallHub:
    """`small_hub.py`, running."""

    url: str
    directory: Path

    def started_with(self, name: str, server: str = "") -> Any:
        """Return the options of the last start; None: it was not started."""
        record = self.directory / f"{name}:{server}"
        return json.loads(record.read_text()) if record.exists() else None


class Browser(httpx.Client):
    """A browser, logged in; the caller says which site causes a request."""

    def __init__(self, hub: SmallHub, name: str | None = None) -> None:
        super().__init__(base_url=hub.url, follow_redirects=True, trust_env=False, timeout=30)
        self.name = name or next(_names)
        self.hub = hub

    def log_in(self) -> Browser:
        page = self.get("/hub/login?next=/hub/home", headers=OWN)
        fields = {"username": self.name, "_xsrf": xsrf(page)}
        assert self.post("/hub/login?next=/hub/home", data=fields, headers=OWN).is_success
        return self

    def from_another_site(self, path: str, headers: dict[str, str]) -> httpx.Response:
        """Follow a link of another site, from which a browser sends no SameSite=Strict cookie."""
        cookies = {c.name: c.value or "" for c in self.cookies.jar if c.name != "littlest-hub-site"}
        lax = httpx.Client(
            base_url=self.hub.url, follow_redirects=True, trust_env=False, cookies=cookies
        )
        with lax:
            return lax.get(path, headers=headers)

    def api(self, method: str, path: str, body: object = None) -> httpx.Response:
        token = xsrf(self.get("/hub/home", headers=OWN))
        headers = {**OWN, "Sec-Fetch-Mode": "cors", "X-XSRFToken": token}
        return self.request(method, f"/hub/api/users/{self.name}{path}", json=body, headers=headers)

    def submit(self, **fields: str) -> httpx.Response:
        page = self.get("/hub/home", headers=OWN)
        token = {"_xsrf": xsrf(page)}
        return self.post(f"/hub/spawn/{self.name}", params=token, data=fields, headers=OWN)

    def is_logged_in(self) -> bool:
        return self.name in self.get("/hub/home", headers=OWN).text

    def has_server(self) -> bool:
        return 'id="stop"' in self.get("/hub/home", headers=OWN).text


def link(page: httpx.Response, identifier: str) -> str:
    """Return the address of the link with this id."""
    found = re.search(rf'id="{identifier}"[^>]*?href="([^"]*)"', page.text, re.DOTALL)
    assert found, page.text
    return html.unescape(found[1])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallHub]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "state").mkdir()
    program = Path(__file__).with_name("small_hub.py")
    with hub_program.running(program, free_port(), directory) as url:
        yield SmallHub(url, directory)


@pytest.mark.row(28)
@pytest.mark.parametrize("path", ["/hub/spawn", "/hub/spawn/NAME", "/hub/spawn/NAME/lab"])
def test_a_link_of_another_site_shows_a_button_and_carries_no_options(
    hub: SmallHub, path: str
) -> None:
    browser = Browser(hub).log_in()
    server = "lab" if path.endswith("lab") else ""
    path = path.replace("NAME", browser.name)
    kept = "?next=%2Fuser%2Fx%2Fgit-pull%3Frepo%3Dr"
    for headers in OTHERS:
        page = browser.from_another_site(f"{path}{kept}&opt-size=large&size=large&x=1", headers)
        assert link(page, "start") == path + kept
    assert hub.started_with(browser.name, server) is None
    # It has not even created the server's record.
    assert "lab" not in browser.api("GET", "").json()["servers"]
    browser.get(path, headers=OWN)
    assert hub.started_with(browser.name, server) == {}


@pytest.mark.row(28)
def test_a_link_of_the_hub_carries_declared_options_only(hub: SmallHub) -> None:
    browser = Browser(hub).log_in()
    browser.get("/hub/spawn?opt-size=large&opt-hours=3&opt-prologue=touch&x=y", headers=OWN)
    assert hub.started_with(browser.name) == {"size": "large", "hours": 3}
    other = Browser(hub).log_in()
    refused = other.get("/hub/spawn?opt-hours=13", headers=OWN)
    assert refused.status_code == 400
    assert "hours: expected an int at least 1 at most 12" in refused.text
    assert hub.started_with(other.name) is None


@pytest.mark.row(28)
def test_a_site_that_the_administrator_trusts_counts_as_the_hub(hub: SmallHub) -> None:
    browser = Browser(hub).log_in()
    portal = {"Sec-Fetch-Site": "cross-site", "Referer": "https://portal.example.org/"}
    browser.from_another_site("/hub/spawn?opt-size=large", portal)
    assert hub.started_with(browser.name) == {"size": "large"}


@pytest.mark.row(28)
def test_the_api_sets_declared_options_only(hub: SmallHub) -> None:
    browser = Browser(hub).log_in()
    body = {"size": "small", "prologue": "touch /tmp/x", "partition": "$(id)"}
    assert browser.api("POST", "/server", body).is_success
    assert hub.started_with(browser.name) == {"size": "small"}
    assert browser.api("POST", "/servers/a", {"size": "huge"}).status_code == 400
    assert browser.api("POST", "/servers/a", {"user_options": body}).is_success
    assert hub.started_with(browser.name, "a") == {"size": "small"}


@pytest.mark.row(28)
def test_stored_options_are_discarded_when_the_server_starts_again(hub: SmallHub) -> None:
    """As an earlier release, or this API, stores them."""
    browser = Browser(hub).log_in()
    stored = {"user_options": {"size": "small", "hours": 99, "prologue": "touch /tmp/x"}}
    assert browser.api("PUT", "/servers/b", stored).is_success
    assert browser.api("POST", "/servers/b").is_success
    assert hub.started_with(browser.name, "b") == {"size": "small"}
    assert browser.api("GET", "/servers/b").json()["user_options"] == {"size": "small"}


@pytest.mark.row(28)
def test_a_form_sets_what_the_fragment_makes_of_it(hub: SmallHub) -> None:
    browser = Browser(hub, "form-filler").log_in()
    # A link, even of the hub, shows the form only.
    page = browser.get("/hub/spawn?opt-free=x&free=x", headers=OWN)
    assert "name=free" in page.text
    assert hub.started_with(browser.name) is None
    browser.submit(free="any thing")
    assert hub.started_with(browser.name) == {"free": ["any thing"]}


@pytest.mark.row(28)
def test_a_form_that_no_fragment_declares_sets_declared_options_only(hub: SmallHub) -> None:
    browser = Browser(hub).log_in()
    browser.submit(free="any thing", hours="2")
    assert hub.started_with(browser.name) == {"hours": 2}


@pytest.mark.row(28)
def test_another_site_logs_nobody_out_and_stops_no_server(hub: SmallHub) -> None:
    browser = Browser(hub).log_in()
    browser.get("/hub/spawn", headers=OWN)
    for headers in OTHERS:
        page = browser.from_another_site("/hub/logout", headers)
        assert link(page, "confirm-logout") == "/hub/logout"
    assert browser.is_logged_in()
    assert browser.has_server()
    assert "login" in str(browser.get("/hub/logout", headers=OWN).url)
    assert not browser.is_logged_in()


@pytest.mark.row(28)
def test_another_site_cannot_submit_the_login_form_whatever_its_token(hub: SmallHub) -> None:
    browser = Browser(hub)
    token = xsrf(browser.get("/hub/login"))
    fields = {"username": "mallory", "_xsrf": token}
    for headers in ({"Origin": "http://evil.example.org"}, {"Sec-Fetch-Site": "cross-site"}):
        assert browser.post("/hub/login", data=fields, headers=headers).status_code == 403
    assert not browser.cookies.get("jupyterhub-hub-login")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Origin": "null"}, "Referrer-Policy: no-referrer"),
        ({"Origin": "http://127.0.0.1:8443"}, "proxy_set_header Host $http_host;"),
        ({"Origin": "https://hub.example.org"}, "c.JupyterHub.public_url"),
    ],
)
def test_a_refused_login_form_says_what_a_proxy_in_front_has_to_change(
    hub: SmallHub, headers: dict[str, str], said: str
) -> None:
    browser = Browser(hub)
    fields = {"username": "erin", "_xsrf": xsrf(browser.get("/hub/login"))}
    page = browser.post("/hub/login", data=fields, headers=headers)
    assert page.status_code == 403
    text = html.unescape(page.text)
    assert said in text
    assert "how-to/behind-nginx" in text
    # The browser knows that it is another site's.
    other = browser.post("/hub/login", data=fields, headers=headers | OTHERS[3])
    assert other.status_code == 403
    assert "proxy" not in other.text


@pytest.mark.row(28)
@pytest.mark.parametrize("headers", OTHERS[:2])
def test_a_page_of_a_stopped_server_starts_it_by_itself_only_for_the_hubs_own_links(
    hub: SmallHub, headers: dict[str, str]
) -> None:
    browser = Browser(hub).log_in()
    path = f"/hub/user/{browser.name}/lab?x=1"
    assert "implicit_spawn_seconds = 0.5" in browser.get(path, headers=OWN).text
    page = browser.from_another_site(path, headers)
    assert "implicit_spawn_seconds" not in page.text
    assert f"next=%2Fhub%2Fuser%2F{browser.name}%2Flab%3Fx%3D1" in link(page, "start")


@pytest.mark.row(28)
def test_a_link_into_a_server_keeps_its_target_over_the_button(hub: SmallHub) -> None:
    browser = Browser(hub).log_in()
    course = "/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgit.org%2Fr&branch=main"
    page = browser.from_another_site(course, OTHERS[0])
    browser.follow_redirects = False
    browser.get(link(page, "start"), headers=OWN)
    eventually(lambda: browser.has_server(), 30, "the server")
    there = browser.from_another_site(course, OTHERS[0])
    target = f"/user/{browser.name}/git-pull?repo=https%3A%2F%2Fgit.org%2Fr&branch=main"
    assert target in {str(each.url.raw_path.decode()) for each in [*there.history, there]}


@pytest.mark.row(28)
def test_a_login_does_not_carry_options_on(hub: SmallHub) -> None:
    browser = Browser(hub)
    target = "/hub/login?next=%2Fhub%2Fspawn%3Fopt-size%3Dlarge"
    fields = {"username": browser.name, "_xsrf": xsrf(browser.get(target))}
    browser.post(target, data=fields, headers=OWN)
    assert hub.started_with(browser.name) == {}


@pytest.mark.row(28)
def test_options_that_the_hub_or_a_trusted_site_asked_for_survive_the_login(hub: SmallHub) -> None:
    portal = {"Sec-Fetch-Site": "cross-site", "Referer": "https://portal.example.org/"}
    address = "/hub/spawn?opt-size=large&opt-branch=a%20b"
    for headers, options in (
        (portal, {"size": "large", "branch": "a b"}),
        (OWN, {"size": "large", "branch": "a b"}),
        *((others, {}) for others in OTHERS),
    ):
        browser = Browser(hub)
        form = browser.get(address, headers=headers)
        assert form.url.path == "/hub/login"
        fields = {"username": browser.name, "_xsrf": xsrf(form)}
        browser.post(str(form.url), data=fields, headers=OWN)
        assert hub.started_with(browser.name) == options


@pytest.mark.row(28)
def test_options_that_were_kept_over_a_login_are_no_other_ones(hub: SmallHub) -> None:
    browser = Browser(hub)
    browser.get("/hub/spawn?opt-size=small", headers=OWN)
    target = "/hub/login?next=%2Fhub%2Fspawn%3Fopt-size%3Dlarge"
    fields = {"username": browser.name, "_xsrf": xsrf(browser.get(target))}
    browser.post(target, data=fields, headers=OWN)
    assert hub.started_with(browser.name) == {}


def test_a_program_that_logs_in_without_naming_a_site_is_redirected(hub: SmallHub) -> None:
    program = Browser(hub)
    program.follow_redirects = False
    login = "/hub/login?next=/hub/home"
    fields = {"username": program.name, "_xsrf": xsrf(program.get(login))}
    assert program.post(login, data=fields).headers["location"] == "/hub/home"


@pytest.mark.row(28)
def test_a_login_at_a_provider_counts_as_the_hubs_if_the_hub_began_it(hub: SmallHub) -> None:
    back = "/hub/callback?code=NAME&next=%2Fhub%2Fspawn%3Fopt-size%3Dlarge"
    own, forged = Browser(hub), Browser(hub)
    for browser, headers in ((own, OWN), (forged, OTHERS[0])):
        browser.follow_redirects = False
        begun = browser.get("/hub/provider", headers=headers)
        assert begun.headers["location"].startswith("http://127.0.0.2:1/authorize")
    page = own.get(back.replace("NAME", own.name), headers=OTHERS[0])
    # A page of the hub goes on, so that the next request is the hub's own; without options.
    assert 'content="0; url=/hub/spawn"' in page.text
    page = forged.get(back.replace("NAME", forged.name), headers=OTHERS[0])
    assert page.headers["location"] == "/hub/spawn"
    page = forged.from_another_site("/hub/spawn", OTHERS[0])
    assert link(page, "start") == "/hub/spawn"


@pytest.mark.row(28)
@pytest.mark.parametrize("address", ["/hub/callback", "/hub/launch"])
def test_a_launch_of_a_learning_platform_counts_as_the_hubs(hub: SmallHub, address: str) -> None:
    browser = Browser(hub)
    browser.follow_redirects = False
    target = "/hub/user-redirect/git-pull?repo=r&branch=%22%3Cb"
    page = launch(browser, browser.name, target, address)
    done = browser.get(continuation(page), headers=OWN)
    assert done.headers["location"] == target
    assert browser.is_logged_in()


@pytest.mark.row(28)
def test_another_site_cannot_exchange_the_account(hub: SmallHub) -> None:
    browser = Browser(hub).log_in()
    # A browser sends its cookies with the first, but not with a POST of another site.
    page = launch(Browser(hub), "mallory", "/hub/home")
    for answer in (
        browser.get("/hub/callback?code=mallory", headers=OTHERS[0]),
        browser.get(continuation(page), headers=OWN),
    ):
        assert answer.status_code == 403
        assert f"you are logged in as {browser.name}. Log out first" in html.unescape(answer.text)
    assert browser.is_logged_in()
    # Nor can it hand on its own ticket.
    for headers in OTHERS:
        other = Browser(hub)
        other.from_another_site(continuation(page), headers)
        assert other.from_another_site("/hub/home", OWN).url.path == "/hub/login"


def launch(
    browser: Browser, name: str, target: str, address: str = "/hub/callback"
) -> httpx.Response:
    """Return the hub's answer to a form that a learning platform's page has sent."""
    fields = {"code": name, "next": target}
    answer = browser.post(address, data=fields, headers=OTHERS[0])
    assert "jupyterhub-hub-login" not in answer.cookies
    return answer


def continuation(page: httpx.Response) -> str:
    """Return the address that a page goes on to by itself."""
    found = re.search(r'content="0; url=([^"]*)"', page.text)
    assert found, page.text
    return html.unescape(found[1])
