"""What is wrong with what fragments say of HTTPS. Rules as in `littlest_hub.check.rules`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from littlest_hub.check import Problem
from littlest_hub.check.settings import Setting, Settings, is_a, overlap
from littlest_hub.proxy.https import CertificatePair, is_domain, validity_problem
from littlest_hub.system.addresses import is_address
from littlest_hub.units.environment import UnitEnvironment
from littlest_hub.units.ports import FIRST_HTTPS, FIRST_PUBLIC


def _domains(settings: Settings) -> tuple[Setting, list[Any]]:
    setting = settings.get("Proxy", "domains")
    return setting, setting.value if isinstance(setting.value, list) else []


def https_from_two_sources(settings: Settings) -> Iterator[Problem]:
    """A certificate that is there, and another one that is to be obtained."""
    setting, domains = _domains(settings)
    if domains and settings.get("JupyterHub", "ssl_cert").value:
        yield from setting.error(
            "JupyterHub.ssl_cert gives a certificate already; expected one of the two"
        )


def domains_that_nobody_certifies(settings: Settings) -> Iterator[Problem]:
    """What is no host name, or none that is known outside."""
    setting, domains = _domains(settings)
    challenge = settings.get("Proxy", "acme_challenge").value
    for name in domains:
        if not isinstance(name, str):
            continue
        if is_address(name):
            text = f"{name} is an address; expected a host name, such as hub.example.org"
            yield from setting.error(text, name)
        elif not is_domain(name):
            text = f"{name!r} is no host name; expected one such as hub.example.org"
            yield from setting.error(text, name)
        elif name.startswith("*.") and challenge != "dns-01":
            text = f"{name} can only be certified by way of its name server; expected"
            yield from setting.error(f"{text} HubProxy.acme_challenge = 'dns-01'", name)


def challenges_that_cannot_be_met(settings: Settings) -> Iterator[Problem]:
    """The authority asks at ports of its own choice, or a name server that somebody has to name."""
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
    ours = {"http-01": unit.public_port, "tls-alpn-01": unit.https_port}
    asked = {"http-01": FIRST_PUBLIC, "tls-alpn-01": FIRST_HTTPS}
    port = asked.get(challenge.value)
    if port and ours[challenge.value] != port:
        yield from setting.warning(
            f"for {challenge.value} the authority asks port {port}, and this hub listens at"
            f" {ours[challenge.value]}; expected something in front that leads there"
        )


def authorities_that_cannot_be_asked(settings: Settings) -> Iterator[Problem]:
    """An address without https, a certificate of its issuer that is none, half an account."""
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
            text = f"the hub cannot read {ca_file.value} ({error.strerror}); expected a file"
            yield from ca_file.error(text)
        else:
            if not is_pem:
                yield from ca_file.error(f"{ca_file.value} holds no certificate in PEM format")
    names = ("acme_eab_key_id", "acme_eab_key")
    identifier, key = (settings.get("Proxy", name) for name in names)
    if bool(identifier.value) != bool(key.value):
        given, missing = (identifier, key) if identifier.value else (key, identifier)
        yield from given.error(f"found it without HubProxy.{names[missing is key]}; expected both")


def certificates_out_of_date(settings: Settings) -> Iterator[Problem]:
    """What no browser takes any more, or not yet."""
    certificate, key = (settings.get("JupyterHub", name) for name in ("ssl_cert", "ssl_key"))
    if not (isinstance(certificate.value, str) and isinstance(key.value, str)):
        return
    if not (certificate.value and key.value):
        return
    try:
        pair = CertificatePair.read(Path(certificate.value), Path(key.value))
    except ValueError:
        return  # said already
    if reason := validity_problem(pair.leaf):
        clock = "; or is this machine's clock wrong? (date)" if "before" in reason else ""
        text = f"{certificate.value} {reason}; expected one that is valid{clock}"
        yield from certificate.error(text)


def https_port_of_another_program(settings: Settings) -> Iterator[Problem]:
    """The port is not ours to take."""
    certificate, (domains, names) = settings.get("JupyterHub", "ssl_cert"), _domains(settings)
    setting = certificate if certificate.value else domains
    is_ours = settings.facts["is_service"] and is_a(settings.chosen["Proxy"], "HubProxy")
    if not is_ours or not (certificate.value or names):
        return
    unit = UnitEnvironment.from_environ()
    port, host = unit.https_port, unit.public_host.strip("[]")
    for other in settings.facts["listeners"]:
        if other["port"] == port and overlap(host, other["address"]):
            yield from setting.error(
                f"HTTPS is served at port {port}, which is in use by {other['whose']};"
                " expected it to be free"
            )
            return


RULES = (
    https_from_two_sources,
    domains_that_nobody_certifies,
    challenges_that_cannot_be_met,
    authorities_that_cannot_be_asked,
    certificates_out_of_date,
    https_port_of_another_program,
)
