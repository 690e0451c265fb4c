"""The certificate as a browser sees it, and notebooks over HTTPS."""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium.webdriver import Chrome, Keys

from tests.acme import authority, hub_with_authority, obtain
from tests.browser.pages import answer_to, shown
from tests.hub import Hub

NAME = "hub.example.org"


@pytest.fixture(scope="module")
def hub(installer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with a certificate of an authority that only the browser of these tests trusts."""
    with hub_with_authority(installer, tmp_path_factory.mktemp("authority")) as hub:
        obtain(hub, "http-01", NAME)
        yield hub


@pytest.fixture
def arguments(hub: Hub) -> list[str]:
    """Arguments that resolve the hub's name and trust its authority."""
    # The key of the certificate that the server presents, which is not the root's.
    pem = authority(hub, "intermediates").encode()
    key = (
        x509.load_pem_x509_certificate(pem)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    fingerprint = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return [
        f"--host-resolver-rules=MAP {NAME} {hub.machine.address}",
        f"--ignore-certificate-errors-spki-list={fingerprint}",
    ]


@pytest.mark.row(7)
def test_a_person_is_led_to_a_page_that_the_browser_calls_secure(hub: Hub, browser: Chrome) -> None:
    password = secrets.token_urlsafe()
    hub.machine.add_user("alice", password)
    browser.get(f"http://{NAME}/")
    shown(browser, "#username_input").send_keys("alice")
    assert browser.current_url.startswith(f"https://{NAME}/hub/login")
    page = next(each for each in answers(browser) if each["url"] == browser.current_url)
    assert page["securityState"] == "secure"
    details = page["securityDetails"]
    assert details["protocol"] == "TLS 1.3"
    assert details["sanList"] == [NAME]
    assert details["issuer"].startswith("Pebble Intermediate CA")
    assert page["protocol"] == "h2"

    shown(browser, "#password_input").send_keys(password, Keys.ENTER)
    shown(browser, ".jp-LauncherCard[data-category='Notebook']", timeout_s=90).click()
    assert answer_to(browser, "6 * 7") == "42"
    met = "Network.webSocketHandshakeResponseReceived"
    assert responses(browser, met)


def answers(browser: Chrome) -> list[dict[str, Any]]:
    """Return the network events since the last call."""
    return responses(browser, "Network.responseReceived")


def responses(browser: Chrome, event: str) -> list[dict[str, Any]]:
    """Return events of one kind (https://chromedevtools.github.io/devtools-protocol/)."""
    entries: Callable[[str], list[dict[str, str]]] = browser.get_log
    messages = [json.loads(entry["message"])["message"] for entry in entries("performance")]
    return [each["params"]["response"] for each in messages if each["method"] == event]
