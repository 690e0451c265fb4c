"""Ports, the login page, certificates."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from littlest_hub.doctor.observed import COMMAND_TIMEOUT_S, OK, PROBLEM, WARNING, Finding, Observed
from littlest_hub.doctor.services import service_of
from littlest_hub.proxy.certificates import certificate_files
from littlest_hub.system.addresses import dns_problem, local_addresses, resolve, without_loopback
from littlest_hub.system.tcp import holders

CERTIFICATE_DAYS = 14


def ports(machine: Observed) -> Iterator[Finding]:
    """Who listens where ours should."""
    for name in machine.layout.units:
        shown = machine.units.get(name, {})
        if not name.endswith(".socket") or shown.get("LoadState") != "loaded":
            continue
        is_active = shown.get("ActiveState") == "active"
        listen = re.findall(r":(\d+) \(Stream\)", shown.get("Listen", ""))
        for number in map(int, dict.fromkeys(listen)):
            inodes = machine.listening.get(number, set())
            if is_active and inodes:
                yield Finding(OK, f"port {number}", f"held by systemd for {name}")
            elif is_active:
                text = f"nobody listens, though {name} is active"
                yield Finding(PROBLEM, f"port {number}", text, f"systemctl restart {name}")
            elif inodes and not machine.is_active(service_of(name)):
                yield _taken(machine, number, inodes, name)


def _taken(machine: Observed, port: int, inodes: set[int], unit: str) -> Finding:
    start = f"systemctl start {unit} {service_of(unit)}"
    if not machine.is_root:
        return Finding(PROBLEM, f"port {port}", f"taken by another program; {unit} cannot start")
    for pid, name, other in _holders(inodes):
        stop = f"systemctl disable --now {other}" if other.endswith(".service") else f"kill {pid}"
        text = f"{name} (process {pid}, {other or 'no unit'}) listens where {unit} should"
        return Finding(PROBLEM, f"port {port}", text, f"{stop} && {start}")
    return Finding(
        PROBLEM, f"port {port}", f"taken; {unit} cannot start", f"ss -ltnp | grep :{port}"
    )


def _holders(inodes: set[int]) -> Iterator[tuple[str, str, str]]:
    """Process id, name and unit of who has one of these sockets open."""
    for pid in dict.fromkeys(holders(inodes).values()):
        with contextlib.suppress(OSError):
            cgroup = Path(f"/proc/{pid}/cgroup").read_text()
            unit = re.findall(r"([^/\s]+\.(?:service|scope))$", cgroup, re.MULTILINE)
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            yield str(pid), name, unit[-1] if unit else ""


def login_page(machine: Observed) -> Iterator[Finding]:
    """What a visitor gets."""
    address = machine.address_of(machine.layout.proxy_socket)
    if address is None:
        return
    began = time.monotonic()
    status, url = _visit(*address, f"{machine.base_url}hub/login")
    took = time.monotonic() - began
    layout = machine.layout
    where = f"http://{address[0]}:{address[1]}"
    if status == "200":
        slow = took > 2
        again = f"systemctl status {layout.hub_service}" if slow else ""
        text = f"answers in {took:.2f} s at {url}"
        yield Finding(WARNING if slow else OK, "login page", text, again)
    elif status == "404":
        text = f"the proxy answers 404 at {where}: it has not loaded its routes"
        again = f"systemctl restart {layout.proxy_service} {layout.hub_service}"
        yield Finding(PROBLEM, "login page", text, again)
    elif status in ("502", "503", "504"):
        text = f"the proxy answers {status} at {where}: it does not reach the hub"
        yield Finding(PROBLEM, "login page", text, f"systemctl restart {layout.hub_service}")
    elif status.isdecimal():
        look = f"journalctl -u {layout.hub_service} -p err -n 50"
        yield Finding(PROBLEM, "login page", f"{url} answers {status}", look)
    else:
        text = f"no answer at {where}: {status}"
        start = f"systemctl restart {layout.proxy_service} {layout.hub_service}"
        yield Finding(PROBLEM, "login page", text, start)


def _visit(host: str, port: int, path: str) -> tuple[str, str]:
    """Status of the login page, or what went wrong; and where redirects led."""
    scheme, first = "http", path
    deadline = time.monotonic() + COMMAND_TIMEOUT_S - 1
    for _ in range(8):
        left = deadline - time.monotonic()
        if left <= 0:
            return "too many redirects, too slowly", path
        try:
            if scheme == "https":
                context = ssl._create_unverified_context()
                connection: Any = http.client.HTTPSConnection(
                    host, port, timeout=left, context=context
                )
            else:
                connection = http.client.HTTPConnection(host, port, timeout=left)
            with contextlib.closing(connection):
                connection.request("GET", path, headers={"Host": _own_name()})
                answer = connection.getresponse()
                target = urlsplit(answer.getheader("Location", ""))
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__, path
        url = f"{scheme}://{host}:{port}{path}"
        if answer.status not in (301, 302, 303, 307, 308):
            # Below another path, which "/" leads to.
            if answer.status == 404 and path == first:
                path = "/"
                continue
            return str(answer.status), url
        if target.scheme == "https" and scheme == "http":
            scheme, port = "https", target.port or 443
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    return "redirects without end", path


def _own_name() -> str:
    return socket.gethostname()


def certificates(machine: Observed) -> Iterator[Finding]:
    """Where there is HTTPS: what visitors get, how long it lasts, whether its names lead here."""
    layout = machine.layout
    for file in _certificate_files(layout.dynamic_config):
        yield from _certificate(file)
    entry_point = machine.static.get("entryPoints", {}).get("https")
    if not entry_point:
        return
    address = machine.address_of(layout.proxy_https_socket)
    again = f"systemctl restart {layout.proxy_service}"
    if address is None or not machine.is_active(layout.proxy_https_socket):
        yield Finding(PROBLEM, "HTTPS", "is configured, but nobody listens for it", again)
        return
    tls = entry_point.get("http", {}).get("tls", {})
    obtained = [n for d in tls.get("domains", ()) for n in (d["main"], *d.get("sans", ()))]
    for name in obtained or [""]:
        yield from _served(machine, address, name)
    answers = resolve(obtained)
    for name, answer in answers.items():
        if why := dns_problem(name, answer, local_addresses()):
            yield Finding(WARNING, name, why, f"getent ahosts {name}")
        elif known := without_loopback(answer):
            yield Finding(OK, name, f"leads to {', '.join(sorted(known))}")


def _served(machine: Observed, address: tuple[str, int], name: str) -> Iterator[Finding]:
    """What a visitor of `name` gets; "": of any name."""
    from littlest_hub.proxy.https import (
        UNKNOWN_NAME,
        CertificatePair,
        certified_names,
        fetch_certificate,
        is_valid_for,
    )

    host, port = address
    subject = f"HTTPS {name}".rstrip()
    found = fetch_certificate(port, name.replace("*", "x") or UNKNOWN_NAME, host)
    kept = CertificatePair.from_config(machine.layout.https_config)
    is_kept = kept is not None and found == kept.leaf
    log = f"journalctl -u {machine.layout.proxy_service} -g 'acme|certificate' -n 20"
    if found is None:
        yield Finding(PROBLEM, subject, f"port {port} gives no certificate", log)
    elif not name and kept and not is_kept:
        names = ", ".join(certified_names(found)) or "no name"
        text = f"visitors get another certificate (for {names}) than c.JupyterHub.ssl_cert"
        yield Finding(PROBLEM, subject, text, log)
    elif name and (is_kept or not is_valid_for(found, name)):
        said = machine.run("journalctl", f"--unit={machine.layout.proxy_service}", "--lines=200",
                           "--no-pager", "--output=cat").splitlines()  # fmt: skip
        errors = [line for line in said if " ERR " in line and "acme" in line.lower()]
        why = f": {errors[-1].partition(' ERR ')[2]}" if errors else ""
        yield Finding(PROBLEM, subject, f"there is no certificate yet{why}", log)
    else:
        left = (found.not_valid_after_utc.timestamp() - time.time()) / 86400
        # Of those that last six days only, a quarter.
        whole = found.not_valid_after_utc - found.not_valid_before_utc
        enough = min(CERTIFICATE_DAYS, whole.total_seconds() / 86400 / 4)
        names = ", ".join(certified_names(found)) or "no name"
        severity = PROBLEM if left < 0 else WARNING if left < enough else OK
        lasts = (
            f"expired {-left:.0f} days ago" if left < 0 else f"is valid for {left:.0f} more days"
        )
        text = f"the certificate (for {names}) {lasts}"
        yield Finding(severity, subject, text, "" if severity == OK else log)


def _certificate_files(directory: Path) -> list[Path]:
    found: set[Path] = set()
    for config in directory.glob("*.toml"):
        with contextlib.suppress(ValueError):
            found.update(Path(files.certificate) for files in certificate_files(config))
    return sorted(found)


def _certificate(file: Path) -> Iterator[Finding]:
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        yield Finding(PROBLEM, str(file), f"the certificate: {error.strerror}", f"ls -l {file}")
        return
    except ValueError as error:
        yield Finding(PROBLEM, str(file), f"is no certificate: {error}", f"head -n 2 {file}")
        return
    left = (certificate.not_valid_after_utc.timestamp() - time.time()) / 86400
    renew = (
        f"openssl x509 -noout -dates -in {file}   # renew it with what issued it (certbot renew)"
    )
    if left < 0:
        yield Finding(PROBLEM, str(file), f"expired {-left:.0f} days ago", renew)
    elif left < CERTIFICATE_DAYS:
        yield Finding(WARNING, str(file), f"expires in {left:.0f} days", renew)
    else:
        yield Finding(OK, str(file), f"is valid for {left:.0f} more days")
    with contextlib.suppress(x509.ExtensionNotFound):
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        for name in alternatives.value.get_values_for_type(x509.DNSName):
            if not name.startswith("*."):
                yield from _resolved(name)


def _resolved(name: str) -> Iterator[Finding]:
    answer = resolve([name])[name]
    if isinstance(answer, str):
        yield Finding(WARNING, name, f"DNS: {answer}", f"getent hosts {name}")
        return
    yield Finding(OK, name, f"leads to {', '.join(sorted(answer))}")
