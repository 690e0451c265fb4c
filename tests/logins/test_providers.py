"""Logins at a provider of OpenID Connect, as which the tests also play GitHub and Google."""

import html
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import identity_provider
from tests.catalogue import filled
from tests.client import Person
from tests.hub import Hub
from tests.identity_provider import Provider, submit
from tests.logins.conftest import HTTPS, kind, person
from tests.machine import Machine

GITHUB = {"id": 7, "name": "Ada L.", "email": None}
USERS: dict[str, dict[str, object]] = {
    "ada": {"preferred_username": "ada", "groups": ["class"]},
    "Ada": {"preferred_username": "Ada", "groups": ["class"]},
    "eve": {"preferred_username": "eve", "groups": []},
    "root": {"preferred_username": "root", "groups": ["class"]},
    "long": {"preferred_username": "a" * 64, "groups": ["class"]},
    "path": {"preferred_username": "../ada", "groups": ["class"]},
    "nobody": {"groups": ["class"]},
    "teacher": {"preferred_username": "teacher", "groups": ["teachers"]},
    "octo": {"login": "Octo-Cat", **GITHUB},
    "thief": {"login": "ada", **GITHUB},
    "gina": {"email": "Gina@Example.org", "verified_email": True, "hd": "example.org"},
    "greg": {"email": "greg@example.org", "verified_email": False, "hd": "example.org"},
    "gus": {"email": "gus@gmail.com", "verified_email": True},
}


@pytest.fixture(scope="module")
def there(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    assert isinstance(hub.machine, Machine)
    directory = tmp_path_factory.mktemp("provider")
    callback = f"{hub.url}/hub/oauth_callback"
    with identity_provider.provider(hub.machine, directory, callback, USERS) as provider:
        for name in ("github", "google", "oidc"):
            secret = f"/etc/littlest-hub/{name}.secret"
            hub.machine.put(secret, provider.client_secret, mode=0o600)
        yield provider


@pytest.fixture
def browsers(there: Provider, trusted: Path) -> Path:
    """Certificates that browsers of people trust: of the hub and of the provider."""
    with trusted.open("a") as file:
        file.write(there.certificate.read_text())
    return trusted


def settings(hub: Hub, there: Provider, more: str) -> str:
    # The callback is the one that the hub finds out itself.
    callback = f"{hub.url}/hub/oauth_callback"
    lines = there.settings(callback).splitlines(keepends=True)
    return "".join(line for line in lines if "callback" not in line) + more


def refusal(hub: Hub, name: str, browsers: Path) -> tuple[int, str]:
    """Return how a login ends that the hub refuses."""
    with person(hub, name, browsers) as stranger:
        page = identity_provider.log_in(stranger.browser, name)
        assert stranger.browser.get("/hub/home").url.path == "/hub/login"
        return page.status_code, html.unescape(page.text)


def works(hub: Hub, typed: str, name: str, browsers: Path) -> None:
    """Log in, start a server, and run a cell."""
    with person(hub, name, browsers) as ada:
        page = identity_provider.log_in(ada.browser, typed)
        assert page.url.path == "/hub/home", page.text
        assert me(ada)["name"] == name
        ada.start_server()
        assert ada.run_cell("6 * 7") == "42"
        ada.stop_server()


def me(someone: Person) -> dict[str, object]:
    found: dict[str, object] = someone.browser.get("/hub/api/user").json()
    return found


# --- any provider


def test_names_that_are_not_one_persons_or_not_names_are_refused(
    hub: Hub, there: Provider, browsers: Path
) -> None:
    everyone = settings(hub, there, "c.Authenticator.allow_all = True\n")
    with kind(hub, "41-oidc.py", filled("41-oidc.py", everyone)):
        works(hub, "ada", "ada", browsers)
        for name, reason in (
            ("Ada", "another spelling is not another person"),
            ("long", "may not use this hub. User names here have at most 63"),
            ("path", "may not use this hub. User names here have at most 63"),
            ("nobody", "single sign-on has not completed your login"),
        ):
            status, text = refusal(hub, name, browsers)
            assert (status, reason in text) == (502 if name == "nobody" else 403, True), text
        # "root" there is nobody's account here.
        with person(hub, "root", browsers) as root:
            assert identity_provider.log_in(root.browser, "root").url.path == "/hub/home"
            root.start_server()
            answer = root.run_cell("import os; os.getuid() > 60000, os.path.expanduser('~')")
            assert answer == f"(True, '{hub.layout.dynamic_homes[0]}/root')"
            root.stop_server()


def test_groups_count_only_if_a_fragment_says_so(hub: Hub, there: Provider, browsers: Path) -> None:
    only = settings(hub, there, 'c.Authenticator.allowed_users = {"teacher"}\n')
    with kind(hub, "41-oidc.py", filled("41-oidc.py", only)):
        with person(hub, "teacher", browsers) as teacher:
            identity_provider.log_in(teacher.browser, "teacher")
            assert me(teacher)["admin"] is False
        assert refusal(hub, "ada", browsers)[0] == 403
    groups = settings(
        hub,
        there,
        "c.OAuthenticator.manage_groups = True\n"
        'c.OAuthenticator.auth_state_groups_key = "oauth_user.groups"\n'
        'c.OAuthenticator.allowed_groups = {"class"}\n'
        'c.OAuthenticator.admin_groups = {"teachers"}\n',
    )
    with kind(hub, "41-oidc.py", filled("41-oidc.py", groups)):
        with person(hub, "ada", browsers) as ada:
            assert identity_provider.log_in(ada.browser, "ada").url.path == "/hub/home"
            assert me(ada)["admin"] is False
        with person(hub, "teacher", browsers) as teacher:
            identity_provider.log_in(teacher.browser, "teacher")
            assert me(teacher)["admin"] is True
        assert refusal(hub, "eve", browsers)[0] == 403


def test_what_the_fragment_says_no_more_ends_at_the_reload(
    hub: Hub, there: Provider, browsers: Path
) -> None:
    def named(users: str, administrators: str) -> str:
        more = f"{{{users}}}\nc.Authenticator.admin_users = {{{administrators}}}\n"
        return filled("41-oidc.py", settings(hub, there, f"c.Authenticator.allowed_users = {more}"))

    with (
        kind(hub, "41-oidc.py", named('"ada"', '"teacher"')),
        person(hub, "ada", browsers) as ada,
        person(hub, "teacher", browsers) as teacher,
    ):
        identity_provider.log_in(ada.browser, "ada")
        identity_provider.log_in(teacher.browser, "teacher")
        ada.start_server()
        assert me(teacher)["admin"] is True
        hub.write_fragment("41-oidc.py", named('"teacher"', '"chief"'))
        hub.reload()
        assert ada.browser.get("/hub/home").url.path == "/hub/login"
        assert ada.browser.get("/hub/api/user").status_code == 403
        running = hub.machine.systemctl("list-units", "--plain", f"{hub.layout.instance}.user-*")
        assert "ada" not in running.stdout
        assert me(teacher)["admin"] is False


def test_a_provider_that_fails_is_one_sentence_and_no_secret_in_the_journal(
    hub: Hub, there: Provider, browsers: Path
) -> None:
    for line, reason in (
        (f"c.OAuthenticator.token_url = 'https://{hub.machine.address}:9/'\n", "refused"),
        ("c.OAuthenticator.client_secret = 'not-the-secret-8172'\n", "401"),
        ("c.OAuthenticator.http_request_kwargs = {}\n", "certificate verify failed"),
    ):
        with kind(hub, "41-oidc.py", filled("41-oidc.py", settings(hub, there, line))):
            status, text = refusal(hub, "ada", browsers)
            assert status == 502
            assert "single sign-on has not completed your login" in text
            assert "Traceback" not in text
        journal = hub.machine.journal(lines=300)
        assert any("not completed a login" in x and reason in x for x in journal.splitlines())
    for secret in (there.client_secret, "not-the-secret-8172"):
        assert secret not in hub.machine.journal(lines=2000)


def test_an_answer_that_this_browser_has_not_asked_for_logs_nobody_in(
    hub: Hub, there: Provider, browsers: Path
) -> None:
    everyone = settings(hub, there, "c.Authenticator.allow_all = True\n")
    with kind(hub, "41-oidc.py", filled("41-oidc.py", everyone)):
        with person(hub, "eve", browsers) as eve:
            eve.browser.follow_redirects = False
            page = eve.browser.get("/hub/oauth_login")
            while not page.headers.get("Location", "").startswith(f"{hub.url}/hub/oauth_callback"):
                if page.is_redirect:
                    page = eve.browser.get(str(page.url.join(page.headers["Location"])))
                else:
                    fields = {"login": "eve", "password": "any"}
                    is_login = 'name="login"' in page.text
                    page = submit(eve.browser, page, **(fields if is_login else {}))
            stolen = page.headers["Location"]
        with person(hub, "ada", browsers) as ada:
            assert ada.browser.get(stolen).status_code == 400
            assert ada.browser.get("/hub/home").url.path == "/hub/login"


def test_a_login_over_http_is_refused(hub: Hub, there: Provider) -> None:
    everyone = settings(hub, there, "c.Authenticator.allow_all = True\n")
    hub.write_fragment("20-https.py", "")
    try:
        with (
            kind(hub, "41-oidc.py", filled("41-oidc.py", everyone)),
            Person(hub.url.replace("https:", "http:"), "ada", "") as ada,
        ):
            page = ada.browser.get("/hub/oauth_login")
            assert page.status_code == 400
            assert "enable https" in page.text
    finally:
        hub.write_fragment("20-https.py", HTTPS)


# --- GitHub and Google: other addresses and claims


def test_github(hub: Hub, there: Provider, browsers: Path) -> None:
    more = 'c.OAuthenticator.scope = ["openid"]\nc.Authenticator.allowed_users = {"octo-cat"}\n'
    with kind(hub, "41-github.py", filled("41-github.py", settings(hub, there, more))):
        works(hub, "octo", "octo-cat", browsers)
        status, text = refusal(hub, "thief", browsers)
        assert status == 403
        assert "You are ada at GitHub, but may not use this hub" in text


def test_google(hub: Hub, there: Provider, browsers: Path) -> None:
    more = 'c.OAuthenticator.scope = ["openid"]\n'
    one = f'{more}c.Authenticator.allowed_users = {{"gina@example.org"}}\n'
    with kind(hub, "41-google.py", filled("41-google.py", settings(hub, there, one))):
        works(hub, "gina", "gina@example.org", browsers)
        assert refusal(hub, "gus", browsers)[0] == 403
    domain = (
        f'{more}c.GoogleOAuthenticator.hosted_domain = ["example.org"]\n'
        "c.Authenticator.allow_all = True\n"
    )
    with kind(hub, "41-google.py", filled("41-google.py", settings(hub, there, domain))):
        with person(hub, "gina", browsers) as gina:
            assert identity_provider.log_in(gina.browser, "gina").url.path == "/hub/home"
            assert me(gina)["name"] == "gina"
        assert refusal(hub, "gus", browsers)[0] == 403
        status, text = refusal(hub, "greg", browsers)
        assert status == 403
        assert "whether your address is yours" in text
