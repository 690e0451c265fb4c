"""HTTPS: certificates, and whether their names lead here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from littlest_hub.doctor.findings import OK, PROBLEM, UNSEEN, WARNING, Finding
from littlest_hub.doctor.snapshot import Snapshot, output_of
from littlest_hub.proxy.certificates import certificate_files
from littlest_hub.proxy.https import (
    UNKNOWN_NAME,
    CertificatePair,
    certified_names,
    fetch_certificate,
    is_valid_for,
)
from littlest_hub.system.addresses import (
    dns_problem,
    is_address,
    local_addresses,
    resolve,
    without_loopback,
)

CERTIFICATE_DAYS = 14


def certificates(snapshot: Snapshot) -> Iterator[Finding]:
    """Check certificate files, the certificates that visitors get, and the DNS of their names."""
    if snapshot.is_foreground:
        return  # it has no HTTPS
    layout = snapshot.layout
    for file in _certificate_files(layout.dynamic_config):
        yield from _certificate_file(file)
    entry_point = snapshot.static_config.get("entryPoints", {}).get("https")
    if not entry_point:
        return
    if not snapshot.units:
        yield Finding(UNSEEN, "HTTPS", "systemctl reports nothing about its port")
        return
    address = snapshot.address_of(layout.proxy_https_socket)
    if address is None or not snapshot.is_active(layout.proxy_https_socket):
        restart = f"systemctl restart {layout.proxy_service}"
        yield Finding(PROBLEM, "HTTPS", "is configured, but nothing listens for it", restart)
        return
    tls = entry_point.get("http", {}).get("tls", {})
    obtained = [n for d in tls.get("domains", ()) for n in (d["main"], *d.get("sans", ()))]
    for name in obtained or [""]:
        yield _presented(snapshot, address, name)
    for name, answer in resolve(obtained).items():
        if problem := dns_problem(name, answer, local_addresses()):
            yield Finding(WARNING, name, problem, f"getent ahosts {name}")
        elif found := without_loopback(answer):
            yield Finding(OK, name, f"resolves to {', '.join(sorted(found))}")


def _presented(snapshot: Snapshot, address: tuple[str, int], name: str) -> Finding:
    """Examine the certificate that visitors of a host name get; "": of any name."""
    layout = snapshot.layout
    host, port = address
    subject = f"HTTPS {name}".rstrip()
    look = f"journalctl -u {layout.proxy_service} -g 'acme|certificate' -n 20"
    found = fetch_certificate(port, name.replace("*", "x") or UNKNOWN_NAME, host)
    if found is None:
        return Finding(PROBLEM, subject, f"port {port} presents no certificate", look)
    default = CertificatePair.from_config(layout.https_config)
    is_default = default is not None and found == default.leaf
    names = ", ".join(certified_names(found)) or "no name"
    if not name and default and not is_default:
        text = f"visitors get another certificate (for {names}) than c.JupyterHub.ssl_cert"
        return Finding(PROBLEM, subject, text, look)
    if name and (is_default or not is_valid_for(found, name)):
        options = ("--lines=200", "--no-pager", "--output=cat")
        logged = output_of("journalctl", f"--unit={layout.proxy_service}", *options).splitlines()
        errors = [line for line in logged if " ERR " in line and "acme" in line.lower()]
        reason = f": {errors[-1].partition(' ERR ')[2]}" if errors else ""
        return Finding(PROBLEM, subject, f"there is no certificate yet{reason}", look)
    severity, validity = _validity(found)
    text = f"the certificate (for {names}) {validity}"
    return Finding(severity, subject, text, "" if severity == OK else look)


def _certificate_files(directory: Path) -> list[Path]:
    found: set[Path] = set()
    for config in directory.glob("*.toml"):
        with contextlib.suppress(ValueError):
            found.update(Path(files.certificate) for files in certificate_files(config))
    return sorted(found)


def _certificate_file(file: Path) -> Iterator[Finding]:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        yield Finding(PROBLEM, str(file), f"the certificate: {error.strerror}", f"ls -l {file}")
        return
    except ValueError as error:
        yield Finding(PROBLEM, str(file), f"is not a certificate: {error}", f"head -n 2 {file}")
        return
    renew = f"openssl x509 -noout -dates -in {file}   # renew it with its issuer's tool (certbot)"
    severity, validity = _validity(certificate)
    yield Finding(severity, str(file), validity, renew)
    names = [n for n in certified_names(certificate) if not is_address(n) and n[:2] != "*."]
    for name, answer in resolve(names).items():
        if isinstance(answer, str):
            yield Finding(WARNING, name, f"DNS: {answer}", f"getent hosts {name}")
        else:
            yield Finding(OK, name, f"resolves to {', '.join(sorted(answer))}")


def _validity(certificate: x509.Certificate) -> tuple[str, str]:
    """Return severity and text: how long a certificate is valid."""
    left_days = (certificate.not_valid_after_utc.timestamp() - time.time()) / 86400
    if left_days < 0:
        return PROBLEM, f"expired {-left_days:.0f} days ago"
    # A quarter of the lifetime, if that is shorter: some certificates last six days.
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    enough_days = min(CERTIFICATE_DAYS, lifetime.total_seconds() / 86400 / 4)
    severity = WARNING if left_days < enough_days else OK
    return severity, f"is valid for {left_days:.0f} more days"
