"""An OpenID Connect provider that somebody else wrote: npm's oidc-provider, on a test machine."""

from __future__ import annotations

import html
import json
import re
import secrets
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx

from tests.certificates import make
from tests.eventually import eventually
from tests.machine import Machine
from tests.npm import installed, node_home

HERE = Path(__file__).parent
CLIENT_ID = "the-hub"
CERTIFICATE = "/etc/ssl/certs/identity-provider.pem"
_PACKAGES = ("package.json", "package-lock.json")


@dataclass(frozen=True)
class Provider:
    """A running provider."""

    url: str
    client_secret: str
    certificate: Path
    """Self-signed; on the machine it is `CERTIFICATE`."""

    def settings(self, callback: str) -> str:
        """Return lines of a fragment that make a kind of login use this provider."""
        trusted = {"ca_certs": CERTIFICATE, "connect_timeout": 5, "request_timeout": 10}
        return (
            f"c.OAuthenticator.client_id = {CLIENT_ID!r}\n"
            f"c.OAuthenticator.authorize_url = {self.url + '/auth'!r}\n"
            f"c.OAuthenticator.token_url = {self.url + '/token'!r}\n"
            f"c.OAuthenticator.userdata_url = {self.url + '/me'!r}\n"
            f"c.OAuthenticator.http_request_kwargs = {trusted!r}\n"
            f"c.OAuthenticator.oauth_callback_url = {callback!r}\n"
        )


@contextmanager
def provider(
    machine: Machine, directory: Path, callback: str, users: Mapping[str, Mapping[str, object]]
) -> Iterator[Provider]:
    """Run a provider in the network of a machine.

    Args:
        machine: of the hub.
        directory: for files.
        callback: of the hub, to which the provider sends browsers back.
        users: claims by the name that a user types at the provider.
    """
    node, packages = _programs()
    url, secret = f"https://{machine.address}:9443", secrets.token_urlsafe(32)
    # A subject of its own: the hub's certificate may have the address as its subject.
    certificate, key = make(directory, "identity-provider", machine.address)
    client = {
        "client_id": CLIENT_ID,
        "client_secret": secret,
        "redirect_uris": [callback],
        "token_endpoint_auth_method": "client_secret_post",
    }
    settings = {
        "issuer": url,
        "clients": [client],
        "users": users,
        "cookie_key": secrets.token_urlsafe(),
        "certificate": str(certificate),
        "key": str(key),
    }
    (directory / "provider.json").write_text(json.dumps(settings))
    command = [str(node), str(packages / "provider.mjs"), str(directory / "provider.json")]
    machine.put(CERTIFICATE, certificate.read_text())
    output = (directory / "provider.log").open("w")
    with (
        output,
        subprocess.Popen(
            machine.in_network(command), stdout=output, stderr=subprocess.STDOUT
        ) as running,
    ):
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            found = f"{url}/.well-known/openid-configuration"

            def answers() -> bool:
                log = (directory / "provider.log").read_text()
                assert running.poll() is None, log
                try:
                    return httpx.get(found, verify=context, trust_env=False).is_success
                except httpx.TransportError as error:
                    raise AssertionError(f"{error}\n{log}") from error

            eventually(answers, 30, f"a provider at {url}")
            yield Provider(url, secret, certificate)
        finally:
            running.kill()


def log_in(client: httpx.Client, name: str) -> httpx.Response:
    """Log in at the hub through the provider, and return the page that it leads to.

    Args:
        client: a browser's, whose base URL is the hub's; it trusts the provider.
        name: that is typed at the provider.
    """
    typed = {"Sec-Fetch-Site": "none"}
    page = client.get("/hub/oauth_login?next=/hub/home", headers=typed)
    forms = iter(({"login": name, "password": "any"}, {}))
    while "/interaction/" in page.url.path:
        page = submit(client, page, **next(forms))
    return follow(client, page)


def submit(client: httpx.Client, page: httpx.Response, **more: str) -> httpx.Response:
    """Fill in the form of a page, and return the page that it leads to."""
    action = re.search(r'<form[^>]* action="([^"]*)"', page.text)
    assert action, page.text
    hidden = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', page.text)
    fields = {name: html.unescape(value) for name, value in hidden}
    return client.post(urljoin(str(page.url), html.unescape(action[1])), data={**fields, **more})


def follow(client: httpx.Client, page: httpx.Response) -> httpx.Response:
    """Go on from a page that leads to another by itself, as a browser does."""
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', page.text)
    if not found:
        return page
    headers = {"Referer": str(page.url), "Sec-Fetch-Site": "same-origin"}
    return client.get(urljoin(str(page.url), html.unescape(found[1])), headers=headers)


def _programs() -> tuple[Path, Path]:
    """Return Node.js from PyPI, and a directory with the provider and its packages from npm."""
    files = [HERE / name for name in (*_PACKAGES, "provider.mjs")]
    return node_home() / "bin" / "node", installed("identity-provider", files)
