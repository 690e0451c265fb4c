"""Certificates that traefik's configuration names: where they are, and what is wrong with them.

This module uses no third-party libraries; `sd_daemon` says why.
"""

from __future__ import annotations

import json
import ssl
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from littlest_hub.system.files import fingerprint
from littlest_hub.system.toml import read_toml
from littlest_hub.units.entry_points import HTTPS_ENTRY_POINT

ROUTES_HEADER = "# The hub's rules\n"
"""The first line of the file that the hub writes with every change of routes."""
DEFAULT_CERTIFICATE_NAME = "TRAEFIK DEFAULT CERT"
"""A part of the subject of what traefik presents without any other (its pkg/tls/generate)."""


class CertificateFiles(NamedTuple):
    """Paths of a certificate and its key, as the dynamic configuration names them."""

    certificate: str
    key: str

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """It differs when one of the files is replaced."""
        return tuple(fingerprint(Path(file)) for file in self)

    @property
    def problem(self) -> str | None:
        """The reason why they cannot be used; None: they can."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            return f"certificate {self.certificate} with key {self.key}: {reason}"
        return None


def certificate_files(config: Path) -> list[CertificateFiles]:
    """Return the certificate files that a file of the dynamic configuration names.

    Raises:
        OSError: the configuration cannot be read.
        ValueError: it is not TOML, or traefik would not take its "tls".
    """
    tls = _tls(config)
    try:
        stores = tls.get("stores", {}).values()
        named = [*tls.get("certificates", ()), *(s.get("defaultCertificate") for s in stores)]
        found = [CertificateFiles(*_texts(entry)) for entry in named if entry]
        # The entry may hold the certificate itself instead of a path.
        return [files for files in found if all(name.startswith("/") for name in files)]
    except (AttributeError, TypeError) as error:
        raise ValueError(f"tls: {error}") from error


def default_certificate(config: Path) -> tuple[str, str] | None:
    """Return the default certificate in a file of the dynamic configuration, and its key.

    Returns:
        Texts or paths, as they are in the file; None: the file has none, or cannot be read.
    """
    try:
        entry = _tls(config)["stores"]["default"]["defaultCertificate"]
        return _texts(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _tls(config: Path) -> dict[str, Any]:
    text = config.read_text()
    # Parsing the routes of a thousand users takes half a second of CPU, at every server's start.
    if text.startswith(ROUTES_HEADER) and "tls" not in text:
        return {}
    tls = tomllib.loads(text).get("tls", {})
    if not isinstance(tls, dict):
        raise ValueError(f"tls: expected a table, not {tls!r}")
    return tls


def _texts(entry: dict[str, str]) -> tuple[str, str]:
    return entry.get("certFile", ""), entry.get("keyFile", "")


class ConfiguredCertificates:
    """All certificate files that a directory of dynamic configuration names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parsed: dict[Path, tuple[object, list[CertificateFiles]]] = {}

    def read(self) -> dict[CertificateFiles, tuple[object, ...]]:
        """Return the files with their fingerprints.

        Raises:
            ValueError: a file of the configuration is wrong; traefik would take none of them.
        """
        configs = sorted(self._directory.glob("*.toml"))
        self._parsed = {file: known for file, known in self._parsed.items() if file in configs}
        for config in configs:
            state = fingerprint(config)
            # Called every few seconds: parse a file again only after it has changed.
            if self._parsed.get(config, (None,))[0] != state:
                try:
                    self._parsed[config] = (state, certificate_files(config))
                except (OSError, ValueError) as error:
                    raise ValueError(f"{config}: {error}") from error
        return {each: each.fingerprint for _, found in self._parsed.values() for each in found}


def obtained_name(static_config: Path) -> str:
    """Return a configured domain whose certificate is in the ACME storage; "": there is none."""
    try:
        configuration = read_toml(static_config)
        domains = configuration["entryPoints"][HTTPS_ENTRY_POINT]["http"]["tls"]["domains"]
        names = {each["main"] for each in domains}
        for resolver in configuration["certificatesResolvers"].values():
            stored = json.loads(Path(resolver["acme"]["storage"]).read_text())
            for account in stored.values():
                for certificate in account["Certificates"] or ():
                    if certificate["domain"]["main"] in names:
                        return str(certificate["domain"]["main"]).replace("*", "x")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no ACME, or nothing obtained yet
    return ""
