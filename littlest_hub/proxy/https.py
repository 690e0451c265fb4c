"""HTTPS: what fragments ask for, and what traefik is told of it."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.system.tls import presented_certificate
from littlest_hub.units.proxy import PUBLIC_ENTRY_POINT

RESOLVER = "acme"
"""traefik's name for what obtains certificates; they are kept under it."""
CHALLENGES = ("http-01", "tls-alpn-01", "dns-01")
_HSTS = "littlest-hub-hsts"
_CHALLENGE_DELAY = "2s"
"""How long the authority has to wait with its question.

A traefik that has just started obtains what is missing at once, and visitors reach the one before
it for a moment longer: so would the authority, which asks as a visitor does.
"""
_LED_ON = (
    "HeaderRegexp(`Accept`, `text/html`)"
    " || !(HeaderRegexp(`Origin`, `^http://`) || HeaderRegexp(`Referer`, `^http://`))"
)
"""Who is sent from http to https: everybody, but for what a page asks that came by http itself.

Nobody opens such a page any more, but somebody may work in one, and their browser would not let it
go where another origin is (https://fetch.spec.whatwg.org/#http-redirect-fetch): they could neither
save nor reach their kernel. Browsers ask for every page with "text/html" among what they accept,
and name in one of the two other headers the page on whose behalf they ask for something else.
"""
# Mozilla's "intermediate" ciphers for TLS 1.2 (https://wiki.mozilla.org/Security/Server_Side_TLS);
# those of TLS 1.3 are not for anybody to choose.
_CIPHERS = [
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    for key in ("ECDSA", "RSA")
]
# RFC 1035 2.3.1, RFC 5890 2.3.1; at least two labels, for no authority certifies less.
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A certificate, those of its issuers after it, and its key: PEM."""

    certificate: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Pair:
        """What two files hold, if they belong together.

        Raises:
            ValueError: they cannot be read, are something else, or do not belong together.
        """
        texts = []
        for file in (certificate, key):
            try:
                texts.append(file.read_text(errors="replace"))
            except OSError as error:
                raise ValueError(f"{file}: {error.strerror}") from error
        pair = cls(*texts)
        try:
            private = load_pem_private_key(pair.key.encode(), None)
        except TypeError as error:
            raise ValueError(f"{key} is protected by a passphrase") from error
        except Exception as error:
            raise ValueError(f"{key} holds no private key in PEM format") from error
        try:
            public = pair.leaf.public_key()
        except ValueError as error:
            raise ValueError(f"{certificate} holds no certificate in PEM format") from error
        if public != private.public_key():
            raise ValueError(f"{key} is not the key of {certificate}")
        return pair

    @classmethod
    def configured(cls, file: Path) -> Pair | None:
        """What a file that `Https.dynamic` was written to gives everybody; None: nothing."""
        try:
            stores = tomllib.loads(file.read_text())["tls"]["stores"]
            default = stores["default"]["defaultCertificate"]
            return cls(default["certFile"], default["keyFile"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.load_pem_x509_certificates(self.certificate.encode())[0]


@dataclass(frozen=True)
class Acme:
    """Certificates that traefik obtains and renews (RFC 8555)."""

    domains: tuple[str, ...]
    directory: str
    email: str = ""
    challenge: str = CHALLENGES[0]
    dns_provider: str = ""
    ca_file: str = ""
    eab: tuple[str, str] | None = field(default=None, repr=False)
    """Key identifier and key of an account elsewhere."""

    def static(self, layout: Layout) -> dict[str, Any]:
        """https://doc.traefik.io/traefik/reference/install-configuration/tls/certificate-resolvers/acme/"""
        acme: dict[str, Any] = {
            "storage": str(layout.acme_storage),
            "caServer": self.directory,
            "keyType": "EC256",
        }
        if self.email:
            acme["email"] = self.email
        if self.ca_file:
            acme["caCertificates"] = [str(layout.acme_ca)]
        if self.eab:
            acme["eab"] = {"kid": self.eab[0], "hmacEncoded": self.eab[1]}
        if self.challenge == "http-01":
            acme["httpChallenge"] = {"entryPoint": PUBLIC_ENTRY_POINT, "delay": _CHALLENGE_DELAY}
        elif self.challenge == "tls-alpn-01":
            acme["tlsChallenge"] = {"delay": _CHALLENGE_DELAY}
        else:
            acme["dnsChallenge"] = {"provider": self.dns_provider}
        return {RESOLVER: {"acme": acme}}


@dataclass(frozen=True)
class Https:
    """What fragments ask for."""

    port: int
    files: tuple[Path, Path] | None
    """Certificate and key."""
    acme: Acme | None
    hsts_s: int
    """How long a browser is to insist on HTTPS; 0: it is told to forget."""
    host: str = ""
    """The one address that the proxy listens at, as in a URL; "": every one."""

    def entry_point(self) -> dict[str, Any]:
        """What traefik's entry point for it has beyond that for HTTP."""
        tls: dict[str, Any] = {}
        if self.acme:
            main, *others = self.acme.domains
            tls = {"certResolver": RESOLVER, "domains": [{"main": main, "sans": others}]}
        return {
            "address": f"{self.host}:{self.port}",
            "http": {"tls": tls, "middlewares": [f"{_HSTS}@file"]},
        }

    def dynamic(self, pair: Pair | None) -> dict[str, Any]:
        """Certificate and TLS options, in one file: traefik has both of a pair or none."""
        tls: dict[str, Any] = {
            "options": {"default": {"minVersion": "VersionTLS12", "cipherSuites": _CIPHERS}}
        }
        if pair:
            default = {"certFile": pair.certificate, "keyFile": pair.key}
            tls["stores"] = {"default": {"defaultCertificate": default}}
        # A browser forgets what it is not told, a maximum of 0 apart (RFC 6797 6.1.1).
        header = {"Strict-Transport-Security": f"max-age={self.hsts_s}"}
        hsts = {"headers": {"customResponseHeaders": header}}
        return {"tls": tls, "http": {"middlewares": {_HSTS: hsts}}}

    def redirection(self) -> dict[str, Any]:
        """The dynamic configuration that sends visitors of http on; the authority's question not.

        traefik answers that one with the highest priority there is.
        """
        name = "littlest-hub-redirect"
        # A browser keeps a permanent one for ever; what it is to remember is HSTS's business.
        scheme = {"scheme": "https", "port": str(self.port), "permanent": False}
        router = {
            "rule": _LED_ON,
            "entryPoints": [PUBLIC_ENTRY_POINT],
            "middlewares": [name],
            "service": "noop@internal",
            # Before every route: that of a user has the length of its rule.
            "priority": 1_000_000,
        }
        return {
            "http": {"routers": {name: router}, "middlewares": {name: {"redirectScheme": scheme}}}
        }

    def is_served(self, pair: Pair | None) -> bool:
        """Whether visitors get by now what they should.

        Args:
            pair: that of the files; with ACME, what visitors get until something was obtained.
        """
        host = self.host.strip("[]") or "127.0.0.1"
        leaf = pair.leaf if pair else None
        if not self.acme:
            return leaf is not None and presented(self.port, ANY_NAME, host) == leaf
        found = ((n, presented(self.port, n.replace("*", "x"), host)) for n in self.acme.domains)
        return all(covers(each, name) and each != leaf for name, each in found)


ANY_NAME = "hub.invalid"
"""Whoever asks for it gets what everybody gets whose name is unknown."""


def presented(port: int, name: str, host: str = "127.0.0.1") -> x509.Certificate | None:
    """The certificate that a visitor of `name` gets; None: they get none."""
    der = presented_certificate((host, port), name)
    return x509.load_der_x509_certificate(der) if der else None


def names_of(certificate: x509.Certificate) -> list[str]:
    """Host names and addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = found.value.get_values_for_type(x509.IPAddress)
    return [*found.value.get_values_for_type(x509.DNSName), *map(str, addresses)]


def covers(certificate: x509.Certificate | None, name: str) -> bool:
    """Whether a browser takes a certificate for this host name (RFC 6125 6.4.3)."""
    names = {each.lower() for each in names_of(certificate)} if certificate else set()
    parent = name.lower().partition(".")[2]
    return name.lower() in names or f"*.{parent}" in names


def is_domain(name: str) -> bool:
    """Whether an authority might certify it: a host name of two parts or more, or "*." before."""
    return len(name) <= 253 and _NAME.fullmatch(name) is not None


def validity(certificate: x509.Certificate, now: datetime.datetime | None = None) -> str:
    """Why a certificate is not valid at the moment; "": it is."""
    now = now or datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return ""


def wanted(hub: Any, proxy: Any, port: int | None, host: str = "") -> Https | None:
    """What the configuration asks for.

    Args:
        hub: c.JupyterHub.
        proxy: a HubProxy that is configured.
        port: where HTTPS is served here; None: nowhere.
        host: at which address; "": at every one.

    Raises:
        LittlestHubError: it contradicts itself.
    """
    certificate, key = str(hub.get("ssl_cert") or ""), str(hub.get("ssl_key") or "")
    domains = tuple(proxy.domains)
    if port is None or not (certificate or key or domains):
        return None
    if domains and (certificate or key):
        raise LittlestHubError(
            "c.HubProxy.domains is for certificates that are obtained, c.JupyterHub.ssl_cert for"
            " one that is there: expected one of the two"
        )
    if bool(certificate) != bool(key):
        raise LittlestHubError("expected both of c.JupyterHub.ssl_cert and c.JupyterHub.ssl_key")
    acme = None
    if domains:
        eab = (proxy.acme_eab_key_id, proxy.acme_eab_key)
        acme = Acme(
            domains,
            directory=proxy.acme_directory,
            email=proxy.acme_email,
            challenge=proxy.acme_challenge,
            dns_provider=proxy.acme_dns_provider,
            ca_file=proxy.acme_ca_file,
            eab=eab if all(eab) else None,
        )
    files = (Path(certificate), Path(key)) if certificate else None
    return Https(port, files, acme, proxy.hsts_max_age, host)


def state_of(files: Iterable[Path]) -> tuple[object, ...]:
    """What differs when one of the files is replaced."""
    found: list[object] = []
    for file in files:
        try:
            status = file.stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError as error:
            found.append(error.errno)
    return tuple(found)
