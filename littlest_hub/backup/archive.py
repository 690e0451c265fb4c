"""Everything that makes a hub this hub, in one file.

A backup is a compressed tar. Its last member is the manifest: whatever was cut off has none.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
import re
import shutil
import socket
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TextIO

from littlest_hub import __version__, installation
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database
from littlest_hub.layout import PRODUCT, Layout
from littlest_hub.system.locks import hold
from littlest_hub.system.progress import Progress

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database/jupyterhub.sqlite"
DAMAGED = "database/damaged.sqlite"
FRAGMENTS = "jupyterhub_config.d"
STATE = "state"
DROP_INS = "drop-ins"
UNFINISHED = "unfinished-restore.conf"
"""A drop-in of ours that is there while a restore is under way."""

_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SECRET_NAME = re.compile(r"\.key$|^acme.*\.json$|secret|passw|token|credential|\.env$", re.I)


@dataclass(frozen=True)
class Member:
    """One file to be in a backup."""

    name: str
    file: Path


@dataclass
class Contents:
    """What a backup holds, and what it deliberately does not."""

    members: list[Member] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    """Secrets, unless they are wanted."""
    elsewhere: str = ""
    """Where the database is, if it is not ours to copy."""


@dataclass(frozen=True)
class Written:
    """A backup that was made."""

    file: Path | None
    size: int
    """Bytes."""
    manifest: dict[str, Any]
    elsewhere: str


def backup(layout: Layout, target: Path | None, *, secrets: bool, say: Progress) -> Written:
    """Write a backup while the hub runs.

    Args:
        layout: of what.
        target: a file that does not exist, a directory, or "-" for standard output; None: a new
            file in state/backups.
        secrets: whether the cookie secret and private keys are in it.
        say: prints what is being done.

    Raises:
        LittlestHubError: why there is no backup; nothing is left of it.
    """
    from littlest_hub.backup.restore import complete

    with _standard_output(target) as out, locked(layout):
        # No half of a restore that was killed.
        complete(layout)
        return write_backup(layout, target, secrets=secrets, say=say, out=out)


@contextlib.contextmanager
def _standard_output(target: Path | None) -> Iterator[IO[bytes] | None]:
    """For "-": where the archive goes. What fragments print, which run here, goes to errors."""
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
    *,
    secrets: bool,
    say: Progress,
    out: IO[bytes] | None = None,
    damaged: bool = False,
) -> Written:
    """`backup` for whoever holds the lock.

    Args:
        out: write there, and to no target.
        damaged: take a database that sqlite cannot read as the bytes that it is.
    """
    elsewhere = database_elsewhere(layout, say)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=layout.hub_state) as scratch:
        contents = Contents(elsewhere=elsewhere)
        revision = None
        if not elsewhere and layout.database.exists():
            say("Copying the database")
            copied = Path(scratch) / "jupyterhub.sqlite"
            try:
                database.copy(layout.database, copied)
                revision = database.revision(copied)
                contents.members.append(Member(DATABASE, copied))
            except LittlestHubError:
                if not damaged:
                    raise
                contents.members.append(Member(DAMAGED, layout.database))
        _collect(layout, contents, secrets=secrets)
        say(f"Writing {len(contents.members)} files")
        manifest = _manifest(layout, contents, revision, secrets=secrets)
        if out:
            with tarfile.open(fileobj=out, mode="w|gz") as tar:
                _fill(tar, contents, manifest)
            return Written(None, 0, manifest, elsewhere)
        file = _target(layout, target)
        with new_file(file) as opened, tarfile.open(fileobj=opened, mode="w:gz") as tar:
            _fill(tar, contents, manifest)
        return Written(file, file.stat().st_size, manifest, elsewhere)


def summary(layout: Layout, written: Written, *, secrets: bool) -> str:
    """What an administrator should know about a backup that was just made."""
    members = written.manifest["members"]
    has = {top: sum(name.startswith(f"{top}/") for name in members) for top in _TOPS}
    lines = [f"{written.file or 'Written'}  ({_human(written.size)})" if written.file else ""]
    if DATABASE in members:
        lines.append("  database: users, groups, roles, running servers; API tokens as hashes")
    for top, what in _TOPS.items():
        if has[top]:
            lines.append(f"  {what}: {has[top]}")
    if secrets:
        lines.append("  secrets: in it. Whoever has this file can be anybody on this hub.")
    else:
        lines.append("  secrets: not in it")
        lines += [f"    {path}" for path in written.manifest["left_out"]]
        lines.append(
            "    Restored on another machine, everybody logs in again, and private keys have to be"
            "\n    put back by hand. `littlest-hub backup --secrets` takes them along."
        )
    lines.append("  Fragments are in it as they are, with every password that stands in one.")
    if written.elsewhere:
        lines.append(
            f"  NOT IN IT: the database, which is at {written.elsewhere}"
            "\n    Back it up with that server's own tools (pg_dump, mysqldump)."
        )
    others = [str(path) for path in _other_directories(layout)]
    if others:
        lines.append(f"  NOT IN IT: {', '.join(others)}")
    if written.file:
        lines.append(f"Look inside: littlest-hub restore --list {written.file}")
    return "\n".join(line for line in lines if line)


_TOPS = {
    FRAGMENTS: "fragments and what lies beside them",
    STATE: "files of state/",
    DROP_INS: "drop-ins of our units",
}


# --- what goes in


def _collect(layout: Layout, contents: Contents, *, secrets: bool) -> None:
    tops = [(FRAGMENTS, layout.fragments, ""), (STATE, layout.hub_state, "")]
    if layout.hub_user:
        # The rest of state/ is root's: what it remembers of releases. In the archive as with root.
        tops.append((STATE, layout.proxy_state, "proxy/"))
        contents.left_out += [layout.acme]
    for top, directory, inside in tops:
        for file in _files_below(directory, contents.left_out):
            if top == STATE and not _is_lasting(layout, file):
                continue
            is_fragment = top == FRAGMENTS and file.suffix == ".py"
            if not secrets and not is_fragment and is_secret(layout, file):
                contents.left_out.append(file)
                continue
            contents.members.append(Member(f"{top}/{inside}{file.relative_to(directory)}", file))
    for directory in drop_in_directories(layout):
        canonical = directory.name.replace(layout.instance, PRODUCT, 1)
        for file in sorted(directory.glob("*.conf")):
            if file.is_file() and file.name != UNFINISHED:
                contents.members.append(Member(f"{DROP_INS}/{canonical}/{file.name}", file))


def _files_below(directory: Path, without: Sequence[Path] = ()) -> Iterator[Path]:
    """Every file, also one that a link leads to; no hidden directory (.git, what is being made)."""
    if not directory.is_dir() or directory in without:
        return
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.name != "__pycache__" and not entry.is_symlink():
                yield from _files_below(entry, without)
        elif entry.is_file():
            yield entry


def _is_lasting(layout: Layout, file: Path) -> bool:
    """Whether a file of state/ is one that nobody makes anew."""
    return not (
        file.is_relative_to(layout.backups)
        or file.as_posix().startswith(str(layout.database))
        or file.suffix in {".lock", ".pid", ".sock"}
        or file in made_anew(layout)
    )


def made_anew(layout: Layout) -> tuple[Path, ...]:
    """What hub, proxy and upgrades write for themselves."""
    return (
        layout.rules,
        layout.static_config,
        layout.ready_config,
        layout.https_marker,
        layout.https_config,
        layout.default_certificate_config,
        layout.redirect_config,
        layout.acme_ca,
        layout.switch_record,
        restore_record(layout),
    )


def is_secret(layout: Layout, file: Path) -> bool:
    """Whether a file is a secret as a whole: the cookie secret, a private key, credentials."""
    if file in (layout.cookie_secret, layout.acme_storage) or _SECRET_NAME.search(file.name):
        return True
    with file.open("rb") as opened:
        return _PRIVATE_KEY.search(opened.read(1 << 20)) is not None


def drop_in_directories(layout: Layout) -> list[Path]:
    """Directories of the administrator's drop-ins of our units, user servers' included."""
    is_ours = os.geteuid() == 0 or layout.hub_user
    return installation.drop_in_directories(layout) if layout.is_live and is_ours else []


def _other_directories(layout: Layout) -> list[Path]:
    ours = {layout.hub, layout.releases, layout.fragments, layout.state, layout.base / "units"}
    return sorted(p for p in layout.base.iterdir() if p not in ours and p.name[0] != ".")


# --- the database


def database_elsewhere(layout: Layout, say: Progress) -> str:
    """Where a fragment says that the database is, without the password; "" if it is ours."""
    from littlest_hub.hub.config import Surroundings, load

    try:
        url = str(load(layout, Surroundings.of_unit()).JupyterHub.db_url)
    except LittlestHubError as error:
        # What it takes from the unit's environment is not here.
        if place := database.place_of_another(layout):
            say(f"A fragment cannot be run here.\n{error.message}")
            return f"the address that {place} gives"
        say(f"A fragment cannot be run; taking the database to be ours.\n{error.message}")
        return ""
    if url in (f"sqlite:///{layout.database}", "sqlite:///jupyterhub.sqlite"):
        return ""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:…@", url)


# --- the file


def _manifest(
    layout: Layout, contents: Contents, revision: str | None, *, secrets: bool
) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    return {
        "format": FORMAT,
        "product": PRODUCT,
        "version": __version__,
        "base": str(layout.base),
        "host": socket.gethostname(),
        "time": now.isoformat(timespec="seconds"),
        "database": revision,
        "secrets": secrets,
        "left_out": sorted(map(str, contents.left_out)),
        "members": {},
    }


def _fill(tar: tarfile.TarFile, contents: Contents, manifest: dict[str, Any]) -> None:
    for member in contents.members:
        with member.file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            info = _info(member.name, status.st_size, stat.S_IMODE(status.st_mode))
            info.mtime = int(status.st_mtime)
            hashing = _Hashing(opened, member)
            tar.addfile(info, hashing)  # type: ignore[arg-type]
        manifest["members"][member.name] = {
            "sha256": hashing.digest.hexdigest(),
            "size": info.size,
            "mode": f"{info.mode:o}",
        }
    text = json.dumps(manifest, indent=1).encode()
    tar.addfile(_info(MANIFEST, len(text), 0o600), io.BytesIO(text))


def _info(name: str, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    info.uname = info.gname = "root"
    return info


class _Hashing:
    """Reads a file for tarfile and hashes what it read."""

    def __init__(self, opened: IO[bytes], member: Member) -> None:
        self._opened = opened
        self._member = member
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._opened.read(size)
        if len(data) < size:
            raise LittlestHubError(f"{self._member.file} became shorter while it was read")
        self.digest.update(data)
        return data


def _target(layout: Layout, target: Path | None) -> Path:
    if target is None:
        return new_name(layout, layout.instance)
    return _dated(target, layout.instance) if target.is_dir() else target


def new_name(layout: Layout, what: str) -> Path:
    """An unused name in state/backups, by date."""
    layout.backups.mkdir(mode=0o700, exist_ok=True)
    return _dated(layout.backups, what)


def _dated(directory: Path, what: str) -> Path:
    now = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = (f"{what}-{now}{suffix}.tar.gz" for suffix in ("", *(f"-{n}" for n in range(2, 99))))
    return next(file for name in names if not (file := directory / name).exists())


@contextlib.contextmanager
def new_file(file: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is complete, and never replaces one.

    Raises:
        LittlestHubError: there is one of that name, or no space left.
    """
    if file.exists() or file.is_symlink():
        raise LittlestHubError(f"{file} exists", "Give another name, or none to get one by date")
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as opened:
            os.fchmod(descriptor, 0o600)
            yield opened
            opened.flush()
            os.fsync(descriptor)
        try:
            # Fails where rename would replace.
            file.hardlink_to(temporary)
        except FileExistsError:
            raise LittlestHubError(f"{file} exists by now", "Give another name") from None
        except OSError:  # a file system without links
            temporary.rename(file)
    except OSError as error:
        where = error.filename or temporary
        raise LittlestHubError(f"{where}: {error.strerror}; no backup was made") from error
    finally:
        temporary.unlink(missing_ok=True)


# --- shared with restoring


def restore_record(layout: Layout) -> Path:
    """What a restore has decided to do; there only while it does."""
    return layout.hub_state / "restore.json"


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[TextIO]:
    """Neither another backup nor a restore at the same time.

    Raises:
        LittlestHubError: there is one; its process id.
    """
    if not layout.state.is_dir():
        raise LittlestHubError(f"{layout.state}: there is nothing to back up or to restore into")
    lock = lock_file(layout)
    held = hold(lock)
    if held is None:
        pid = lock.read_text().strip()
        raise LittlestHubError(f"process {pid} makes or restores a backup at the moment")
    with held:
        # Of one that was killed.
        for pattern in (".backup-*", ".restore-*"):
            for scratch in layout.hub_state.glob(pattern):
                shutil.rmtree(scratch)
        yield held


def lock_file(layout: Layout) -> Path:
    return layout.hub_state / "backup.lock"


def _human(size: int) -> str:
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
