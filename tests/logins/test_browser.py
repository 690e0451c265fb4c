"""Logins at another web site as a person sees them, in a real Chromium."""

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium.webdriver import Chrome, Keys

from tests import identity_provider
from tests.browser.pages import answer_to, shown
from tests.catalogue import filled
from tests.hub import Hub
from tests.identity_provider import Provider
from tests.logins.conftest import kind
from tests.machine import Machine

USERS = {name: {"preferred_username": name} for name in ("ada", "eve")}


@pytest.fixture(scope="module")
def there(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    assert isinstance(hub.machine, Machine)
    directory = tmp_path_factory.mktemp("provider")
    callback = f"{hub.url}/hub/oauth_callback"
    with identity_provider.provider(hub.machine, directory, callback, USERS) as provider:
        secret = provider.client_secret
        hub.machine.put("/etc/littlest-hub/oidc.secret", secret, mode=0o600)
        more = 'c.Authenticator.allowed_users = {"ada"}\n'
        text = filled("41-oidc.py", provider.settings(callback) + more)
        with kind(hub, "41-oidc.py", text):
            yield provider


@pytest.fixture
def arguments(there: Provider, certificate: list[Path]) -> list[str]:
    """Arguments that make the browser trust the hub and the provider."""
    return trusting(there.certificate, certificate[0])


def trusting(*certificates: Path) -> list[str]:
    """Return arguments that make a browser trust certificates."""
    keys = [
        x509.load_pem_x509_certificate(file.read_bytes())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for file in certificates
    ]
    prints = [base64.b64encode(hashlib.sha256(key).digest()).decode() for key in keys]
    return [f"--ignore-certificate-errors-spki-list={','.join(prints)}"]


def picture(browser: Chrome, name: str) -> None:
    """Save what the browser shows, if somebody wants to look: PICTURES=DIRECTORY."""
    if directory := os.environ.get("PICTURES"):
        browser.save_screenshot(str(Path(directory) / f"{name}.png"))


def log_in(hub: Hub, browser: Chrome, name: str) -> None:
    browser.get(f"{hub.url}/")
    button = shown(browser, "a.btn-jupyter")
    assert button.text == "Sign in with single sign-on"
    picture(browser, f"{name}-1-login")
    button.click()
    shown(browser, "input[name=login]").send_keys(name)
    picture(browser, f"{name}-2-provider")
    shown(browser, "input[name=password]").send_keys("any", Keys.ENTER)
    shown(browser, "form[action$='/confirm'], button[type=submit]")
    picture(browser, f"{name}-3-consent")
    shown(browser, "button[type=submit]").click()


def test_a_person_logs_in_at_the_provider_and_runs_a_cell(hub: Hub, browser: Chrome) -> None:
    log_in(hub, browser, "ada")
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90).click()
    assert answer_to(browser, "import getpass; getpass.getuser()") == "'ada'"
    picture(browser, "ada-4-notebook")


def test_a_stranger_sees_why_not(hub: Hub, browser: Chrome) -> None:
    log_in(hub, browser, "eve")
    message = shown(browser, ".error p:not(:empty)").text
    page = browser.find_element("tag name", "body").text
    assert "You are eve at single sign-on, but may not use this hub" in page, message
    picture(browser, "eve-4-refused")
