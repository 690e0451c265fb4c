"""The disk space of each person: root measures it every hour, the page shows the last result.

Counting many files takes minutes, so no request waits for it. A unit (`units`) runs this module
with the lowest priority.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from littlest_hub import installation
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.accounts import settings as fragment
from littlest_hub.stacks.classroom.accounts import table
from littlest_hub.stacks.classroom.accounts.provision import Provision
from littlest_hub.system.files import write

HOME_TIMEOUT_S = 300
"""Limit of the time in which the files of one person are counted."""


@dataclass(frozen=True)
class Disk:
    """A measurement."""

    time_s: int = 0
    """Time in seconds since the epoch; 0: nothing was measured."""
    used: Mapping[str, int | None] = field(default_factory=dict)
    """Bytes of people's homes, by login; None: they could not be counted."""
    total_bytes: int = 0
    """Size of the file system of the homes."""
    free_bytes: int = 0

    @classmethod
    def from_text(cls, text: str) -> Disk:
        """Parse the text of a measurement.

        Raises:
            ValueError, TypeError, AttributeError: the text is no measurement.
        """
        record = json.loads(text)
        used = {
            str(login): None if each is None else int(each)
            for login, each in record.pop("used").items()
        }
        return cls(used=used, **{name: int(each) for name, each in record.items()})


def file_of(layout: Layout) -> Path:
    """Return the file of the last measurement, in a directory in which only root writes."""
    return layout.on_disk(layout.stacks) / table.STACK / "disk.json"


def read(layout: Layout) -> Disk:
    """Return the last measurement; an empty one if there is none."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        return Disk.from_text(file_of(layout).read_text())
    return Disk()


def save(layout: Layout, disk: Disk) -> None:
    """Replace the last measurement; a hub that is not root can read it as well."""
    write(file_of(layout), json.dumps(asdict(disk)) + "\n", 0o644 if layout.hub_user else 0o600)


def measure(homes: Mapping[str, Path], place: Path, timeout_s: float = HOME_TIMEOUT_S) -> Disk:
    """Measure homes.

    Args:
        homes: directories by login.
        place: a directory of the file system whose free space is measured.
        timeout_s: how long one home may take.
    """
    used = {login: _bytes_of(home, timeout_s) for login, home in homes.items()}
    found = os.statvfs(place)
    size = found.f_frsize
    return Disk(int(time.time()), used, found.f_blocks * size, found.f_bavail * size)


def homes_of(layout: Layout) -> dict[str, Path]:
    """Return the homes of all users of the hub who have an account, by login."""
    accounts = table.read(layout).accounts
    found = {login: Path(each.home) for login, each in accounts.items()}
    provision = Provision(layout, fragment.read(layout))
    with contextlib.suppress(sqlite3.Error):  # there is no database yet
        for (login,) in Snapshot(layout).query("SELECT name FROM users"):
            if login not in found and (account := provision.existing_or_none(login)):
                found[login] = Path(account.pw_dir)
    return found


def _bytes_of(home: Path, timeout_s: float) -> int | None:
    """Return the bytes on disk of everything in a directory."""
    # Without --one-file-system: files of an overlay are on another one than its directories.
    # A home may itself be a link, for example if a directory service has its account.
    command = ["du", "--summarize", "--dereference-args", "--block-size=1"]
    try:
        done = subprocess.run(
            [*command, "--", str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return None
    # du goes on after files that vanish or cannot be read, and still prints a sum.
    number = done.stdout.partition(b"\t")[0]
    return int(number) if number.isdigit() else None


def _place_of(layout: Layout) -> Path:
    """Return the directory of homes; if it is missing, the nearest one above it."""
    homes = fragment.read(layout).homes
    return next(each for each in (homes, *homes.parents) if each.is_dir())


def main() -> None:
    """Measure all homes, and save the result for the page."""
    layout = installation.of_this_release()
    save(layout, measure(homes_of(layout), _place_of(layout)))


if __name__ == "__main__":
    try:
        main()
    except LittlestHubError as error:
        raise SystemExit(f"{error.message}; {error.hint or ''}") from error
