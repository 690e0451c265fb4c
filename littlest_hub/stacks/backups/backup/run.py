"""A backup, retention, and the weekly check: the program of the nightly unit.

Its unit has the right to read all files, and to write to the repository and the stack's directory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups import program
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.backup import databases
from littlest_hub.stacks.backups.presentation import human, plain, show
from littlest_hub.stacks.backups.repository import record
from littlest_hub.stacks.backups.repository.integrity import check
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.settings import Settings
from littlest_hub.system import processes
from littlest_hub.system.progress import Progress
from littlest_hub.system.restic import Repository, Snapshot, seconds_of

DAY_S = 86400
KEPT_WHOLE = "2d"
"""The time before the newest backup in which all are kept."""
PRUNE_S = CHECK_S = 7 * DAY_S
STANDSTILL_S = 7200
_MOST_UNREAD = 20
_CLOCK_S = 300
"""The most that the newest backup may be later than the clock."""


@dataclass
class Made:
    """A backup that was just made."""

    snapshot: str = ""
    files: int = 0
    size_bytes: int = 0
    added_bytes: int = 0
    unread: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.files} files, {human(self.size_bytes)}; {human(self.added_bytes)} were new"


def main() -> int:
    """Back up everything; the record and the journal say what was done."""
    return program.run("run", back_up)


def back_up(layout: Layout, place: Place, progress: Progress) -> None:
    """Make a backup, then forget old ones, prune and check if it is time.

    Raises:
        LittlestHubError: there is no complete backup, or the repository is damaged.
    """
    settings = fragment.read(layout)
    repository = place.repository(settings)
    place.make()
    before = _known(layout, repository)
    progress("Copying databases")
    folders = [os.path.realpath(each) for each in settings.folders]
    number, problems = databases.copy_all(folders, settings.databases, place.databases)
    progress(f"Reading files ({number} databases were copied)")
    made = _made(layout, place, settings, repository, progress)
    problems += _missing(place)
    record.update(
        place,
        snapshot=made.snapshot,
        unread=tuple(made.unread),
        **({} if problems else {"success_s": time.time()}),
    )
    progress(f"Made backup {made.snapshot[:8]}: {made}")
    warning = _forget(layout, place, settings, repository, before)
    if warning:
        progress(f"warning: {warning}")
    _check_if_due(place, repository, progress)
    kept = len(repository.snapshots(layout.instance))
    outcome = record.failed("\n".join(problems)) if problems else record.well(str(made))
    record.update(place, run=outcome, warning=warning, snapshots=kept)
    if problems:
        raise LittlestHubError("\n".join(["the backup is not complete:", *problems]))


def _known(layout: Layout, repository: Repository) -> list[Snapshot]:
    """Return the backups before this one, after locks of killed programs are removed."""
    repository.release(socket.gethostname())
    return repository.snapshots(layout.instance)


def _missing(place: Place) -> Iterator[str]:
    if not place.hub.exists():
        yield "the hub's database and configuration are not in it; the reason is in the journal"


def _made(
    layout: Layout, place: Place, settings: Settings, repository: Repository, progress: Progress
) -> Made:
    """Run restic's backup, and return what it has made.

    Raises:
        LittlestHubError: it failed.
    """
    # restic would back up a link instead of what it leads to.
    folders = [os.path.realpath(each) for each in settings.folders if Path(each).is_dir()]
    for each in settings.folders:
        if not Path(each).is_dir():
            progress(f"{each} does not exist, so it is not in the backup")
    own = [os.path.realpath(settings.repository)] if settings.is_local else []
    excluded = [*settings.excluded, *map(_literal, (*own, str(place.restic_cache)))]
    made, watchers = Made(), (Shown(progress), Standstill())
    command = [
        *("backup", "--json", "--tag", layout.instance, "--host", socket.gethostname()),
        *(f"--exclude={each}" for each in excluded),
        f"--exclude-larger-than={_largest_disk_bytes([*folders, str(place.staging)])}",
        *("--", *folders, str(place.staging)),
    ]
    lines = repository.lines(*command, is_complete=False, on_error=Unread(made.unread))
    with contextlib.closing(lines):
        for line in lines:
            with contextlib.suppress(ValueError):
                _note(json.loads(line), made, *watchers)
    if not made.snapshot:
        raise LittlestHubError(f"restic has made no backup at {repository.shown}")
    return made


def _largest_disk_bytes(folders: Sequence[str]) -> int:
    """Return the size of the largest file system in these; a larger file consists of holes.

    restic would read the holes for days, and nobody would get a backup.
    """
    mounted = processes.mounts(os.getpid())
    sizes = []
    for each in {*folders, *(str(one) for one in mounted if _is_in(one, folders))}:
        with contextlib.suppress(OSError):  # a user's own, which root may not look at
            disk = os.statvfs(each)
            sizes.append(disk.f_blocks * disk.f_frsize)
    return max(sizes)


def _is_in(path: Path, folders: Sequence[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _note(message: Mapping[str, Any], made: Made, shown: Shown, standstill: Standstill) -> None:
    """Take up a line that restic prints with --json.

    Raises:
        LittlestHubError: restic has read nothing for a long time.
    """
    match message.get("message_type"):
        case "status":
            standstill.at(message)
            shown.at(float(str(message.get("percent_done", 0))))
        case "summary":
            made.snapshot = str(message["snapshot_id"])
            made.files = int(str(message["total_files_processed"]))
            made.size_bytes = int(str(message["total_bytes_processed"]))
            made.added_bytes = int(str(message["data_added"]))


class Shown:
    """Progress in steps of ten percent."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._last = progress, 0

    def at(self, part: float) -> None:
        step = int(part * 10) * 10
        if step > self._last:
            self._last = step
            self._progress(f"Reading files: {step} %")


class Standstill:
    """Ends a backup in which nothing more is read: a user can let restic wait at a pipe for ever.

    restic opens a pipe that takes the place of a file after it has looked at the file.

    Args:
        limit_s: how long nothing may be read.
        clock: returns the time in seconds.
    """

    def __init__(
        self, limit_s: float = STANDSTILL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit_s, self._clock = limit_s, clock
        self._done: object = None
        self._since_s = clock()

    def at(self, status: Mapping[str, Any]) -> None:
        """Take up a status of restic's.

        Raises:
            LittlestHubError: the time is up.
        """
        now_s, done = self._clock(), (status.get("files_done"), status.get("bytes_done"))
        if done != self._done:
            self._done, self._since_s = done, now_s
        elif now_s > self._since_s + self._limit_s:
            files = [plain(str(each)) for each in status.get("current_files", ())[:3]]
            where = f", at {', '.join(files)}" if files else ""
            raise LittlestHubError(
                f"restic has read nothing for {self._limit_s / 60:.0f} minutes{where}: somebody"
                " puts a pipe in the place of a file all the time, or the disk does not answer",
                "See which pipes there are: find /home -xdev -type p",
            )


class Unread:
    """Collects the files that restic could not read, without those that have vanished."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths

    def __call__(self, line: str) -> None:
        with contextlib.suppress(ValueError, AttributeError):
            found = json.loads(line)
            error, path = found.get("error"), str(found.get("item", ""))
            number = error.get("Err") if isinstance(error, dict) else None
            is_gone = number == errno.ENOENT or "no such file" in str(error)
            if path and not is_gone and len(self._paths) < _MOST_UNREAD:
                self._paths.append(plain(path))


def _literal(path: str) -> str:
    """Return a pattern of restic that matches one path."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def _forget(
    layout: Layout,
    place: Place,
    settings: Settings,
    repository: Repository,
    before: list[Snapshot],
) -> str:
    """Forget old backups, and prune once a week; return why not, or "".

    Raises:
        LittlestHubError: restic failed.
    """
    known = record.read(place)
    if known.check.problem:
        return "the last check found damage, so no old backup is removed"
    now_s = time.time()
    host = socket.gethostname()
    ahead = [e for e in before if e.host == host and seconds_of(e.time) > now_s + _CLOCK_S]
    if ahead:
        # Retention by time would take the new backup for the oldest one, and remove it.
        return (
            f"the clock says {_date(now_s)}, and backup {ahead[-1].id[:8]} is of"
            f" {_date(seconds_of(ahead[-1].time))}: one of the two is wrong, so no old backup is"
            f" removed. If the backup is: {layout.command} backups restic forget"
            f" {ahead[-1].id[:8]}"
        )
    keep = (("daily", settings.daily), ("weekly", settings.weekly), ("monthly", settings.monthly))
    repository.run(
        *("forget", "--quiet", "--group-by", "host,tags"),
        *("--tag", layout.instance, "--host", host, "--keep-within", KEPT_WHOLE),
        *(word for name, count in keep if count for word in (f"--keep-{name}", str(count))),
    )
    # A clock that was wrong must not put this off for years.
    if not 0 <= now_s - known.pruned_s < PRUNE_S:
        show("Removing data that no backup needs")
        repository.run("prune", "--quiet")
        record.update(place, pruned_s=now_s)
    return ""


def _check_if_due(place: Place, repository: Repository, progress: Progress) -> None:
    known = record.read(place)
    if not 0 <= time.time() - known.check.time_s < CHECK_S:
        check(place, repository, progress)


def _date(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))


if __name__ == "__main__":
    sys.exit(main())
