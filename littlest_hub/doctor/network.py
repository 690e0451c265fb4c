"""Ports and the login page."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from littlest_hub.doctor.findings import OK, PROBLEM, WARNING, Finding
from littlest_hub.doctor.services import service_of
from littlest_hub.doctor.snapshot import COMMAND_TIMEOUT_S, Snapshot
from littlest_hub.system import processes
from littlest_hub.system.systemctl import parse_streams
from littlest_hub.system.tcp import processes_of

SLOW_S = 2
"""A login page that takes longer gets a warning."""


def ports(snapshot: Snapshot) -> Iterator[Finding]:
    """Check which process listens on each port of our socket units."""
    for name in snapshot.layout.started_unit_names:
        shown = snapshot.units.get(name, {})
        if not name.endswith(".socket") or shown.get("LoadState") != "loaded":
            continue
        numbers = dict.fromkeys(port for _, port in parse_streams(shown.get("Listen", "")))
        for number in numbers:
            inodes = snapshot.listening.get(number, set())
            if snapshot.is_active(name) and inodes:
                yield Finding(OK, f"port {number}", f"held by systemd for {name}")
            elif snapshot.is_active(name):
                text = f"nothing listens, though {name} is active"
                yield Finding(PROBLEM, f"port {number}", text, f"systemctl restart {name}")
            elif inodes and not snapshot.is_active(service_of(name)):
                yield _taken(snapshot, number, inodes, name)


def _taken(snapshot: Snapshot, port: int, inodes: set[int], unit: str) -> Finding:
    subject, service = f"port {port}", service_of(unit)
    start = f"systemctl reset-failed {service}; systemctl start {unit} {service}"
    if not snapshot.is_root:
        return Finding(PROBLEM, subject, f"taken by another program; {unit} cannot start")
    for pid in processes_of(inodes).values():
        other = processes.unit(pid)
        stop = f"systemctl disable --now {other}" if other.endswith(".service") else f"kill {pid}"
        program = f"{processes.name(pid)} (process {pid}, {other or 'no unit'})"
        text = f"{program} listens where {unit} should"
        return Finding(PROBLEM, subject, text, f"{stop} && {start}")
    return Finding(PROBLEM, subject, f"taken; {unit} cannot start", f"ss -ltnp | grep :{port}")


def login_page(snapshot: Snapshot) -> Iterator[Finding]:
    """Visit the login page as a browser would."""
    layout = snapshot.layout
    address = snapshot.address_of(layout.proxy_socket)
    units = (layout.proxy_socket, layout.proxy_service, layout.hub_service)
    if address is None or not all(map(snapshot.is_active, units)):
        return  # the units' findings say why there is no page
    began = time.monotonic()
    status, url = _visit(*address, f"{snapshot.base_url}hub/login")
    took_s = time.monotonic() - began
    where = f"http://{address[0]}:{address[1]}"
    restart = f"systemctl restart {layout.proxy_service} {layout.hub_service}"
    severity, command = PROBLEM, restart
    if status == "200":
        severity = WARNING if took_s > SLOW_S else OK
        command = f"systemctl status {layout.hub_service}" if severity == WARNING else ""
        text = f"answers in {took_s:.2f} s at {url}"
    elif status == "404":
        text = f"the proxy answers 404 at {where}: it has not loaded its routes"
    elif status in ("502", "503", "504"):
        text = f"the proxy answers {status} at {where}: it does not reach the hub"
        command = f"systemctl restart {layout.hub_service}"
    elif status.isdecimal():
        text = f"{url} answers {status}"
        command = f"journalctl -u {layout.hub_service} -p err -n 50"
    else:
        text = f"no answer at {where}: {status}"
    yield Finding(severity, "login page", text, command)


def _visit(host: str, port: int, path: str) -> tuple[str, str]:
    """Follow redirects on this machine; return the HTTP status or an error, and the last URL."""
    scheme, first = "http", path
    deadline = time.monotonic() + COMMAND_TIMEOUT_S - 1
    for _ in range(8):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return "too many redirects, too slowly", path
        connection = http.client.HTTPConnection(host, port, timeout=left_s)
        if scheme == "https":
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(host, port, timeout=left_s, context=context)
        try:
            with contextlib.closing(connection):
                connection.request("GET", path, headers={"Host": socket.gethostname()})
                answer = connection.getresponse()
                target = urlsplit(answer.getheader("Location", ""))
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__, path
        url = f"{scheme}://{host}:{port}{path}"
        if answer.status not in (301, 302, 303, 307, 308):
            # The hub may be below another path; "/" redirects to it.
            if answer.status == 404 and path == first:
                path = "/"
                continue
            return str(answer.status), url
        if target.scheme == "https" and scheme == "http":
            scheme, port = "https", target.port or 443
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    return "endless redirects", path
