"""Whether the cause of a failed start is gone, although nobody has tried another start."""

from __future__ import annotations

import itertools
import os
import pwd
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from littlest_hub.doctor import explanations
from littlest_hub.doctor.failed_spawns import FailedSpawn
from littlest_hub.doctor.snapshot import Snapshot
from littlest_hub.installation import drop_in_directories, fragment_files
from littlest_hub.lifecycle.release_files import missing_files, wrong_rights

# Directories of a home that a server writes to when it starts.
_WRITTEN = (".cache", ".config", ".ipython", ".jupyter", ".local")
_MOST_FILES = 2000


def is_mended(snapshot: Snapshot, failure: FailedSpawn) -> bool:
    """Return whether what a failure names is in order now; False if that cannot be seen."""
    try:
        return _CHECKS[failure.mended_by](snapshot, failure)
    except (OSError, KeyError):
        return False


def _is_configuration_newer(snapshot: Snapshot, failure: FailedSpawn) -> bool:
    """Return whether something was changed since, and the hub was started or reloaded with it."""
    layout = snapshot.layout
    started = snapshot.hub_started_at
    files = [layout.fragments, *fragment_files(layout), *drop_in_directories(layout)]
    if layout.root_hooks.is_dir():
        files += layout.root_hooks.iterdir()
    failed = failure.time_us / 1e6
    changes = (each.stat().st_ctime for each in files)
    return started is not None and any(failed < change <= started for change in changes)


def _has_home(_: Snapshot, failure: FailedSpawn) -> bool:
    account = pwd.getpwnam(failure.account)
    home = Path(account.pw_dir)
    is_open = home.stat().st_mode & stat.S_IRWXU == stat.S_IRWXU
    below = (file for name in _WRITTEN for file in (home / name).rglob("*"))
    written = itertools.islice(below, _MOST_FILES)
    return is_open and all(f.lstat().st_uid == account.pw_uid for f in (home, *written))


def _has_account(_: Snapshot, failure: FailedSpawn) -> bool:
    return bool(pwd.getpwnam(failure.account))


def _has_own_number(_: Snapshot, failure: FailedSpawn) -> bool:
    number = pwd.getpwnam(failure.account).pw_uid
    return [each.pw_uid for each in pwd.getpwall()].count(number) == 1


def _has_space(_: Snapshot, failure: FailedSpawn) -> bool:
    disk = os.statvfs(pwd.getpwnam(failure.account).pw_dir)
    # Nobody can see from here whether a quota is used up.
    return "quota" not in failure.line and disk.f_bavail * disk.f_frsize > 20e6


def _is_writable(_: Snapshot, failure: FailedSpawn) -> bool:
    return not os.statvfs(pwd.getpwnam(failure.account).pw_dir).f_flag & os.ST_RDONLY


def _is_release_whole(snapshot: Snapshot, _: FailedSpawn) -> bool:
    prefix = snapshot.layout.hub.resolve()
    found = itertools.chain(wrong_rights(prefix, 0), missing_files(prefix))
    return next(found, None) is None


_CHECKS: Mapping[str, Callable[[Snapshot, FailedSpawn], bool]] = {
    explanations.CONFIGURATION: _is_configuration_newer,
    explanations.HOME: _has_home,
    explanations.ACCOUNT: _has_account,
    explanations.NUMBER: _has_own_number,
    explanations.SPACE: _has_space,
    explanations.WRITABLE: _is_writable,
    explanations.RELEASE: _is_release_whole,
    explanations.RETRY: lambda _snapshot, _failure: True,
    explanations.REFUSED: lambda _snapshot, _failure: False,
}
