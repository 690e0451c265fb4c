"""systemctl(1) and journalctl(1): the one place that runs them and parses what they print.

Callers in an event loop use `littlest_hub.hub.systemd_units`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from littlest_hub.errors import LittlestHubError

# One line of `Listen=`, as `systemctl show` prints it: "[::]:80 (Stream)".
_STREAM = re.compile(r"(?:Listen=)?(\S+):(\d+) \(Stream\)")


def is_booted() -> bool:
    """Return whether systemd is the init system of this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def systemctl(
    *arguments: str,
    root: Path = Path("/"),
    is_checked: bool = True,
    timeout_s: float | None = None,
) -> str:
    """Run systemctl and return its standard output.

    Args:
        arguments: the verb, its options and the units.
        root: the file system to work on, as for `systemctl --root`.
        is_checked: whether an exit code other than 0 is an error.
        timeout_s: how long it may take; None: without limit.

    Raises:
        LittlestHubError: it failed or took too long; with what it printed.
    """
    options = [] if root == Path("/") else [f"--root={root}"]
    command = ["systemctl", *options, *arguments]
    text = " ".join(command)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        )
    except subprocess.TimeoutExpired:
        raise LittlestHubError(f"{text} took more than {timeout_s:g} s") from None
    if is_checked and done.returncode:
        raise LittlestHubError(f"{text} failed: {done.stdout}{done.stderr}".strip())
    return done.stdout


def show(unit: str, name: str) -> str:
    """Return one property of a unit; "" if systemd has no value for it."""
    return systemctl("show", f"--property={name}", "--value", unit, is_checked=False).strip()


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """Parse `systemctl show` of several units: properties by unit.

    A property that is printed more than once, such as Listen=, keeps all its lines.
    """
    units: dict[str, dict[str, str]] = {}
    for block in text.strip().split("\n\n"):
        properties: dict[str, str] = {}
        for line in block.splitlines():
            name, found, value = line.partition("=")
            if found:
                properties[name] = f"{properties[name]}\n{value}" if name in properties else value
        if "Id" in properties:
            units[properties["Id"]] = properties
    return units


def parse_streams(text: str) -> list[tuple[str, int]]:
    """Parse Listen= of socket units: addresses, as in a URL, and ports of the TCP sockets."""
    return [(host, int(port)) for host, port in _STREAM.findall(text)]


def listen_streams(sockets: Iterable[str]) -> set[tuple[str, int]]:
    """Return addresses and ports that socket units listen at, or would."""
    shown = systemctl("show", "--property=Listen", *sockets, is_checked=False)
    return set(parse_streams(shown))


def is_active(unit: str) -> bool:
    """Return whether a unit is active, as `systemctl is-active` defines it."""
    return show(unit, "ActiveState") in ("active", "reloading", "refreshing")


def triggering_first(units: Iterable[str]) -> list[str]:
    """Return units in the order in which they can be stopped: first those that start others.

    systemctl stops one after the other. A timer that waits for its turn starts its service again
    (systemd.unit(5), TriggeredBy=).
    """
    return sorted(units, key=lambda unit: not unit.endswith((".timer", ".path", ".socket")))


def list_units(pattern: str, *, states: Iterable[str] = ()) -> list[str]:
    """Return the names of loaded units.

    Args:
        pattern: shell pattern of the names.
        states: only units in one of these states; empty: in any, failed ones included.
    """
    only = [f"--state={','.join(states)}"] if states else ["--all"]
    printed = systemctl("list-units", *only, "--plain", "--no-legend", pattern, is_checked=False)
    return [line.split()[0] for line in printed.splitlines() if line.strip()]


def daemon_reload() -> None:
    """Make systemd read its unit files again, if it runs here."""
    if is_booted():
        systemctl("daemon-reload")


ALL_JOURNALS = "--namespace=*"
"""Option of journalctl that adds the journals of units with LogNamespace=, such as user servers."""


def newest(lines: int) -> list[str]:
    """Return the options of journalctl for the newest messages, the newest one first.

    With --since= and without --reverse, journalctl of systemd 252 and older returns the oldest.
    """
    return [f"--lines={lines}", "--reverse"]


def journal_lines(units: Iterable[str], *, since: float = 0, lines: int = 20) -> str:
    """Return the last messages of some units since this boot, one a line.

    Args:
        units: names of units.
        since: seconds since the epoch; older messages are left out.
        lines: how many messages at most.
    """
    options = ["--no-pager", "--quiet", "--output=cat", *newest(lines), f"--since=@{since:.0f}"]
    named = [f"--unit={unit}" for unit in units]
    done = subprocess.run(
        ["journalctl", *options, "--boot", *named],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
    )
    return "\n".join(reversed(done.stdout.rstrip().splitlines()))
