"""Rules on HTTPS: certificates that a fragment gives, and those that traefik obtains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from littlest_hub.check.report import Problem
from littlest_hub.check.rules.addresses import program_at
from littlest_hub.check.settings import EffectiveSetting, Settings
from littlest_hub.proxy.https import CertificatePair, is_domain, validity_problem
from littlest_hub.system.addresses import is_address
from littlest_hub.units.environment import UnitEnvironment
from littlest_hub.units.ports import FIRST_HTTPS, FIRST_PUBLIC


def _domains(settings: Settings) -> tuple[EffectiveSetting, list[Any]]:
    setting = settings.get("Proxy", "domains")
    return setting, setting.value if isinstance(setting.value, list) else []


def two_sources_of_certificates(settings: Settings) -> Iterator[Problem]:
    """Refuse domains to obtain certificates for where ssl_cert gives a certificate."""
    setting, domains = _domains(settings)
    if domains and settings.get("JupyterHub", "ssl_cert").value:
        yield from setting.error(
            "JupyterHub.ssl_cert already gives a certificate; expected only one of the two"
        )


def domains_that_cannot_be_certified(settings: Settings) -> Iterator[Problem]:
    """Refuse names that a certificate authority would reject."""
    setting, domains = _domains(settings)
    challenge = settings.get("Proxy", "acme_challenge").value
    for name in domains:
        if not isinstance(name, str):
            continue
        if is_address(name):
            text = f"{name} is an IP address; expected a host name, such as hub.example.org"
            yield from setting.error(text, name)
        elif not is_domain(name):
            text = f"{name!r} is not a host name; expected one such as hub.example.org"
            yield from setting.error(text, name)
        elif name.startswith("*.") and challenge != "dns-01":
            text = f"a wildcard such as {name} can be certified only through DNS; expected"
            yield from setting.error(f"{text} HubProxy.acme_challenge = 'dns-01'", name)


def challenge_that_cannot_succeed(settings: Settings) -> Iterator[Problem]:
    """Refuse dns-01 without a provider, and warn if the authority uses other ports than the hub."""
    setting, domains = _domains(settings)
    challenge = settings.get("Proxy", "acme_challenge")
    provider = settings.get("Proxy", "acme_dns_provider")
    if provider.value and challenge.value != "dns-01":
        text = f"has no effect while HubProxy.acme_challenge is {challenge.value!r}"
        yield from provider.warning(text)
    if not domains:
        for key in ("acme_challenge", "acme_email", "acme_directory"):
            yield from settings.get("Proxy", key).warning("has no effect without HubProxy.domains")
        return
    if challenge.value == "dns-01" and not provider.value:
        yield from challenge.error("expected the name of a provider in HubProxy.acme_dns_provider")
    unit = UnitEnvironment.from_environ()
    own = {"http-01": unit.public_port, "tls-alpn-01": unit.https_port}
    authority = {"http-01": FIRST_PUBLIC, "tls-alpn-01": FIRST_HTTPS}
    port = authority.get(challenge.value)
    if port and own[challenge.value] != port:
        yield from setting.warning(
            f"for {challenge.value} the authority connects to port {port}, but this hub listens on"
            f" {own[challenge.value]}; expected something in front of it that forwards the port"
        )


def unusable_certificate_authority(settings: Settings) -> Iterator[Problem]:
    """Refuse a URL without https, an unreadable CA certificate, and half of an account."""
    directory = settings.get("Proxy", "acme_directory")
    if isinstance(directory.value, str) and not directory.value.startswith("https://"):
        yield from directory.error(f"expected an https:// URL, found {directory.value!r}")
    ca_file = settings.get("Proxy", "acme_ca_file")
    if isinstance(ca_file.value, str) and ca_file.value:
        try:
            is_pem = "-----BEGIN CERTIFICATE-----" in Path(ca_file.value).read_text(
                errors="replace"
            )
        except OSError as error:
            text = f"the hub cannot read {ca_file.value} ({error.strerror})"
            yield from ca_file.error(f"{text}; expected a readable file")
        else:
            if not is_pem:
                yield from ca_file.error(f"{ca_file.value} contains no certificate in PEM format")
    names = ("acme_eab_key_id", "acme_eab_key")
    identifier, key = (settings.get("Proxy", name) for name in names)
    if bool(identifier.value) != bool(key.value):
        given, missing = (identifier, key) if identifier.value else (key, identifier)
        yield from given.error(f"is set without HubProxy.{names[missing is key]}; expected both")


def expired_certificate(settings: Settings) -> Iterator[Problem]:
    """Refuse a certificate that has expired or is not valid yet."""
    certificate, key = (settings.get("JupyterHub", name) for name in ("ssl_cert", "ssl_key"))
    if not (isinstance(certificate.value, str) and isinstance(key.value, str)):
        return
    if not (certificate.value and key.value):
        return
    try:
        pair = CertificatePair.read(Path(certificate.value), Path(key.value))
    except ValueError:
        return  # reported already
    if reason := validity_problem(pair.leaf):
        clock = "; or is this machine's clock wrong? (date)" if "before" in reason else ""
        text = f"{certificate.value} {reason}; expected one that is valid{clock}"
        yield from certificate.error(text)


def https_port_of_another_program(settings: Settings) -> Iterator[Problem]:
    """Refuse HTTPS whose port another program listens on."""
    certificate, (domains, names) = settings.get("JupyterHub", "ssl_cert"), _domains(settings)
    setting = certificate if certificate.value else domains
    is_served = settings.facts.is_service and settings.uses("Proxy", "HubProxy")
    if not is_served or not (certificate.value or names):
        return
    unit = UnitEnvironment.from_environ()
    port, host = unit.https_port, unit.public_host.strip("[]")
    if port is not None and (program := program_at(settings, host, port)):
        yield from setting.error(
            f"HTTPS needs port {port}, which is in use by {program}; expected it to be free"
        )
