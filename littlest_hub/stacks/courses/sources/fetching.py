"""The sources of a new course from a git repository, as its grader fetches them.

git gets one commit without its history. No configuration, hook, filter or attribute of the
repository is obeyed, and no link or submodule becomes a file.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.sources.repository import Repository, in_course
from littlest_hub.system import git
from littlest_hub.system.git import Entry, Objects

SECONDS = 150
PACK_BYTES = 256 << 20
"""Size of the files as the server sends them, compressed."""
FILES_BYTES = 1 << 30
FILES = 20_000
_DIRECTORY = b"source/"
_SHOWN = 10


def fetch(repository: Repository, target: Path) -> None:
    """Write the files of a repository into a directory; print their number.

    Args:
        repository: whose `source/` is taken, or all of it if there is none.
        target: an empty directory.

    Raises:
        LittlestHubError: it cannot be fetched, is too large, or has no file.
    """
    deadline = time.monotonic() + SECONDS
    with tempfile.TemporaryDirectory(prefix="repository-") as directory:
        objects = Objects(Path(directory), deadline)
        commit = objects.fetch(repository.url, repository.branch, PACK_BYTES)
        wanted, left_out = chosen(objects.entries(commit))
        _write(objects, wanted, target)
    for line in left_out[:_SHOWN]:
        print(line, file=sys.stderr)
    if len(left_out) > _SHOWN:
        print(f"and {len(left_out) - _SHOWN} more are left out", file=sys.stderr)
    print(f"{len(wanted)} files of the commit {commit[:12]}", file=sys.stderr)


def chosen(entries: Iterable[Entry]) -> tuple[dict[str, Entry], list[str]]:
    """Return the files of a commit by path in the course's sources, and why others are left out.

    Raises:
        LittlestHubError: there are none, or too many, or one is where only an attack would put it.
    """
    found = []
    for each in entries:
        found.append(each)
        if len(found) > FILES:
            raise LittlestHubError(f"the repository has more than {FILES} files")
    if any(each.path.startswith(_DIRECTORY) for each in found):
        found = [each for each in found if each.path.startswith(_DIRECTORY)]
    wanted, left_out, total_bytes = {}, [], 0
    for each in found:
        path = each.path.removeprefix(_DIRECTORY).decode(errors="backslashreplace")
        if not in_course(path):
            raise LittlestHubError(f"the repository has a file {path[:80]!r}, which is not safe")
        if each.mode in (git.LINK, git.MODULE):
            what = "a link" if each.mode == git.LINK else "a submodule"
            left_out.append(f"{path} is left out: it is {what}")
            continue
        total_bytes += each.size_bytes
        wanted[path] = each
    if total_bytes > FILES_BYTES:
        raise LittlestHubError(
            f"the files of the repository have {total_bytes >> 20} MB; expected at most"
            f" {FILES_BYTES >> 20} MB"
        )
    if not wanted:
        raise LittlestHubError("the repository has no files")
    return wanted, left_out


def _write(objects: Objects, wanted: dict[str, Entry], target: Path) -> None:
    paths = {id(entry): path for path, entry in wanted.items()}
    for entry, parts in objects.contents(wanted.values()):
        file = target / paths[id(entry)]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(file, flags, 0o600), "wb") as opened:
            for part in parts:
                opened.write(part)
