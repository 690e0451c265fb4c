"""What an experienced administrator would look at, and the command that mends what they found.

Each probe is a small function of `Observed`, which only reads; it stands alone, may fail or hang
alone, and all of them together are done within seconds: this is run when things are broken.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import re
import shlex
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from littlest_hub import __version__
from littlest_hub.backup import UNFINISHED, restore_record
from littlest_hub.check import addresses, astray, look_up, of_everybody
from littlest_hub.doctor.spawns import Entry, failures, parse_journal, started_since
from littlest_hub.layout import Layout
from littlest_hub.routes import RulesFile
from littlest_hub.services.listener import holders, listeners
from littlest_hub.services.server import METADATA
from littlest_hub.supervisor import kept_fragments

if sys.version_info >= (3, 11):
    import tomllib
else:
    import toml as tomllib

OK, WARNING, PROBLEM, UNSEEN = "ok", "warning", "problem", "unseen"
PROBE_TIMEOUT_S = 20
"""How long all probes together may take."""
COMMAND_TIMEOUT_S = 5
BACKUP_AGE_DAYS = 7
CERTIFICATE_DAYS = 14


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    severity: str
    """"ok", "warning", "problem", or "unseen": could not be looked at."""
    subject: str
    text: str
    command: str = ""
    """What mends it, or where to look further."""
    section: str = ""


Probe = Callable[["Observed"], Iterator[Finding]]


class Observed:
    """What probes look at: read only, and bounded."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @staticmethod
    def run(*command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Standard output; "" if the command is not there, fails or takes too long."""
        try:
            return subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=timeout_s,
                env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""

    @property
    def is_root(self) -> bool:
        return os.geteuid() == 0

    @cached_property
    def is_booted(self) -> bool:
        """sd_booted(3)"""
        return Path("/run/systemd/system").is_dir()

    @cached_property
    def is_foreground(self) -> bool:
        """Installed by an ordinary user, for `littlest-hub run`."""
        return self.layout.base.stat().st_uid != 0

    @cached_property
    def command(self) -> str:
        return "littlest-hub" if self.layout.is_default else f"{self.layout.hub}/bin/littlest-hub"

    @cached_property
    def units(self) -> dict[str, dict[str, str]]:
        return self._show(*self.layout.units)

    @cached_property
    def user_units(self) -> dict[str, dict[str, str]]:
        return self._show(self.layout.user_units)

    def _show(self, *units: str) -> dict[str, dict[str, str]]:
        return parse_show(self.run("systemctl", "show", *units)) if self.is_booted else {}

    @cached_property
    def journal(self) -> list[Entry]:
        """The last of what hub and user servers said."""
        only = [
            f"--unit={self.layout.hub_service}",
            f"--unit={self.layout.user_units}",
        ]
        options = ("--output=json", "--no-pager", "--since=-7d", "--lines=20000")
        return list(parse_journal(self.run("journalctl", *options, *only).splitlines()))

    @cached_property
    def routes(self) -> list[dict[str, Any]]:
        """What the hub has written of the proxy's routes.

        Raises:
            FileNotFoundError: nothing, or nothing that can be read.
        """
        return list(RulesFile(self.layout.rules).load()["jupyterhub"]["routes"].values())

    @property
    def base_url(self) -> str:
        """Path that everything is below, by the route to the hub."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for route in self.routes:
                spec = str(route["routespec"])
                if route.get("data", {}).get("hub") and spec.startswith("/"):
                    return spec
        return "/"

    def query(self, sql: str) -> list[Any]:
        """Rows of the hub's database, opened for reading alone."""
        database = f"{self.layout.database.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True, timeout=2)) as opened:
            deadline = time.monotonic() + COMMAND_TIMEOUT_S
            opened.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
            return opened.execute(sql).fetchall()

    @cached_property
    def servers(self) -> list[dict[str, Any]]:
        """User servers that run as far as the database knows."""
        rows = self.query(
            "SELECT users.name, spawners.name, spawners.state, servers.base_url, servers.port"
            " FROM spawners JOIN users ON users.id = spawners.user_id"
            " JOIN servers ON servers.id = spawners.server_id"
        )
        keys = ("user", "name", "state", "base_url", "port")
        found = [dict(zip(keys, row, strict=True)) for row in rows]
        for server in found:
            server["state"] = json.loads(server["state"] or "{}") or {}
        return found

    @cached_property
    def listening(self) -> dict[int, set[int]]:
        """Sockets (inode numbers) that listen, by TCP port."""
        found: dict[int, set[int]] = {}
        for listener in listeners():
            found.setdefault(listener.port, set()).add(listener.inode)
        return found

    @cached_property
    def static(self) -> dict[str, Any]:
        """The proxy's static configuration."""
        return tomllib.loads(self.layout.static_config.read_text())

    def address_of(self, unit: str) -> tuple[str, int] | None:
        """Where a socket unit listens, for us."""
        listen = self.units.get(unit, {}).get("Listen", "")
        found = re.search(r"(\S+):(\d+) \(Stream\)", listen)
        if not found:
            return None
        host = found[1].strip("[]")
        return ("127.0.0.1" if host in ("::", "0.0.0.0") else host), int(found[2])

    def reason(self, unit: str) -> str:
        """The last thing that a unit complained about."""
        shown = self.units.get(unit, {})
        lines = self.run(
            "journalctl", f"--unit={unit}", "--lines=30", "--no-pager", "--output=json"
        ).splitlines()
        told = [
            entry.message.strip().splitlines()[-1]
            for entry in parse_journal(lines)
            if entry.message.strip()
            and not re.search(
                r"process exited|Failed with result|^Start|^Stopp|^Fail.*to start|Consumed"
                r"|Scheduled restart|Deactivated|Succeeded\.|^See: |^Closed |^Listening ",
                entry.message,
            )
        ]
        # A service that runs says how it is, not how it was.
        status = shown.get("StatusText", "") if shown.get("ActiveState") != "active" else ""
        return status or (told[-1] if told else shown.get("Result", ""))


# --- parsing, apart from running anything


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """Properties by unit, from `systemctl show` of several; a repeated property is joined."""
    found: dict[str, dict[str, str]] = {}
    for block in text.split("\n\n"):
        properties: dict[str, str] = {}
        for line in block.splitlines():
            key, separator, value = line.partition("=")
            if separator:
                properties[key] = f"{properties[key]} {value}" if key in properties else value
        if "Id" in properties:
            found[properties["Id"]] = properties
    return found


def parse_meminfo(text: str) -> dict[str, int]:
    """Bytes by name, from /proc/meminfo."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)
    return {name: int(number) * 1024 for name, number in found}


def parse_properties(text: str) -> dict[str, str]:
    """NAME=value lines, as `timedatectl show` and os-release(5) have them."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value.strip("\"'") for key, separator, value in pairs if separator}


def systemd_version(text: str) -> int | None:
    """The number in the first line of `systemctl --version`."""
    found = re.match(r"systemd (\d+)", text)
    return int(found[1]) if found else None


# --- services


def unit_states(machine: Observed) -> Iterator[Finding]:
    """Every unit loaded, enabled, running, and not in a loop."""
    if machine.is_foreground or not machine.is_booted:
        yield Finding(OK, "units", "none: installed for `littlest-hub run`, without systemd")
        return
    for name in machine.layout.units:
        yield from _unit_state(machine, name, machine.units.get(name, {}))


def _unit_state(machine: Observed, name: str, shown: Mapping[str, str]) -> Iterator[Finding]:
    loaded, active = shown.get("LoadState", ""), shown.get("ActiveState", "")
    if not loaded:
        yield Finding(UNSEEN, name, "systemctl says nothing about it")
        return
    if loaded == "masked":
        again = f"systemctl unmask {name} && systemctl start {name}"
        yield Finding(PROBLEM, name, "is masked: somebody forbade to start it", again)
        return
    if loaded != "loaded":
        install = f"{machine.layout.hub}/bin/littlest-hub install"
        yield Finding(PROBLEM, name, f"is not installed ({loaded})", install)
        return
    restarts = int(shown.get("NRestarts") or 0)
    if shown.get("NeedDaemonReload") == "yes":
        reload = "systemctl daemon-reload"
        yield Finding(WARNING, name, "has changed on disk since systemd read it", reload)
    if shown.get("UnitFileState") in ("disabled", "linked"):
        linked = machine.layout.unit_files / name
        enable = f"systemctl enable {linked if linked.exists() else name}"
        yield Finding(WARNING, name, "does not start at the next boot", enable)
    for drop_in in shown.get("DropInPaths", "").split():
        if drop_in.endswith(f"/{UNFINISHED}"):
            continue
        yield Finding(OK, name, f"drop-in {drop_in}", f"systemctl cat {name}")
    if name == machine.layout.proxy_https_socket and active == "inactive":
        # What would be wrong with that is for `certificates`, which sees what was asked for.
        yield Finding(OK, name, "listens when a fragment asks for HTTPS")
    elif active == "active":
        if restarts:
            text = f"runs, after {restarts} restarts by itself: {machine.reason(name)}"
            look = f"journalctl -u {name} -p warning"
            yield Finding(WARNING, name, text, look)
        else:
            yield Finding(OK, name, "is active")
    elif active in ("reloading", "deactivating"):
        yield Finding(WARNING, name, f"is {active} at the moment", f"systemctl status {name}")
    elif shown.get("SubState") == "auto-restart" or (active == "activating" and restarts):
        yield Finding(
            PROBLEM,
            name,
            f"fails each time it starts ({restarts} restarts): {machine.reason(name)}",
            f"journalctl -u {name} -n 50   # mend the cause: it starts again by itself",
        )
    elif active == "activating":
        yield Finding(WARNING, name, "is starting at the moment", f"systemctl status {name}")
    elif name.endswith(".socket") and _is_active(machine, _service_of(name)):
        # systemd starts no socket under a service that runs.
        service = _service_of(name)
        sockets = [u for u in machine.layout.units if u != service and _service_of(u) == service]
        start = f"systemctl stop {service}; systemctl start {' '.join(sockets)} {service}"
        text = (
            f"is {active}: {service} goes on with what it has, and its restart would lose requests"
        )
        yield Finding(PROBLEM, name, text, start)
    else:
        reason = machine.reason(name)
        text = f"is {active}" + (f": {reason}" if active == "failed" and reason else "")
        yield Finding(PROBLEM, name, text, f"systemctl start {name}")


def _service_of(unit: str) -> str:
    return re.sub(r"(-api|-https)?\.socket$", ".service", unit)


def _is_active(machine: Observed, unit: str) -> bool:
    return machine.units.get(unit, {}).get("ActiveState") == "active"


def unfinished_restore(machine: Observed) -> Iterator[Finding]:
    """A restore that was killed."""
    if not restore_record(machine.layout).exists():
        return
    text = "a restore is under way, or was killed; the next start of the hub completes it"
    yield Finding(PROBLEM, "restore", text, f"systemctl restart {machine.layout.hub_service}")


def releases(machine: Observed) -> Iterator[Finding]:
    """What runs from which release."""
    layout = machine.layout
    if not layout.hub.is_symlink() or not (layout.hub / "bin" / "python3").exists():
        here = sorted(p.name for p in layout.releases.iterdir() if (p / "bin/python3").exists())
        repair = f"ln -sfn releases/{here[-1]} {layout.hub}" if here else ""
        yield Finding(PROBLEM, "release", f"{layout.hub} leads to no release", repair)
        return
    active = layout.hub.resolve().name
    yield Finding(OK, "release", f"{active} is active")
    running: dict[str, list[str]] = {}
    for name, shown in {**machine.units, **machine.user_units}.items():
        pid = shown.get("MainPID", "0")
        if pid != "0":
            release = _release_of(pid, layout.releases)
            if release is None:
                if not machine.is_root:
                    continue
                release = "?"
            running.setdefault(release, []).append(name)
    for name in (layout.hub_service, layout.proxy_service):
        old = next((r for r, names in running.items() if name in names), active)
        if old not in (active, "?"):
            text = f"still runs release {old}, the active one is {active}"
            yield Finding(WARNING, name, text, f"systemctl reload-or-restart {name}")
    for release, names in sorted(running.items()):
        users = [name for name in names if name in machine.user_units]
        if release not in (active, "?") and users:
            text = f"{len(users)} still run release {release}, until their users restart them"
            stop = f"systemctl stop {' '.join(users)}   # loses what runs in them"
            yield Finding(WARNING, "user servers", text, stop)
    others = sorted((p for p in layout.releases.iterdir() if p.name != active), key=_mtime)
    # The last one is what a rollback goes back to.
    unused = [p for p in others[:-1] if p.is_dir() and p.name not in running]
    if unused and machine.is_root:
        remove = f"rm -rf {' '.join(map(str, unused))}"
        yield Finding(
            OK, "release", f"nothing runs from {', '.join(p.name for p in unused)}", remove
        )


def _release_of(pid: str, releases: Path) -> str | None:
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None
    inside = executable.is_relative_to(releases)
    return executable.relative_to(releases).parts[0] if inside else "?"


# --- network


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
            elif inodes and not _is_active(machine, _service_of(name)):
                yield _taken(machine, number, inodes, name)


def _taken(machine: Observed, port: int, inodes: set[int], unit: str) -> Finding:
    start = f"systemctl start {unit} {_service_of(unit)}"
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
    if address is None or not _is_active(machine, layout.proxy_https_socket):
        yield Finding(PROBLEM, "HTTPS", "is configured, but nobody listens for it", again)
        return
    tls = entry_point.get("http", {}).get("tls", {})
    obtained = [n for d in tls.get("domains", ()) for n in (d["main"], *d.get("sans", ()))]
    for name in obtained or [""]:
        yield from _served(machine, address, name)
    answers = look_up(obtained)
    for name, answer in answers.items():
        if why := astray(name, answer, addresses()):
            yield Finding(WARNING, name, why, f"getent ahosts {name}")
        elif known := of_everybody(answer):
            yield Finding(OK, name, f"leads to {', '.join(sorted(known))}")


def _served(machine: Observed, address: tuple[str, int], name: str) -> Iterator[Finding]:
    """What a visitor of `name` gets; "": of any name."""
    from littlest_hub.https import ANY_NAME, Pair, covers, names_of, presented

    host, port = address
    subject = f"HTTPS {name}".rstrip()
    found = presented(port, name.replace("*", "x") or ANY_NAME, host)
    kept = Pair.configured(machine.layout.https_config)
    is_kept = kept is not None and found == kept.leaf
    log = f"journalctl -u {machine.layout.proxy_service} -g 'acme|certificate' -n 20"
    if found is None:
        yield Finding(PROBLEM, subject, f"port {port} gives no certificate", log)
    elif not name and kept and not is_kept:
        names = ", ".join(names_of(found)) or "no name"
        text = f"visitors get another certificate (for {names}) than c.JupyterHub.ssl_cert"
        yield Finding(PROBLEM, subject, text, log)
    elif name and (is_kept or not covers(found, name)):
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
        names = ", ".join(names_of(found)) or "no name"
        severity = PROBLEM if left < 0 else WARNING if left < enough else OK
        lasts = (
            f"expired {-left:.0f} days ago" if left < 0 else f"is valid for {left:.0f} more days"
        )
        text = f"the certificate (for {names}) {lasts}"
        yield Finding(severity, subject, text, "" if severity == OK else log)


def _certificate_files(directory: Path) -> Iterator[Path]:
    seen: set[Path] = set()
    for file in sorted(directory.glob("*.toml")):
        with contextlib.suppress(ValueError):
            tls = tomllib.loads(file.read_text()).get("tls", {})
            stores = tls.get("stores", {}).values()
            named = [
                *tls.get("certificates", []),
                *(s.get("defaultCertificate", {}) for s in stores),
            ]
            files = (str(each.get("certFile", "")) for each in named)
            # Not the text itself, which may stand there instead.
            seen.update(Path(name) for name in files if name.startswith("/"))
    yield from sorted(seen)


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
    answer = look_up([name])[name]
    if isinstance(answer, str):
        yield Finding(WARNING, name, f"DNS: {answer}", f"getent hosts {name}")
        return
    yield Finding(OK, name, f"leads to {', '.join(sorted(answer))}")


# --- servers


def routes(machine: Observed) -> Iterator[Finding]:
    """Database, proxy and systemd agree on who runs."""
    layout = machine.layout
    if not layout.database.exists():
        return
    yield from disagreements(
        machine.servers,
        [str(route["routespec"]) for route in machine.routes],
        [name for name, unit in machine.user_units.items() if unit.get("ActiveState") == "active"],
        hub_unit=layout.hub_service,
    )


def disagreements(
    servers: Sequence[Mapping[str, Any]],
    routespecs: Sequence[str],
    running: Sequence[str],
    *,
    hub_unit: str,
) -> Iterator[Finding]:
    """Where the three lists differ, both ways."""
    # A hub that starts compares and mends.
    restart = f"systemctl restart {hub_unit}"
    known = {f"{s['state']['unit_name']}.service" for s in servers if s["state"].get("unit_name")}
    for unit in sorted(set(running) - known):
        text = "runs, and the hub does not know it; its user's next start takes it over"
        yield Finding(WARNING, unit, text, f"systemctl stop '{unit}'")
    for unit in sorted(known - set(running)):
        text = "does not run, and the hub believes that it does"
        yield Finding(WARNING, unit, text, restart)
    specs = {spec for spec in routespecs if "/user/" in spec}
    expected = {str(server["base_url"]) for server in servers}
    for spec in sorted(expected - {spec[spec.index("/") :] for spec in specs}):
        yield Finding(PROBLEM, spec, "runs, and the proxy has no route to it", restart)
    for spec in sorted(spec for spec in specs if spec[spec.index("/") :] not in expected):
        yield Finding(WARNING, spec, "has a route, and no server runs there", restart)
    yield Finding(OK, "user servers", f"{len(servers)} run")


def failed_spawns(machine: Observed) -> Iterator[Finding]:
    """Servers that did not start, with the reason that is in the journal alone."""
    layout = machine.layout
    if machine.is_foreground:
        return
    if not machine.journal:
        yield Finding(UNSEEN, "failed servers", "the journal of the hub cannot be read", _AS_ROOT)
        return
    edit = f"{machine.command} edit {_last_fragment(layout)}"
    found = failures(machine.journal, layout, edit)
    for failure in found[:10]:
        if started_since(machine.journal, layout.hub_service, failure):
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(failure.time_us / 1e6))
        text = f"did not start at {when}: {failure.line}"
        if failure.why:
            text += f"\n{failure.why}"
        is_recent = failure.time_us / 1e6 > time.time() - 86400
        severity = PROBLEM if is_recent else WARNING
        yield Finding(severity, f"{failure.user}'s server", text, failure.command)


def _last_fragment(layout: Layout) -> str:
    try:
        return next(reversed([file.name for file in layout.fragment_files()]), "20-mine.py")
    except OSError:
        return "20-mine.py"


def user_units(machine: Observed) -> Iterator[Finding]:
    """User servers that restart again and again, or were killed for memory."""
    for name, shown in machine.user_units.items():
        if int(shown.get("NRestarts") or 0) > 0:
            text = f"restarted {shown['NRestarts']} times"
            yield Finding(WARNING, name, text, f"journalctl -u '{name}' -n 50")
        if shown.get("Result") == "oom-kill":
            text = "was killed: it needed more memory than its limit, or than there is"
            yield Finding(WARNING, name, text, f"systemctl show -p MemoryMax '{name}'")


# --- configuration


def fragments(machine: Observed) -> Iterator[Finding]:
    """What `check` says, and what is not applied yet."""
    layout = machine.layout
    try:
        files, ignored = layout.fragment_files(), layout.ignored_files()
    except PermissionError:
        yield Finding(UNSEEN, "fragments", f"{layout.fragments} cannot be read", _AS_ROOT)
        return
    for file in ignored:
        if file.is_file() and re.search(rb"^c\.\w+\.\w+", file.read_bytes(), re.MULTILINE):
            rename = f"mv {shlex.quote(str(file))} {shlex.quote(str(file.with_suffix('.py')))}"
            yield Finding(WARNING, str(file), "is ignored: its name does not end in .py", rename)
    changed = _changed_since_start(layout, files)
    if changed:
        text = f"changed since the hub last started: {', '.join(changed)}"
        yield Finding(WARNING, "fragments", text, f"systemctl reload {layout.hub_service}")
    from littlest_hub.check import examine as check

    problems = check(layout).problems
    for problem in problems:
        severity = WARNING if problem.is_warning else PROBLEM
        edit = f"{machine.command} edit {Path(problem.file).name}"
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        yield Finding(severity, place, problem.message, edit)
    if not problems:
        yield Finding(OK, "fragments", f"{len(files)}, without problems")


def _changed_since_start(layout: Layout, files: Sequence[Path]) -> list[str]:
    """Names of the fragments that are not what the running hub was started with."""
    kept = [
        directory
        for directory in layout.run_directory.glob(kept_fragments(layout, "*").name)
        if Path("/proc", directory.name.rpartition("-")[2]).exists()
    ]
    if len(kept) != 1:
        return []  # no hub, or one that is being replaced at this moment
    started_with = {file.name: file.read_bytes() for file in kept[0].glob("[!.]*.py")}
    now = {file.name: file.read_bytes() for file in files}
    return sorted(name for name in {*started_with, *now} if started_with.get(name) != now.get(name))


def secrets(machine: Observed) -> Iterator[Finding]:
    """Who may read what is nobody's business."""
    layout = machine.layout
    owner = 0 if not machine.is_foreground else layout.base.stat().st_uid
    own = pwd.getpwnam(layout.hub_user).pw_uid if layout.hub_user else owner
    for path, mode, owner_of_it in (
        (layout.fragments, 0o750 if layout.hub_user else 0o700, owner),
        (layout.state, 0o710 if layout.hub_user else 0o700, owner),
        (layout.database, 0o600, own),
        (layout.cookie_secret, 0o600, own),
    ):
        try:
            status = path.stat()
        except FileNotFoundError:
            if path in (layout.fragments, layout.state):
                yield Finding(
                    PROBLEM, str(path), "is missing", f"{layout.hub}/bin/littlest-hub install"
                )
            continue
        except PermissionError:
            yield Finding(UNSEEN, str(path), "cannot be looked at", _AS_ROOT)
            continue
        actual = stat.S_IMODE(status.st_mode)
        if machine.is_foreground and path == layout.database:
            # Made by whoever runs the hub, with their umask, where nobody else gets to.
            actual &= 0o700
        if status.st_uid != owner_of_it:
            name = _user_name(status.st_uid)
            chown = f"chown {_user_name(owner_of_it)}: {path}"
            yield Finding(PROBLEM, str(path), f"belongs to {name}", chown)
        if actual & ~mode:
            text = f"may be read by others (mode {actual:04o}, expected {mode:04o})"
            yield Finding(PROBLEM, str(path), text, f"chmod {mode:04o} {path}")
        elif actual & mode & 0o600 != 0o600:
            text = f"cannot be used by its owner (mode {actual:04o}, expected {mode:04o})"
            yield Finding(PROBLEM, str(path), text, f"chmod {mode:04o} {path}")
    for path in (layout.base, layout.hub.resolve()):
        status = path.stat()
        if status.st_uid != owner or status.st_mode & 0o022:
            text = "may be changed by others than root, and so may what the hub runs as root"
            repair = f"chown root: {path} && chmod go-w {path}"
            yield Finding(PROBLEM, str(path), text, repair)


# --- data


def database(machine: Observed) -> Iterator[Finding]:
    """Whether sqlite finds it whole."""
    file = machine.layout.database
    if not file.parent.is_dir() or not os.access(file.parent, os.X_OK):
        yield Finding(UNSEEN, "database", f"{file} cannot be looked at", _AS_ROOT)
        return
    if not file.exists():
        yield Finding(OK, "database", "none of ours (not started yet, or a fragment names another)")
        return
    try:
        verdict = str(machine.query("PRAGMA quick_check(3)")[0][0])
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict == "ok":
        yield Finding(OK, "database", f"whole, {file.stat().st_size / 1e6:.1f} MB")
    elif "interrupted" in verdict or "locked" in verdict:
        yield Finding(UNSEEN, "database", f"{verdict} after {COMMAND_TIMEOUT_S} s")
    else:
        newest = _newest_backup(machine.layout)
        if newest:
            mend = f"{machine.command} restore --yes {newest}"
        else:
            unit = machine.layout.hub_service
            mend = f"systemctl stop {unit}; mv {file} {file}.damaged; systemctl start {unit}"
        text = f"{file} is damaged: {verdict}"
        text += "" if newest else "\nthere is no backup; a new one forgets users, groups and tokens"
        yield Finding(PROBLEM, "database", text, mend)


def last_backup(machine: Observed) -> Iterator[Finding]:
    """When it was."""
    if not os.access(machine.layout.hub_state, os.X_OK | os.R_OK):
        yield Finding(UNSEEN, "backup", "cannot be looked at", _AS_ROOT)
        return
    newest = _newest_backup(machine.layout)
    make = f"{machine.command} backup"
    if newest is None:
        where = machine.layout.backups
        yield Finding(WARNING, "backup", f"none in {where}, unless it is made elsewhere", make)
        return
    days = (time.time() - _mtime(newest)) / 86400
    severity = WARNING if days > BACKUP_AGE_DAYS else OK
    yield Finding(severity, "backup", f"the last is {days:.0f} days old: {newest}", make)


def _newest_backup(layout: Layout) -> Path | None:
    made = [f for f in layout.backups.glob("*.tar.gz") if not f.name.startswith("before-restore")]
    return max(made, key=_mtime, default=None)


def resolver(machine: Observed) -> Iterator[Finding]:
    """Whether user servers can ask for names: on some clouds, whom they would is denied to them."""
    with contextlib.suppress(FileNotFoundError):
        yield from resolved_by(Path("/etc/resolv.conf").read_text())


def resolved_by(resolv_conf: str) -> Iterator[Finding]:
    """What resolv.conf(5) says about user servers."""
    denied = [
        server
        for server in METADATA
        if re.search(rf"^nameserver\s+{re.escape(server)}\s*$", resolv_conf, re.MULTILINE)
    ]
    for server in denied:
        yield Finding(
            WARNING,
            "names",
            f"{server} is this machine's name server and also hands out its credentials, so it is"
            " denied to user servers (IPAddressDeny=), which cannot resolve names",
            "apt-get install systemd-resolved   # asks it in their place",
        )


# --- machine


def disks(machine: Observed) -> Iterator[Finding]:
    """Space and inodes where we and users write."""
    seen: set[int] = set()
    for name in (str(machine.layout.base), "/home", "/run", "/tmp", "/var/log"):
        with contextlib.suppress(OSError):
            device = Path(name).stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            yield from disk(name, os.statvfs(name))
    used = re.search(r"take up ([\d.]+)([KMGT])", machine.run("journalctl", "--disk-usage"))
    if used:
        gigabytes = float(used[1]) * {"K": 1e-6, "M": 1e-3, "G": 1, "T": 1e3}[used[2]]
        shrink = "journalctl --vacuum-size=500M" if gigabytes > 4 else ""
        severity = WARNING if shrink else OK
        yield Finding(severity, "journal", f"{used[1]}{used[2]} on disk", shrink)


def disk(name: str, status: os.statvfs_result) -> Iterator[Finding]:
    """What statvfs(3) says about one file system."""
    look = f"du -xh --max-depth=2 {name} | sort -h | tail -n 20"
    if status.f_flag & os.ST_RDONLY:
        remount = f"mount -o remount,rw {name}"
        yield Finding(PROBLEM, f"disk {name}", "is mounted read-only", remount)
    if not status.f_blocks:
        return
    free = status.f_bavail * status.f_frsize
    percent = 100 * status.f_bavail / status.f_blocks
    text = f"{free / 1e9:.2f} GB free ({percent:.0f} %)"
    if percent < 1 or free < 20e6:
        yield Finding(PROBLEM, f"disk {name}", f"is full: {text}", look)
    elif percent < 5:
        yield Finding(WARNING, f"disk {name}", f"is nearly full: {text}", look)
    else:
        yield Finding(OK, f"disk {name}", text)
    if status.f_files and status.f_favail / status.f_files < 0.02:
        text = f"has {status.f_favail} of {status.f_files} inodes left: too many small files"
        count = f"du -x --inodes --max-depth=2 {name} | sort -n | tail -n 20"
        yield Finding(PROBLEM, f"disk {name}", text, count)


def memory(machine: Observed) -> Iterator[Finding]:
    """How much is left, and who was killed for want of it."""
    found = parse_meminfo(Path("/proc/meminfo").read_text())
    total, free = found.get("MemTotal", 0), found.get("MemAvailable", 0)
    swap = found.get("SwapTotal", 0)
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB available, {swap / 1e9:.1f} GB swap"
    if total and free / total < 0.05:
        repair = "systemctl status --no-pager -- '*.user[-@]*'; free -h"
        yield Finding(PROBLEM, "memory", text, repair)
    else:
        yield Finding(OK, "memory", text)
    killed = [
        line
        for line in machine.run(
            "journalctl", "--dmesg", "--since=-24h", "--no-pager", "--output=cat", "--lines=20000"
        ).splitlines()
        if re.search(r"Out of memory: Killed process|Memory cgroup out of memory: Killed", line)
    ]
    if killed:
        text = f"{len(killed)} processes killed within a day; the last: {killed[-1]}"
        yield Finding(WARNING, "memory", text, "journalctl --dmesg -g 'Killed process'")


def limits(machine: Observed) -> Iterator[Finding]:
    """Whether limits of memory and CPU can be enforced."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if not controllers.exists():
        text = "cgroup v1: limits of memory are enforced in part; this systemd or kernel is old"
        kernel = "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line"
        yield Finding(WARNING, "limits", text, f"cat /proc/cmdline   # {kernel}")
        return
    missing = {"memory", "cpu", "pids"} - set(controllers.read_text().split())
    if missing:
        text = f"not enforced, controllers missing: {', '.join(sorted(missing))}"
        yield Finding(
            WARNING, "limits", text, "cat /sys/fs/cgroup/cgroup.controllers /proc/cmdline"
        )
    else:
        yield Finding(OK, "limits", "cgroup v2, enforced")


def clock(machine: Observed) -> Iterator[Finding]:
    """Tokens and certificates depend on it."""
    shown = parse_properties(machine.run("timedatectl", "show"))
    yield from synchronised(shown)
    with contextlib.suppress(OSError):
        ahead = _mtime(machine.layout.hub.resolve()) - time.time()
        if machine.layout.database.exists():
            ahead = max(ahead, _mtime(machine.layout.database) - time.time())
        if ahead > 60:
            text = f"is wrong: files of ours are from {ahead / 3600:.1f} hours in the future"
            yield Finding(PROBLEM, "clock", text, "timedatectl set-ntp true")


def synchronised(shown: Mapping[str, str]) -> Iterator[Finding]:
    """What `timedatectl show` means."""
    if not shown:
        yield Finding(UNSEEN, "clock", "timedatectl gives no answer")
    elif shown.get("NTPSynchronized") == "yes":
        yield Finding(OK, "clock", "synchronised")
    elif shown.get("CanNTP") == "no":
        # A container has its host's clock.
        text = "nothing synchronises it here, unless the host of this container or machine does"
        yield Finding(OK, "clock", text, "apt-get install systemd-timesyncd || dnf install chrony")
    elif shown.get("NTP") == "no":
        yield Finding(WARNING, "clock", "is not synchronised", "timedatectl set-ntp true")
    else:
        look = "timedatectl timesync-status || chronyc tracking"
        yield Finding(WARNING, "clock", "is not synchronised yet: no time server answers", look)


def system(machine: Observed) -> Iterator[Finding]:
    """Versions, and what else decides whether a login or a server works."""
    version = systemd_version(machine.run("systemctl", "--version"))
    if version is not None and version < 247:
        yield Finding(PROBLEM, "systemd", f"{version}; 247 is the oldest we know to work")
    os_release = Path("/etc/os-release")
    name = parse_properties(os_release.read_text()) if os_release.exists() else {}
    text = f"{name.get('PRETTY_NAME', 'unknown')}, kernel {os.uname().release}, systemd {version}"
    yield Finding(OK, "system", text)
    if not machine.is_foreground and not Path("/etc/pam.d/login").exists():
        text = "/etc/pam.d/login is missing: nobody can log in with a system account's password"
        install = "apt-get install --reinstall login || dnf reinstall util-linux"
        yield Finding(WARNING, "PAM", text, install)
    enforce = Path("/sys/fs/selinux/enforce")
    if enforce.exists() and enforce.read_text().strip() == "1":
        look = "ausearch -m avc -ts today"
        yield Finding(OK, "SELinux", "enforcing; what it denies is in the audit log", look)
    yield Finding(OK, "firewall", "cannot be known from here: try the address from outside")


PROBES: tuple[tuple[str, Probe], ...] = (
    ("Services", unit_states),
    ("Services", unfinished_restore),
    ("Services", releases),
    ("Network", ports),
    ("Network", login_page),
    ("Network", certificates),
    ("User servers", failed_spawns),
    ("User servers", routes),
    ("User servers", user_units),
    ("User servers", resolver),
    ("Configuration", fragments),
    ("Configuration", secrets),
    ("Data", database),
    ("Data", last_backup),
    ("Machine", disks),
    ("Machine", memory),
    ("Machine", limits),
    ("Machine", clock),
    ("Machine", system),
)

_AS_ROOT = "sudo littlest-hub doctor"


def examine(layout: Layout, timeout_s: float = PROBE_TIMEOUT_S) -> list[Finding]:
    """Every finding of every probe, in order; what fails or hangs is a finding too."""
    machine = Observed(layout)
    # Before the probes share them.
    with contextlib.suppress(Exception):
        machine.units, machine.user_units, machine.journal  # noqa: B018
    found: list[list[Finding] | None] = [None] * len(PROBES)

    def look(index: int, section: str, probe: Probe) -> None:
        findings: list[Finding] = []
        try:
            for finding in probe(machine):
                findings.append(replace(finding, section=section))
        except PermissionError as error:
            text = f"{error.filename}: permission denied"
            findings.append(Finding(UNSEEN, _name(probe), text, _AS_ROOT, section))
        except Exception as error:
            text = f"could not be looked at: {type(error).__name__}: {error}"
            findings.append(Finding(UNSEEN, _name(probe), text, section=section))
        found[index] = findings

    # Daemons: a disk that hangs must not keep us.
    threads = [
        threading.Thread(target=look, args=(index, *each), daemon=True)
        for index, each in enumerate(PROBES)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    everything: list[Finding] = []
    for (section, probe), findings in zip(PROBES, found, strict=True):
        if findings is None:
            text = f"gave no answer within {timeout_s:g} s"
            findings = [Finding(UNSEEN, _name(probe), text, section=section)]
        everything += findings
    return everything


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether there is no problem; a warning is none."""
    return not any(finding.severity == PROBLEM for finding in findings)


def to_json(layout: Layout, findings: Sequence[Finding]) -> str:
    """Findings for a program; "format" changes when a field does."""
    severities = [finding.severity for finding in findings]
    return json.dumps(
        {
            "format": 1,
            "version": __version__,
            "base": str(layout.base),
            "well": is_well(findings),
            "counts": {each: severities.count(each) for each in (OK, WARNING, PROBLEM, UNSEEN)},
            "findings": [asdict(finding) for finding in findings],
        },
        indent=1,
    )


_COLOURS = {PROBLEM: "1;31", WARNING: "33", UNSEEN: "2", OK: "32"}


def report(findings: Sequence[Finding], *, everything: bool, colour: bool) -> str:
    """Findings for a person: what is not in order, by section, and how much is."""

    def painted(severity: str) -> str:
        text = f"{severity:8}"
        return f"\033[{_COLOURS[severity]}m{text}\033[0m" if colour else text

    lines: list[str] = []
    for section in dict.fromkeys(section for section, _ in PROBES):
        shown = [f for f in findings if f.section == section and (everything or f.severity != OK)]
        if shown:
            lines += ["", section]
        for finding in shown:
            first, *rest = finding.text.splitlines() or [""]
            lines.append(f"  {painted(finding.severity)} {finding.subject}: {first}")
            lines += [f"{'':11}{line}" for line in rest]
            if finding.command:
                lines.append(f"{'':11}$ {finding.command}")
    count = {each: sum(f.severity == each for f in findings) for each in _COLOURS}
    total = "  ".join(
        f"{number} {each}{'s' if each in (WARNING, PROBLEM) and number > 1 else ''}"
        for each, number in count.items()
        if number
    )
    verdict = "All is well." if is_well(findings) else "There are problems."
    return "\n".join([*lines[1:], *([""] if lines else []), f"{verdict} {total}"])


def _name(probe: Probe) -> str:
    return probe.__name__.replace("_", " ")


def _mtime(path: Path) -> float:
    return path.stat().st_mtime


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
