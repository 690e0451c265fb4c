"""The files of a release, compared with what its installer wrote: owners, modes, and content."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littlest_hub.system.digests import sha256


class WrongRights(NamedTuple):
    """A file or directory of a release whose owner or mode is not what the installer gave it."""

    path: Path
    uid: int
    mode: int
    expected_mode: int

    def __str__(self) -> str:
        found = f"owner {self.uid}, mode {self.mode:04o}"
        return f"{self.path}: {found}; expected mode {self.expected_mode:04o}"


def wrong_rights(prefix: Path, owner: int) -> Iterator[WrongRights]:
    """Yield what does not belong to the owner, or has too few or too many permissions.

    conda's records have no modes. But everyone has to read each file, enter each directory, and
    run the programs in bin/; only the owner may write.
    """
    programs = str(prefix / "bin")
    for place, directories, files, opened in os.fwalk(prefix):
        needed = dict.fromkeys(files, 0o555 if place == programs else 0o444)
        needed |= dict.fromkeys([*directories, *(["."] if place == str(prefix) else [])], 0o555)
        for name, permissions in needed.items():
            status = os.stat(name, dir_fd=opened, follow_symlinks=False)
            mode = stat.S_IMODE(status.st_mode)
            # The mode of a link means nothing.
            is_link = stat.S_ISLNK(status.st_mode)
            expected = mode if is_link else (mode | permissions | 0o200) & 0o755
            if (status.st_uid, mode) != (owner, expected):
                yield WrongRights(Path(place, name), status.st_uid, mode, expected)


def repair_rights(prefix: Path, owner: int) -> list[WrongRights]:
    """Repair what `wrong_rights` finds, and return it."""
    repaired = []
    # A directory comes before its contents. Once it is repaired, nobody can replace these.
    for each in wrong_rights(prefix, owner):
        if each.uid != owner:
            os.lchown(each.path, owner, 0 if owner == 0 else -1)
        if not each.path.is_symlink():
            each.path.chmod(each.expected_mode)
        repaired.append(each)
    return repaired


def missing_files(prefix: Path) -> Iterator[Path]:
    """Yield the files that conda's records of a release list and that are not there.

    Raises:
        OSError: a record cannot be read.
    """
    # Without its byte code, a module is only slower.
    recorded = (file for file, _ in _recorded(prefix) if file.suffix != ".pyc")
    return (file for file in recorded if not os.path.lexists(file))


def altered_files(prefix: Path) -> Iterator[str]:
    """Yield what is missing or has another content; this takes seconds, and reads half a gigabyte.

    Raises:
        OSError: a record or a file cannot be read.
    """
    for file, digest in _recorded(prefix):
        if not os.path.lexists(file):
            yield f"{file} is missing"
        elif digest and sha256(file) != digest:
            yield f"{file} was altered"


def _recorded(prefix: Path) -> Iterator[tuple[Path, str]]:
    """Yield path and sha256 of each file that conda's records list; of a link, without sha256."""
    for record in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            entries = json.loads(record.read_bytes())["paths_data"]["paths"]
        except (ValueError, KeyError):
            # The record itself is damaged, for example by a full disk.
            yield record, "none"
            continue
        for entry in entries:
            is_file = entry["path_type"] == "hardlink"
            digest = entry.get("sha256_in_prefix") or entry["sha256"]
            yield prefix / entry["_path"], digest if is_file else ""
