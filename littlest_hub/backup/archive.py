"""Writing a backup: everything that makes a hub this hub, in one compressed tar file.

The last member is the manifest, so a backup that was cut off has none.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
import re
import socket
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from littlest_hub import __version__
from littlest_hub.backup import last
from littlest_hub.backup.contents import (
    DAMAGED,
    DATABASE,
    DROP_INS,
    FRAGMENTS,
    MANIFEST,
    PACKAGES,
    STACKS,
    STATE,
    Extras,
    Manifest,
    Member,
    collect,
    follows_links,
)
from littlest_hub.backup.exchange import complete, exclusive
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database
from littlest_hub.hub.config import load
from littlest_hub.layout import Layout
from littlest_hub.system.files import new_file, refuse_unwritable
from littlest_hub.system.progress import Progress
from littlest_hub.units.environment import UnitEnvironment


@dataclass(frozen=True)
class Written:
    """A backup that was made."""

    file: Path | None
    """None: standard output."""
    size_bytes: int
    manifest: Manifest
    database_elsewhere: str
    """Address of a database that is not in the backup; "": it is, or there is none."""


def backup(
    layout: Layout, target: Path | None, *, secrets: bool, wheels: bool = False, progress: Progress
) -> Written:
    """Write a backup while the hub runs.

    Args:
        layout: of what.
        target: a file that does not exist, a directory, or "-" for standard output; None: a new
            file in state/backups.
        secrets: whether to include the cookie secret and private keys.
        wheels: whether to include the wheels of packages that the release does not bring.
        progress: shows a line about what is being done.

    Raises:
        LittlestHubError: why there is no backup; nothing is left of it.
        OSError: the target cannot be written.
    """
    if target not in (None, Path("-")):
        refuse_unwritable(_file(layout, target))
    with _standard_output(target) as out, exclusive(layout):
        # Otherwise the backup would have half of a restore that was killed.
        complete(layout)
        written = write_backup(layout, target, Extras(secrets, wheels), progress=progress, out=out)
    last.note(layout, written.file, progress)
    return written


@contextlib.contextmanager
def _standard_output(target: Path | None) -> Iterator[IO[bytes] | None]:
    """Yield standard output if the target is "-"; meanwhile fragments print to standard error."""
    if target != Path("-"):
        yield None
        return
    sys.stdout.flush()
    with open(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        yield out


def write_backup(
    layout: Layout,
    target: Path | None,
    extras: Extras,
    *,
    progress: Progress,
    out: IO[bytes] | None = None,
    accept_damage: bool = False,
) -> Written:
    """Write a backup; the caller holds `exclusive`.

    Args:
        out: an open file to write to, instead of the target.
        accept_damage: include a database that SQLite cannot read byte for byte.
    """
    elsewhere = database_elsewhere(layout, progress)
    collected, left_out = collect(layout, extras)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=layout.hub_state) as scratch:
        files, revision = {}, None
        if not elsewhere and layout.database.exists():
            progress("Copying the database")
            copied = Path(scratch) / "jupyterhub.sqlite"
            try:
                database.copy(layout.database, copied)
                revision = database.revision(copied)
                files[DATABASE] = copied
            except LittlestHubError:
                # Not for lack of room: a restore ignores a damaged one.
                if not (accept_damage and database.is_damaged(layout.database)):
                    raise
                files[DAMAGED] = layout.database
        files |= collected | _databases_of_stacks(collected, Path(scratch))
        progress(f"Writing {len(files)} files")
        manifest = Manifest(
            version=__version__,
            base=str(layout.base),
            host=socket.gethostname(),
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            database=revision,
            secrets=extras.secrets,
            left_out=sorted(map(str, left_out)),
            members={},
        )
        if out:
            with tarfile.open(fileobj=out, mode="w|gz") as tar:
                return Written(None, 0, _fill(tar, files, manifest), elsewhere)
        file = _file(layout, target)
        with new_file(file) as opened, tarfile.open(fileobj=opened, mode="w:gz") as tar:
            manifest = _fill(tar, files, manifest)
        return Written(file, file.stat().st_size, manifest, elsewhere)


def _databases_of_stacks(collected: Mapping[str, Path], scratch: Path) -> dict[str, Path]:
    """Return copies of the databases among the files, which may be in use, made by SQLite.

    A damaged one is in the backup as it is: what it belongs to reports it.
    """
    copies: dict[str, Path] = {}
    for name, file in collected.items():
        if file.suffix == ".sqlite":
            copied = scratch / f"{len(copies)}.sqlite"
            try:
                database.copy(file, copied)
            except LittlestHubError:
                if not database.is_damaged(file):
                    raise
            else:
                copies[name] = copied
    return copies


def summary(layout: Layout, written: Written) -> str:
    """Return what an administrator should know about a backup that was just made."""
    manifest = written.manifest
    lines = [f"{written.file}  ({_human(written.size_bytes)})"] if written.file else []
    if DATABASE in manifest.members:
        lines.append("  database: users, groups, roles, running servers; API tokens as hashes")
    for top, description in _TOPS.items():
        if count := sum(name.startswith(f"{top}/") for name in manifest.members):
            lines.append(f"  {description}: {count}")
    if manifest.secrets:
        lines.append("  secrets: included. Anyone with this file can be any user of this hub.")
    else:
        lines.append("  secrets: not included")
        lines += [f"    {path}" for path in manifest.left_out]
        lines.append(
            "    Restored on another machine, everyone logs in again, and private keys have to be"
            f"\n    put back by hand. `{layout.command} backup --secrets` includes them."
        )
    lines.append("  Fragments are in it as they are, with any passwords in them.")
    if written.database_elsewhere:
        lines.append(
            f"  NOT IN IT: the database, which is at {written.database_elsewhere}"
            "\n    Back it up with that server's own tools (pg_dump, mysqldump)."
        )
    ours = {
        *(layout.hub, layout.releases, layout.packages, layout.fragments),
        *(layout.state, layout.unit_directory),
    }
    others = sorted(p for p in layout.base.iterdir() if p not in ours and p.name[0] != ".")
    if others:
        lines.append(f"  NOT IN IT: {', '.join(map(str, others))}")
    if written.file:
        lines.append(f"Look inside: {layout.command} restore --list {written.file}")
    return "\n".join(lines)


_TOPS = {
    FRAGMENTS: "fragments and other files beside them",
    STATE: "files of state/",
    DROP_INS: "drop-ins of our units",
    PACKAGES: "lock of the packages, and wheels",
    STACKS: "list of the stacks",
}


def database_elsewhere(layout: Layout, progress: Progress) -> str:
    """Return the database's address in a fragment, without password; "" if it is in state/."""
    try:
        url = str(load(layout, UnitEnvironment.from_environ()).JupyterHub.db_url)
    except LittlestHubError as error:
        # For example, variables of the unit's environment are missing here.
        if place := database.db_url_setting(layout):
            progress(f"A fragment cannot be run here.\n{error.message}")
            return f"the address that {place} gives"
        progress(f"A fragment cannot be run; assuming that the database is ours.\n{error.message}")
        return ""
    if url in (f"sqlite:///{layout.database}", "sqlite:///jupyterhub.sqlite"):
        return ""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:…@", url)


def _fill(tar: tarfile.TarFile, files: Mapping[str, Path], manifest: Manifest) -> Manifest:
    """Add files and manifest to an archive; return the manifest, which now lists the files."""
    members = {}
    for name, file in files.items():
        with _open(file) as opened:
            status = os.fstat(opened.fileno())
            info = _info(name, status.st_size, stat.S_IMODE(status.st_mode))
            info.mtime = int(status.st_mtime)
            reader = _HashingReader(opened)
            tar.addfile(info, reader)  # type: ignore[arg-type]
        members[name] = Member(reader.digest.hexdigest(), info.size, f"{info.mode:o}")
    manifest = replace(manifest, members=members)
    text = json.dumps(manifest.to_json(), indent=1).encode()
    tar.addfile(_info(MANIFEST, len(text), 0o600), io.BytesIO(text))
    return manifest


def _open(file: Path) -> IO[bytes]:
    # It may have been replaced since it was collected.
    flags = 0 if follows_links(file.parent) else os.O_NOFOLLOW | os.O_NONBLOCK
    return open(os.open(file, os.O_RDONLY | flags), "rb")


def _info(name: str, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    info.uname = info.gname = "root"
    return info


class _HashingReader:
    """An open file that hashes what tarfile reads of it."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._opened.read(size)
        if len(data) < size:
            raise LittlestHubError(f"{self._opened.name} became shorter while it was read")
        self.digest.update(data)
        return data


def _file(layout: Layout, target: Path | None) -> Path:
    if target is None:
        return new_name(layout, layout.instance)
    return _dated(target, layout.instance) if target.is_dir() else target


def new_name(layout: Layout, prefix: str) -> Path:
    """Return an unused name in state/backups, made of a prefix and the time."""
    layout.backups.mkdir(mode=0o700, exist_ok=True)
    return _dated(layout.backups, prefix)


def _dated(directory: Path, prefix: str) -> Path:
    now = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = (f"{prefix}-{now}{suffix}.tar.gz" for suffix in ("", *(f"-{n}" for n in range(2, 99))))
    return next(file for name in names if not (file := directory / name).exists())


def _human(size_bytes: int) -> str:
    number = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
