"""A learning platform of our own, for LTI 1.3: what a platform does at a launch, and no more.

No platform that somebody else wrote is small enough to run in a test. The steps are those of the
1EdTech Security Framework 1.0, 5.1: the platform sends the browser to the tool, the tool to the
platform, which answers with a form that contains a signed token.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

CLIENT_ID = "hub-in-course-7"
_CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"


class Platform:
    """A platform with one tool, the hub.

    Args:
        url: its own address.
        hub: the hub's address.
        users: claims by the name of a user.
    """

    def __init__(self, url: str, hub: str, users: Mapping[str, Mapping[str, object]]) -> None:
        self.url = url
        self.hub = hub
        self.users = users
        self._key = rsa.generate_private_key(65537, 2048)
        self._other_key = rsa.generate_private_key(65537, 2048)
        self.changes: dict[str, object] = {}
        """Claims that replace those of the next tokens."""
        self.is_forged = False
        """Sign with a key that the platform does not publish."""

    def settings(self) -> str:
        """Return lines of a fragment that name this platform."""
        return (
            f"c.LTI13Authenticator.issuer = {self.url!r}\n"
            f"c.LTI13Authenticator.client_id = {{{CLIENT_ID!r}}}\n"
            f"c.LTI13Authenticator.authorize_url = {self.url + '/auth'!r}\n"
            f"c.LTI13Authenticator.jwks_endpoint = {self.url + '/certs'!r}\n"
        )

    def course(self, user: str) -> str:
        """Return the page of a course, with the link that a user opens."""
        fields = {
            "iss": self.url,
            "login_hint": user,
            "client_id": CLIENT_ID,
            "target_link_uri": f"{self.hub}/hub/home",
        }
        return _form(f"{self.hub}/hub/lti13/oauth_login", fields, "Open the hub")

    def keys(self) -> str:
        """Return the public keys (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig"}
        size = {"n": numbers.n, "e": numbers.e}
        encoded = {
            k: _base64(v.to_bytes((v.bit_length() + 7) // 8, "big")) for k, v in size.items()
        }
        return json.dumps({"keys": [{**key, **encoded}]})

    def answer(self, asked: Mapping[str, str]) -> str:
        """Return the form with a token for the user whom the tool asks about."""
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
            "sub": f"subject-of-{asked['login_hint'].lower()}",
            f"{_CLAIM}message_type": "LtiResourceLinkRequest",
            f"{_CLAIM}version": "1.3.0",
            f"{_CLAIM}deployment_id": "1",
            f"{_CLAIM}target_link_uri": f"{self.hub}/hub/home",
            f"{_CLAIM}resource_link": {"id": "3"},
            f"{_CLAIM}roles": ["http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"],
            **self.users[asked["login_hint"]],
            **self.changes,
        }
        fields = {"id_token": self._signed(claims), "state": asked["state"]}
        return _form(asked["redirect_uri"], fields, "Continue")

    def _signed(self, claims: Mapping[str, object]) -> str:
        """Return a JSON Web Token (RFC 7515, RS256)."""
        header = {"alg": "RS256", "typ": "JWT", "kid": "1"}
        parts = [_base64(json.dumps(each).encode()) for each in (header, claims)]
        text = ".".join(parts)
        key = self._other_key if self.is_forged else self._key
        signature = key.sign(text.encode(), padding.PKCS1v15(), SHA256())
        return f"{text}.{_base64(signature)}"


@contextmanager
def serving(platform: Platform, certificate: Path, key: Path) -> Iterator[None]:
    """Serve a platform at its address for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/certs":
                self._send(platform.keys(), "application/json")
            elif parts.path == "/auth":
                self._send(platform.answer(asked), "text/html")
            else:
                self._send(platform.course(asked.get("user", "")), "text/html")

        def _send(self, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    address = urlsplit(platform.url)
    server = ThreadingHTTPServer((address.hostname or "", address.port or 443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name=f"platform {secrets.token_hex(2)}")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _form(action: str, fields: Mapping[str, str], label: str) -> str:
    inputs = "".join(f'<input type="hidden" name="{k}" value="{v}">' for k, v in fields.items())
    return (
        f'<!doctype html><title>Course</title><form method="post" action="{action}">{inputs}'
        f"<button>{label}</button></form>"
    )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
