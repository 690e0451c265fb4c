"""The monthly restore test: a sample of the last backup is restored, and compared.

It reads a part of the repository's data as well, a different one each month.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.backups import program
from littlest_hub.stacks.backups import settings as fragment
from littlest_hub.stacks.backups.presentation import human, plain
from littlest_hub.stacks.backups.repository import choice, integrity, record
from littlest_hub.stacks.backups.repository.place import Place
from littlest_hub.stacks.backups.restore.hub_archive import write_hub
from littlest_hub.system.progress import Progress
from littlest_hub.system.restic import Node, Repository, Snapshot, seconds_of

_FILES = 50
_MOST_BYTES = 20 << 20
"""The largest file in the sample."""
_PART = "5%"
"""The part of the data in the repository that is read."""
_DATABASE = "database/jupyterhub.sqlite"


def main() -> int:
    """Test the last backup; the record has the outcome."""
    return program.run("test", test, "the restore test failed: ")


def test(layout: Layout, place: Place, progress: Progress) -> None:
    """Restore a sample and the hub's database to a directory of root's, compare, and record it.

    Raises:
        LittlestHubError: what was wrong.
    """
    repository = place.repository(fragment.read(layout))
    place.make()
    shutil.rmtree(place.trial, ignore_errors=True)
    place.trial.mkdir(mode=0o700)
    try:
        snapshot = choice.own(repository.snapshots(layout.instance))[-1]
        progress(f"Restoring a sample of backup {snapshot.id[:8]}")
        files = _sample(repository, snapshot, place)
        compared, wrong = _restored(repository, snapshot, files, place.trial)
        progress("Restoring the hub")
        wrong += _hub(layout, repository, snapshot, place)
        progress(f"Reading {_PART} of the repository's data")
        integrity.check(place, repository, progress, _PART)
    finally:
        shutil.rmtree(place.trial, ignore_errors=True)
    if wrong:
        raise LittlestHubError("\n".join([f"backup {snapshot.id[:8]} is not right:", *wrong]))
    size = human(sum(each.size_bytes for each in files))
    text = (
        f"{len(files)} files ({size}) and the hub's database were restored;"
        f" {compared} of them have not changed since the backup, and are equal"
    )
    record.update(place, test=record.well(text))
    progress(text)


def _sample(repository: Repository, snapshot: Snapshot, place: Place) -> list[Node]:
    """Return files chosen at random, without holding all of them in memory."""
    chosen: list[Node] = []
    seen, staging = 0, place.staging_in(snapshot)
    for node in repository.nodes(snapshot.id, is_deep=True):
        is_wanted = (
            node.kind == "file" and node.size_bytes <= _MOST_BYTES and "\ufffd" not in node.path
        )
        if not is_wanted or (staging and node.path.startswith(f"{staging}/")):
            continue
        seen += 1
        if len(chosen) < _FILES:
            chosen.append(node)
        elif (at := random.randrange(seen)) < _FILES:
            chosen[at] = node
    return chosen


def _restored(
    repository: Repository, snapshot: Snapshot, files: list[Node], trial: Path
) -> tuple[int, list[str]]:
    """Restore files; return how many are equal to present ones, and what is wrong."""
    compared, wrong = 0, []
    copied = trial / "file"
    for node in files:
        try:
            with (
                repository.stream(
                    "dump", "--no-lock", "--quiet", snapshot.id, node.path
                ) as content,
                open(copied, "wb") as out,
            ):
                shutil.copyfileobj(content, out)
        except LittlestHubError as error:
            wrong.append(f"{plain(node.path)}: {plain(error.message)}")
            continue
        if copied.stat().st_size != node.size_bytes:
            wrong.append(
                f"{plain(node.path)}: {copied.stat().st_size} bytes, not {node.size_bytes}"
            )
        elif (present := _unchanged(node)) is not None:
            compared += 1
            if present != _digest(copied):
                wrong.append(
                    f"{plain(node.path)}: another content than the file, which nobody has changed"
                )
    return compared, wrong


def _unchanged(node: Node) -> bytes | None:
    """Return the digest of a present file; None: it was changed since it was backed up, or is gone.

    Its owner can set the time of the last change of the content, and not that of the inode (ctime).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(node.path, flags)
    except OSError:
        return None
    with open(descriptor, "rb") as opened:
        before = os.fstat(descriptor)
        is_same = before.st_size == node.size_bytes and _is_time(before.st_ctime, node.ctime)
        digest = hashlib.file_digest(opened, "sha256").digest() if is_same else None
        return digest if os.fstat(descriptor).st_ctime_ns == before.st_ctime_ns else None


def _is_time(time_s: float, text: str) -> bool:
    return abs(seconds_of(text) - time_s) < 1e-3


def _digest(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _hub(layout: Layout, repository: Repository, snapshot: Snapshot, place: Place) -> list[str]:
    """Restore the hub's backup; return what is wrong with it."""
    staging = place.staging_in(snapshot)
    archive = place.trial / place.hub.name
    try:
        write_hub(repository, snapshot, f"{staging}/{place.hub.name}", archive)
    except LittlestHubError as error:
        return [f"the hub: {error.message}"]
    listed = subprocess.run(
        [f"{layout.hub}/bin/littlest-hub", "restore", "--list", str(archive)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        return [f"the hub: {listed.stderr.strip()}"]
    return [*_database(archive, place.trial)]


def _database(archive: Path, trial: Path) -> Iterator[str]:
    copied = trial / "jupyterhub.sqlite"
    with tarfile.open(archive) as tar:
        try:
            content = tar.extractfile(_DATABASE)
        except KeyError:
            return  # it is elsewhere, or there is none yet
        assert content
        with content, open(copied, "wb") as out:
            shutil.copyfileobj(content, out)
    try:
        connection = sqlite3.connect(copied)
        said = connection.execute("PRAGMA integrity_check").fetchone()[0]
        connection.execute("SELECT count(*) FROM users").fetchone()
        connection.close()
    except sqlite3.Error as error:
        yield f"the hub's database: {error}"
    else:
        if said != "ok":
            yield f"the hub's database: {said}"


if __name__ == "__main__":
    sys.exit(main())
