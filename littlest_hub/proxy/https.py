"""HTTPS: how fragments configure it, its part of traefik's configuration, and certificates."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.proxy.certificates import DEFAULT_CERTIFICATE_NAME, default_certificate
from littlest_hub.system.tls import presented_certificate
from littlest_hub.units.entry_points import PUBLIC_ENTRY_POINT

RESOLVER = "acme"
"""traefik's name for what obtains certificates; they are stored under it."""
CHALLENGES = ("http-01", "tls-alpn-01", "dns-01")
UNKNOWN_NAME = "hub.invalid"
"""A name that no certificate is for: a visitor of it gets the default certificate."""
_HSTS = "littlest-hub-hsts"
_CHALLENGE_DELAY = "2s"
"""Time that the authority has to wait before it validates a domain.

A traefik that has just started obtains missing certificates at once, while visitors still reach the
one before it for a moment; so would the authority, which connects as visitors do.
"""
_REDIRECTED = (
    "HeaderRegexp(`Accept`, `text/html`)"
    " || !(HeaderRegexp(`Origin`, `^http://`) || HeaderRegexp(`Referer`, `^http://`))"
)
"""Requests that are redirected from http to https: all but those of pages that came by http.

No one can open such a page any more, but users may still work in one, and their browser does not
follow a redirect to another origin (https://fetch.spec.whatwg.org/#http-redirect-fetch): they could
neither save nor reach their kernel. Browsers send "text/html" in Accept with every request for a
page, and name in one of the two other headers the page that makes any other request.
"""
# Mozilla's "intermediate" ciphers for TLS 1.2 (https://wiki.mozilla.org/Security/Server_Side_TLS);
# those of TLS 1.3 cannot be configured.
_CIPHERS = [
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    for key in ("ECDSA", "RSA")
]
_DEFAULT_CERTIFICATE_YEARS = 20
# RFC 1035 2.3.1, RFC 5890 2.3.1; at least two labels, because no authority certifies fewer.
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}", re.IGNORECASE)


@dataclass(frozen=True)
class CertificatePair:
    """A certificate, followed by those of its issuers, and its key: PEM."""

    certificate: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> CertificatePair:
        """Read a certificate and its key from two files.

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
    def from_config(cls, config: Path) -> CertificatePair | None:
        """Return the default certificate in a file that `Https.dynamic_config` was written to."""
        texts = default_certificate(config)
        return cls(*texts) if texts and all(texts) else None

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself, without those of its issuers."""
        return x509.load_pem_x509_certificates(self.certificate.encode())[0]

    def dynamic_config(self) -> dict[str, Any]:
        """Return the dynamic configuration that makes it traefik's default certificate."""
        files = {"certFile": self.certificate, "keyFile": self.key}
        return {"tls": {"stores": {"default": {"defaultCertificate": files}}}}


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
    """Key identifier and key of an external account."""

    def resolvers(self, layout: Layout) -> dict[str, Any]:
        """Return traefik's certificatesResolvers.

        https://doc.traefik.io/traefik/reference/install-configuration/tls/certificate-resolvers/acme/
        """
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
    """HTTPS as fragments configure it."""

    port: int
    files: tuple[Path, Path] | None
    """Certificate and key."""
    acme: Acme | None
    hsts_s: int
    """Time for which browsers insist on HTTPS; 0: they stop at once."""
    host: str = ""
    """The one address that the proxy listens at, as in a URL; "": every one."""

    def entry_point(self) -> dict[str, Any]:
        """Return what traefik's entry point for HTTPS has beyond that for HTTP."""
        tls: dict[str, Any] = {}
        if self.acme:
            main, *others = self.acme.domains
            tls = {"certResolver": RESOLVER, "domains": [{"main": main, "sans": others}]}
        return {
            "address": f"{self.host}:{self.port}",
            "http": {"tls": tls, "middlewares": [f"{_HSTS}@file"]},
        }

    def dynamic_config(self, pair: CertificatePair | None) -> dict[str, Any]:
        """Return certificate, TLS options and HSTS, for one file: traefik loads all or nothing."""
        tls: dict[str, Any] = pair.dynamic_config()["tls"] if pair else {}
        tls["options"] = {"default": {"minVersion": "VersionTLS12", "cipherSuites": _CIPHERS}}
        # Browsers keep what they know until it expires, unless the maximum is 0 (RFC 6797 6.1.1).
        header = {"Strict-Transport-Security": f"max-age={self.hsts_s}"}
        hsts = {"headers": {"customResponseHeaders": header}}
        return {"tls": tls, "http": {"middlewares": {_HSTS: hsts}}}

    def redirect_config(self) -> dict[str, Any]:
        """Return the dynamic configuration that redirects from http to https.

        The authority's challenge is not redirected: traefik answers it with the highest priority.
        """
        name = "littlest-hub-redirect"
        # Browsers keep a permanent redirect for ever; how long they remember is for HSTS to say.
        scheme = {"scheme": "https", "port": str(self.port), "permanent": False}
        router = {
            "rule": _REDIRECTED,
            "entryPoints": [PUBLIC_ENTRY_POINT],
            "middlewares": [name],
            "service": "noop@internal",
            # Before every route: the priority of a user's is the length of its rule.
            "priority": 1_000_000,
        }
        return {
            "http": {"routers": {name: router}, "middlewares": {name: {"redirectScheme": scheme}}}
        }

    def is_served(self, pair: CertificatePair | None) -> bool:
        """Return whether visitors get the certificate that they should.

        Args:
            pair: that of the files; with ACME, what visitors get until one has been obtained.
        """
        host = self.host.strip("[]") or "127.0.0.1"
        leaf = pair.leaf if pair else None
        if not self.acme:
            return leaf is not None and fetch_certificate(self.port, UNKNOWN_NAME, host) == leaf
        for name in self.acme.domains:
            found = fetch_certificate(self.port, name.replace("*", "x"), host)
            if found is None or found == leaf or not is_valid_for(found, name):
                return False
        return True


def fetch_certificate(port: int, name: str, host: str = "127.0.0.1") -> x509.Certificate | None:
    """Connect as a visitor of `name` and return the certificate; None: there is none."""
    der = presented_certificate((host, port), name)
    return x509.load_der_x509_certificate(der) if der else None


def certified_names(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = found.value.get_values_for_type(x509.IPAddress)
    return [*found.value.get_values_for_type(x509.DNSName), *map(str, addresses)]


def is_valid_for(certificate: x509.Certificate, name: str) -> bool:
    """Return whether browsers accept a certificate for this host name (RFC 6125 6.4.3)."""
    names = {each.lower() for each in certified_names(certificate)}
    parent = name.lower().partition(".")[2]
    return name.lower() in names or f"*.{parent}" in names


def is_domain(name: str) -> bool:
    """Return whether an authority might certify it: a host name of two or more labels, or "*."."""
    return len(name) <= 253 and _NAME.fullmatch(name) is not None


def validity_problem(certificate: x509.Certificate, now: datetime.datetime | None = None) -> str:
    """Return why a certificate is not valid at the moment; "": it is."""
    now = now or datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return ""


def https_from(hub: Any, proxy: Any, port: int | None, host: str = "") -> Https | None:
    """Return HTTPS as the configuration has it; None: it has none.

    Args:
        hub: c.JupyterHub.
        proxy: a HubProxy that is configured.
        port: where HTTPS is served on this machine; None: nowhere.
        host: at which address; "": at every one.

    Raises:
        LittlestHubError: the configuration contradicts itself.
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


def make_default_certificate() -> CertificatePair:
    """Make a self-signed certificate like the one that traefik makes itself."""
    # Not when the hub starts: they take 50 ms to import.
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    # Supervisor and traefik recognize it by its name.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DEFAULT_CERTIFICATE_NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _DEFAULT_CERTIFICATE_YEARS))
        .sign(key, hashes.SHA256())
    )
    return CertificatePair(
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )
