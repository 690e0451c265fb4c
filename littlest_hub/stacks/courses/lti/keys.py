"""The key of this hub for learning platforms: what it signs proves that it is this hub.

Its private half is in a file of root's, and in the memory of the commands that sign. The hub shows
the public half to everybody, as platforms expect it (RFC 7517).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import RSAAlgorithm

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses.lti.connection import Connection
from littlest_hub.system.files import write

_BITS = 2048
"""RS256 of this size is what the 1EdTech Security Framework 1.0 makes platforms accept."""
_LIFETIME_S = 300


class Key(NamedTuple):
    """The key."""

    private: rsa.RSAPrivateKey

    @property
    def pem(self) -> str:
        """The public half, as some platforms want to have it pasted."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, with its name, the thumbprint of RFC 7638."""
        found = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        own = {name: found[name] for name in ("e", "kty", "n")}
        digest = hashlib.sha256(json.dumps(own, separators=(",", ":")).encode()).digest()
        kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return {**own, "alg": "RS256", "use": "sig", "kid": kid}


def present(layout: Layout) -> Key:
    """Return the key, which is made if there is none, and see to it that the hub shows it.

    Raises:
        LittlestHubError: the file is damaged.
    """
    file = layout.on_disk(place.platform_key(layout))
    if not file.exists():
        return replaced(layout)
    try:
        found = load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise LittlestHubError(f"{file} is no private key: {error}", _again(layout)) from error
    if not isinstance(found, rsa.RSAPrivateKey):
        raise LittlestHubError(f"{file} is no private key of RSA", _again(layout))
    key = Key(found)
    _show(layout, key)
    return key


def replaced(layout: Layout) -> Key:
    """Make another key in place of the present one, and return it."""
    key = Key(rsa.generate_private_key(65537, _BITS))
    file = layout.on_disk(place.platform_key(layout))
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(file, pem.decode(), 0o600)
    _show(layout, key)
    return key


def statement(key: Key, connection: Connection) -> str:
    """Return the signed statement for which the platform gives an access token (RFC 7523)."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": connection.client_id,
        "sub": connection.client_id,
        "aud": connection.audience or connection.token_url,
        "iat": now,
        "exp": now + _LIFETIME_S,
        "jti": secrets.token_urlsafe(24),
    }
    if connection.deployment_id:
        claims["https://purl.imsglobal.org/spec/lti/claim/deployment_id"] = connection.deployment_id
    return jwt.encode(claims, key.private, "RS256", headers={"kid": key.jwk["kid"]})


def _show(layout: Layout, key: Key) -> None:
    text = json.dumps({"keys": [key.jwk]}) + "\n"
    write(layout.on_disk(place.public_keys(layout)), text, 0o644)


def _again(layout: Layout) -> str:
    return f"Make another one: {layout.command} course lti key --replace"
