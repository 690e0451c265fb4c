"""Why servers did not start, read from the journal of the hub and of the servers' own units."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from littlest_hub.layout import Layout

# What JupyterHub 6.1 logs when a spawn fails (jupyterhub/user.py).
_FAILED = re.compile(
    r"(?P<late>(\S+)'s server failed to start in \d+ seconds)"
    r"|(?P<silent>(\S+)'s server never showed up at \S+ after [\d.]+ seconds)"
    r"|(?P<refused>(\S+)'s server at \S+ (?:never|did not)\b.*)"
    r"|(?P<error>(?:Unhandled error|Error) starting (\S+)'s server: .*)"
    r"|(?P<not>Not starting (\S+)'s server .*)"
)
# What our spawner says when the journal of the server's unit has the reason.
_OURS = re.compile(r"systemd does not start \S+:|ended before it listened")
_PREFIX = re.compile(r"^\S+ \w+:\d+\] ")
_SYSTEMD_RUN = re.compile(r"Failed to |Unknown assignment|Cannot |Unit \S+ (?:already|was)")
# What systemd says around any end; there is always a better line.
_USELESS = re.compile(
    r"Main process exited|Failed with result 'exit-code'|^Start|^Stopp|Consumed |Succeeded\."
    r"|Deactivated|Skipping XSRF|^\[[ID] |Scheduled restart"
)
_ANSI = re.compile(r"\x1b\[[\d;]*m")
_WINDOW_US = 120_000_000


@dataclass(frozen=True)
class Entry:
    """A line of the journal."""

    time_us: int
    unit: str
    program: str
    message: str
    priority: int


@dataclass(frozen=True)
class Failure:
    """A server that did not start."""

    user: str
    time_us: int
    symptom: str
    """What the hub says."""
    line: str
    """What decides."""
    why: str = ""
    command: str = ""


# Decisive line, what it means, and what mends it. {user}, {home} and groups of the pattern.
_EXPLANATIONS = (
    (
        r"step CHDIR|working directory failed: No such file|chdir.*No such file",
        "the home directory is missing",
        "mkhomedir_helper {user}",
    ),
    (
        r"working directory failed: Permission denied",
        "the home directory does not let its owner in",
        "chown {user}: ~{user} && chmod u+rwx ~{user}",
    ),
    (
        r"oom-kill|killed by the OOM killer|Out of memory|MemoryError|Cannot allocate memory",
        "the memory limit is too low to start JupyterLab (about 150 MB), or the machine has none",
        "{edit}   # raise c.Spawner.mem_limit",
    ),
    (
        r"Failed to find executable (?P<what>\S+?):|step EXEC|(?P<which>\S+) not found on /",
        "the command that starts the server, c.Spawner.cmd, is not on this machine",
        "{edit}   # c.Spawner.cmd",
    ),
    (
        r"mount namespacing: (?P<path>\S+?): No such|step NAMESPACE",
        "a directory that c.SystemdSpawner.unit_extra_properties or a read-only/-write path names"
        " does not exist",
        "{edit}   # or create the directory",
    ),
    (
        r"step (?:USER|GROUP)|getpwnam\(\): name not found|No user named",
        "there is no such system account",
        "useradd --create-home --shell /bin/bash {user}",
    ),
    (
        r"Unknown assignment|Failed to parse|Invalid argument",
        "systemd refuses a property in c.SystemdSpawner.unit_extra_properties",
        "{edit}   # c.SystemdSpawner.unit_extra_properties",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "the disk or the quota of the home directory is full",
        "df -h ~{user} && du -xhd1 ~{user} | sort -h | tail",
    ),
    (
        r"Read-only file system",
        "the home directory is mounted read-only",
        "findmnt --target ~{user}",
    ),
    (
        r"Permission denied",
        "something in the home directory does not belong to its owner",
        "chown -R {user}: ~{user}",
    ),
    (
        r"Address already in use",
        "another program took the port in between",
        "systemctl reset-failed",
    ),
    (
        r"step (?P<step>[A-Z_]+)",
        "systemd could not set up the server's unit at that step (systemd.exec(5))",
        "systemctl status '{unit}'",
    ),
    (
        r"never showed up|failed to start in",
        "the server runs, and does not answer in time: slow disk, or not a Jupyter server",
        "{edit}   # raise c.Spawner.start_timeout and c.Spawner.http_timeout",
    ),
)


def parse_journal(lines: Iterable[str]) -> Iterator[Entry]:
    """Entries of `journalctl --output=json`; what is no text is left out."""
    for line in lines:
        try:
            fields: dict[str, Any] = json.loads(line)
            message = fields["MESSAGE"]
            if isinstance(message, list):  # bytes that are no UTF-8
                message = bytes(message).decode(errors="replace")
            yield Entry(
                int(fields["__REALTIME_TIMESTAMP"]),
                str(fields.get("UNIT") or fields.get("_SYSTEMD_UNIT") or ""),
                str(fields.get("_COMM", "")),
                _ANSI.sub("", str(message)),
                int(fields.get("PRIORITY", 6)),
            )
        except (ValueError, KeyError, TypeError):
            continue


def failures(entries: Iterable[Entry], layout: Layout, edit: str) -> list[Failure]:
    """The last failed start of each user, the latest first.

    Args:
        entries: of the hub's unit and of user servers', in the order of time.
        layout: whose hub.
        edit: command that changes the configuration.
    """
    seen = list(entries)
    hub_unit = layout.hub_service
    found: dict[str, Failure] = {}
    for index, entry in enumerate(seen):
        match = _FAILED.search(entry.message) if entry.unit == hub_unit else None
        if not match:
            continue
        user = next(group for group in match.groups()[1::2] if group)
        symptom = _PREFIX.sub("", entry.message.splitlines()[0])
        unit = f"{layout.user_unit(user)}.service"
        since = max(entry.time_us - _WINDOW_US, found[user].time_us if user in found else 0)
        recent = [e for e in seen[:index] if e.time_us > since]
        # What the hub was told by an exception; but of our own ones the unit knows more.
        is_told = bool(match["error"] or match["not"]) and not _OURS.search(entry.message)
        line = _decisive(recent, layout.user_unit(user), hub_unit, is_told=is_told)
        line = line or symptom
        why, command = explain(line, symptom, user=user, unit=unit, edit=edit, hub_unit=hub_unit)
        found[user] = Failure(user, entry.time_us, symptom, line, why, command)
    return sorted(found.values(), key=lambda failure: -failure.time_us)


def started_since(entries: Iterable[Entry], hub_unit: str, failure: Failure) -> bool:
    """Whether a later start of the same user's server went well."""
    starts = re.compile(
        rf"User {re.escape(failure.user)}(?::\S+)? took [\d.]+ seconds to start|"
        rf"\b201 POST /\S*/users/{re.escape(failure.user)}/server"
    )
    return any(
        e.unit == hub_unit and e.time_us > failure.time_us and starts.search(e.message)
        for e in entries
    )


def _decisive(recent: list[Entry], unit: str, hub_unit: str, *, is_told: bool) -> str:
    """The one line that says why, of those before the hub gave up."""
    if is_told:
        return ""
    # Whichever of the user's servers it was: named ones have their name behind a ":".
    own = [e for e in recent if e.unit.startswith((f"{unit}.service", f"{unit}:"))]
    strong = [e for e in own if re.search(r"Failed at step|oom-kill|OOM killer", e.message)]
    # The line before "Failed at step" names the file.
    named = [e for e in own if re.search(r"failed: |mount namespacing: ", e.message)]
    told = [e for e in own if not _USELESS.search(e.message) and e.message.strip()]
    for candidates in (named, strong, [e for e in told if e.priority <= 3], told):
        if candidates:
            return candidates[-1].message.strip().splitlines()[-1]
    if own:
        return ""
    # systemd did not even take the unit.
    run = [
        e
        for e in recent
        if e.unit == hub_unit and e.program != "python3" and _SYSTEMD_RUN.match(e.message)
    ]
    return run[-1].message.strip() if run else ""


def explain(
    line: str, symptom: str, *, user: str, unit: str, edit: str, hub_unit: str
) -> tuple[str, str]:
    """What a decisive line means and the command that mends it."""
    for pattern, why, command in _EXPLANATIONS:
        match = re.search(pattern, line)
        if match:
            return why, command.format(user=user, unit=unit, edit=edit)
    if "never showed up" in symptom or "failed to start in" in symptom:
        return "what the server printed last", f"journalctl -u '{unit}'"
    return (
        "an exception in the spawner or in a hook of a fragment",
        f"journalctl -u {hub_unit} -p err",
    )
