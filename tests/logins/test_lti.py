"""Launches from a learning platform (LTI 1.3) of our own, tests/learning_platform.py."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.catalogue import filled
from tests.certificates import make
from tests.hub import Hub
from tests.identity_provider import follow, submit
from tests.learning_platform import Platform, serving
from tests.logins.conftest import kind, person

USERS: dict[str, dict[str, object]] = {
    "ada": {"email": "Ada@Example.org"},
    "hidden": {},
}
SPEC = "https://purl.imsglobal.org/spec"
AUTHORITY = "/etc/ssl/certs/platform.pem"


@pytest.fixture(scope="module")
def platform(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose certificate the hub trusts."""
    # The host's side of the machine's network.
    address = hub.machine.address.rpartition(".")[0] + ".1"
    certificate, key = make(tmp_path_factory.mktemp("platform"), address)
    hub.machine.put(AUTHORITY, certificate.read_text())
    drop_in = f"/etc/systemd/system/{hub.layout.hub_service}.d/50-platform.conf"
    hub.machine.put(drop_in, f"[Service]\nEnvironment=SSL_CERT_FILE={AUTHORITY}\n")
    hub.machine.systemctl("daemon-reload")
    hub.machine.systemctl("restart", hub.layout.hub_service)
    found = Platform(f"https://{address}:9444", hub.url, USERS)
    text = filled("41-lti.py", found.settings())
    with serving(found, certificate, key), kind(hub, "41-lti.py", text):
        yield found
    hub.machine.run(["rm", drop_in])
    hub.machine.systemctl("daemon-reload")
    hub.machine.systemctl("restart", hub.layout.hub_service)


def launch(browser: httpx.Client, platform: Platform, user: str) -> httpx.Response:
    """Open the link in the course, as a browser does: no cookies go with a form of another site.

    The two cookies of the launch do, which are for that.
    """
    origin = httpx.Request("GET", platform.url)
    course = httpx.Response(200, text=platform.course(user), request=origin)
    cross_site = {"Origin": platform.url, "Sec-Fetch-Site": "cross-site"}
    browser.follow_redirects = False
    asked = submit_from(browser, course, cross_site)
    assert asked.is_redirect, asked.text
    cookies = asked.headers.get_list("set-cookie")
    ours = [each for each in cookies if each.startswith("lti13authenticator")]
    assert len(ours) == 2
    assert all("samesite=none" in each.lower() and "secure" in each.lower() for each in ours)
    query = httpx.URL(asked.headers["Location"]).params
    answer = httpx.Response(200, text=platform.answer(dict(query)), request=origin)
    browser.follow_redirects = True
    return follow(browser, submit_from(browser, answer, cross_site))


def submit_from(
    browser: httpx.Client, page: httpx.Response, headers: dict[str, str]
) -> httpx.Response:
    browser.headers.update(headers)
    try:
        return submit(browser, page)
    finally:
        for name in headers:
            del browser.headers[name]


def test_a_person_in_a_course_opens_the_hub_and_works(
    hub: Hub, platform: Platform, trusted: Path
) -> None:
    members = {"context_memberships_url": "https://lms.example.org/courses/7/members"}
    platform.changes = {f"{SPEC}/lti-nrps/claim/namesroleservice": members}
    with person(hub, "ada@example.org", trusted) as ada:
        try:
            page = launch(ada.browser, platform, "ada")
        finally:
            platform.changes = {}
        assert page.url.path == "/hub/home", page.text
        journal = hub.machine.run(["journalctl", "-u", hub.layout.hub_service]).stdout
        assert f"--members-url={members['context_memberships_url']}" in journal
        found = ada.browser.get("/hub/api/user").json()
        # A teacher there administers nothing here.
        assert (found["name"], found["admin"]) == ("ada@example.org", False)
        ada.start_server()
        assert ada.run_cell("6 * 7") == "42"
        ada.stop_server()


@pytest.mark.parametrize(
    ("user", "changes", "status", "reason"),
    [
        ("hidden", {}, 400, "does not say who you are"),
        ("ada", {"nonce": "of-an-earlier-launch"}, 400, "nonce mismatch"),
        ("ada", {"iss": "https://platform.example.org"}, 400, "issuer"),
        ("ada", {"aud": "another-tool"}, 401, "udience"),
        ("ada", {"exp": 1}, 400, "expired"),
        ("ada", {"email": "\N{KELVIN SIGN}im@example.org"}, 403, "another spelling"),
    ],
)
def test_a_token_that_is_not_for_this_launch_logs_nobody_in(
    hub: Hub,
    platform: Platform,
    trusted: Path,
    user: str,
    changes: dict[str, object],
    status: int,
    reason: str,
) -> None:
    platform.changes = changes
    try:
        refused(hub, platform, trusted, user, status, reason)
    finally:
        platform.changes = {}


def test_a_forged_token_logs_nobody_in(hub: Hub, platform: Platform, trusted: Path) -> None:
    platform.is_forged = True
    try:
        refused(hub, platform, trusted, "ada", 400, "ignature")
    finally:
        platform.is_forged = False


def refused(
    hub: Hub, platform: Platform, trusted: Path, user: str, status: int, reason: str
) -> None:
    with person(hub, "ada", trusted) as stranger:
        page = launch(stranger.browser, platform, user)
        text = html.unescape(re.sub(r"<[^>]*>", " ", page.text))
        assert (page.status_code, reason in text) == (status, True), text
        assert stranger.browser.get("/hub/api/user").status_code == 403
