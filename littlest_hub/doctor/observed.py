"""What the doctor looks at: read only, and bounded; and what it finds there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from littlest_hub.doctor.spawns import Entry, parse_journal
from littlest_hub.layout import Layout
from littlest_hub.proxy.routes import RulesFile
from littlest_hub.system.tcp import listeners
from littlest_hub.system.toml import read_toml

OK, WARNING, PROBLEM, UNSEEN = "ok", "warning", "problem", "unseen"
COMMAND_TIMEOUT_S = 5
AS_ROOT = "sudo littlest-hub doctor"


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
        return read_toml(self.layout.static_config)

    def is_active(self, unit: str) -> bool:
        return self.units.get(unit, {}).get("ActiveState") == "active"

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


def modified_at(path: Path) -> float:
    """In seconds since the epoch."""
    return path.stat().st_mtime
