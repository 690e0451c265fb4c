"""The state of an installation and its machine, which the probes share and only read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from littlest_hub.doctor.journal import JournalEntry, parse_journal
from littlest_hub.errors import LittlestHubError, with_sudo
from littlest_hub.layout import Layout
from littlest_hub.proxy.routes import RoutesFile
from littlest_hub.system.systemctl import (
    ALL_JOURNALS,
    is_booted,
    newest,
    parse_show,
    parse_streams,
    systemctl,
)
from littlest_hub.system.tcp import listeners
from littlest_hub.system.toml import read_toml
from littlest_hub.units.stack import installed_units, is_template

COMMAND_TIMEOUT_S = 5
# Messages of systemd about start and end of a unit, and those that say more about the cause.
_START = re.compile(r"Starting ")
_END = re.compile(r"process exited|Failed with result")
_CAUSE = re.compile(
    r"code=(?:killed|dumped)|Failed at step|Failed to (?!start )|: Failed |oom-kill|OOM killer"
    r"|timed out|status=2\d\d/[A-Z]"
)


def output_of(*command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Return a command's standard output; "" if it does not exist, fails or takes too long."""
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


class Snapshot:
    """Everything that more than one probe reads, read once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @property
    def is_root(self) -> bool:
        return os.geteuid() == 0

    @cached_property
    def fragments_copy(self) -> Path | None:
        """The fragments that the hub was started with; None: none runs, or it is being replaced."""
        pattern = self.layout.fragments_copy("*").name
        kept = [
            directory
            for directory in self.layout.run_directory.glob(pattern)
            if Path("/proc", directory.name.rpartition("-")[2]).exists()
        ]
        return kept[0] if len(kept) == 1 else None

    @property
    def hub_started_at(self) -> float | None:
        """Time at which the hub was started or reloaded, in seconds since the epoch."""
        return self.fragments_copy.stat().st_ctime if self.fragments_copy else None

    @property
    def as_root(self) -> str:
        """The command that sees everything."""
        return with_sudo(f"{self.layout.command} doctor")

    @cached_property
    def is_booted(self) -> bool:
        return is_booted()

    @cached_property
    def is_foreground(self) -> bool:
        """Installed by an ordinary user, for `littlest-hub run`."""
        has_unit = (self.layout.system_units / self.layout.hub_service).exists()
        return self.layout.base.stat().st_uid != 0 and not has_unit

    @cached_property
    def units(self) -> dict[str, dict[str, str]]:
        """Properties of the units of hub, proxy and stacks, and of the sockets of helpers."""
        names = (*self.layout.started_unit_names, *self.layout.helper_sockets)
        return self._show(*names, *self.stack_units)

    @cached_property
    def stack_units(self) -> list[str]:
        """Names of the units of stacks, without templates."""
        return [name for name in installed_units(self.layout) if not is_template(name)]

    @cached_property
    def user_units(self) -> dict[str, dict[str, str]]:
        """Properties of user servers' units."""
        return self._show(self.layout.user_unit_pattern)

    def _show(self, *units: str) -> dict[str, dict[str, str]]:
        if self.is_booted:
            with contextlib.suppress(LittlestHubError):  # it took too long
                shown = systemctl("show", *units, is_checked=False, timeout_s=COMMAND_TIMEOUT_S)
                return parse_show(shown)
        return {}

    @cached_property
    def journal(self) -> list[JournalEntry]:
        """The last messages of hub and user servers."""
        units = (f"--unit={self.layout.hub_service}", f"--unit={self.layout.user_unit_pattern}")
        options = (ALL_JOURNALS, "--output=json", "--no-pager", "--since=-7d", *newest(20000))
        found = output_of("journalctl", *options, *units).splitlines()
        return list(parse_journal(reversed(found)))

    @cached_property
    def routes(self) -> list[dict[str, Any]]:
        """The proxy's routes, as the hub has written them.

        Raises:
            FileNotFoundError: there are none, or none that can be read.
        """
        return list(RoutesFile(self.layout.routes).load()["jupyterhub"]["routes"].values())

    @property
    def base_url(self) -> str:
        """The path of the route to the hub."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for route in self.routes:
                spec = str(route["routespec"])
                if route.get("data", {}).get("hub") and spec.startswith("/"):
                    return spec
        return "/"

    def query(self, sql: str) -> list[Any]:
        """Return rows of the hub's database, which is opened read-only."""
        database = f"{self.layout.database.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True, timeout=2)) as opened:
            deadline = time.monotonic() + COMMAND_TIMEOUT_S
            opened.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
            return opened.execute(sql).fetchall()

    @cached_property
    def servers(self) -> list[dict[str, Any]]:
        """User servers that run according to the database."""
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
        """Inode numbers of listening sockets, by TCP port."""
        found: dict[int, set[int]] = {}
        for listener in listeners():
            found.setdefault(listener.port, set()).add(listener.inode)
        return found

    @cached_property
    def static_config(self) -> dict[str, Any]:
        """The proxy's static configuration."""
        return read_toml(self.layout.static_config)

    def is_active(self, unit: str) -> bool:
        return self.units.get(unit, {}).get("ActiveState") == "active"

    def address_of(self, unit: str) -> tuple[str, int] | None:
        """Return host and port to connect to a socket unit."""
        streams = parse_streams(self.units.get(unit, {}).get("Listen", ""))
        if not streams:
            return None
        host = streams[0][0].strip("[]")
        return ("127.0.0.1" if host in ("::", "0.0.0.0") else host), streams[0][1]

    def reason(self, unit: str) -> str:
        """Return a unit's last status or complaint."""
        shown = self.units.get(unit, {})
        # The status of a service that runs describes the present, not the last failure.
        if shown.get("ActiveState") != "active" and (status := shown.get("StatusText")):
            return status
        options = ("--no-pager", "--output=json", *newest(500))
        lines = output_of("journalctl", f"--unit={unit}", *options).splitlines()
        complaint = last_complaint(list(parse_journal(reversed(lines))))
        result = shown.get("Result", "")
        return complaint or ("" if result == "success" else result)


def last_complaint(entries: Sequence[JournalEntry]) -> str:
    """Return the message of a unit that explains its last failure; "": there is none.

    Args:
        entries: of the unit, in the order of time.
    """
    ends = [i for i, e in enumerate(entries) if e.program == "systemd" and _END.search(e.message)]
    before = entries[: ends[-1] + 1] if ends else entries
    # The last words of the unit's own programs say more than systemd's about every end.
    told = [(e.program == "systemd", e.message.strip()) for e in before if e.message.strip()]
    starts = [i for i, (is_systemds, text) in enumerate(told) if is_systemds and _START.match(text)]
    own = told[starts[-1] :] if starts else told
    spoken = [text for is_systemds, text in own if not is_systemds]
    causes = [text for is_systemds, text in own if is_systemds and _CAUSE.search(text)]
    # A program that is killed does not know why, so its own last words explain nothing.
    found = causes if causes and "code=" in causes[-1] else [*causes, *spoken]
    return found[-1].splitlines()[-1] if found else ""
