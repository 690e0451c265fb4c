"""Putting a backup in the place of what is there: all of it or nothing, whatever interrupts it.

What is to be is verified and laid beside what is; a record, written in one step, is the decision;
from then on there are only renames, which whoever comes next can complete. Who comes next is the
hub itself: while a restore is under way, a drop-in makes each start of the hub wait for it, and
complete it if its process is gone. So requests wait, and no hub ever sees a half of each.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from littlest_hub import __version__
from littlest_hub.backup.archive import (
    DAMAGED,
    DATABASE,
    DROP_INS,
    FORMAT,
    FRAGMENTS,
    MANIFEST,
    STATE,
    UNFINISHED,
    drop_in_directories,
    locked,
    made_anew,
    new_name,
    restore_record,
    write_backup,
)
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database
from littlest_hub.installation import fragment_files
from littlest_hub.layout import DEFAULT_BASE, PRODUCT, Layout
from littlest_hub.lifecycle.locks import changing, no_foreground_hub
from littlest_hub.system.files import write
from littlest_hub.system.locks import hold
from littlest_hub.system.progress import Progress

MAX_MEMBERS = 100_000
# More than the longest extended header, less than what hurts.
MAX_READ = 1 << 20
START_TIMEOUT_S = 240

_NAME = re.compile(rf"(?:{FRAGMENTS}|{STATE}|{DROP_INS})/.+|{DATABASE}|{DAMAGED}|{MANIFEST}")
# As a backup names them, whatever the instance: `backup.drop_in_directories`.
_UNITS = "|".join(map(re.escape, Layout(DEFAULT_BASE).unit_names))
_DROP_IN = re.compile(rf"{DROP_INS}/(?:{_UNITS}|{PRODUCT}\.user[-@][^/]*)\.d/[^/]+\.conf")


class Step(NamedTuple):
    """One file to be replaced, made, removed (`has_new` false), or absent as it is (neither)."""

    target: str
    has_new: bool
    had_old: bool

    @property
    def new(self) -> Path:
        return _beside(Path(self.target), "restored")

    @property
    def old(self) -> Path:
        return _beside(Path(self.target), "replaced")


@dataclass
class Plan:
    """What a backup would change here."""

    manifest: dict[str, Any]
    changes: list[tuple[str, Path]]
    """"+" new, "~" other content, "-" removed, "=" as it is; and the file."""
    sources: dict[Path, Path]
    """From where each new content comes."""
    warnings: list[str]

    def text(self) -> str:
        signs = [f"  {sign} {path}" for sign, path in self.changes if sign != "="]
        same = sum(sign == "=" for sign, _ in self.changes)
        return "\n".join(
            [
                describe(self.manifest),
                *signs,
                *([f"  = {same} as they are"] if same else []),
                *(f"Mind: {warning}" for warning in self.warnings),
            ]
        )


def describe(manifest: dict[str, Any]) -> str:
    """One line about a backup."""
    secrets = "with" if manifest["secrets"] else "without"
    return (
        f"Backup of {manifest['base']} on {manifest['host']}, {manifest['time']},"
        f" release {manifest['version']}, {secrets} secrets"
    )


def contents(file: Path) -> str:
    """What is in a backup, verified.

    Raises:
        LittlestHubError: it is damaged or none of ours.
    """
    manifest = unpack(file, None)
    members = manifest["members"].items()
    width = max((len(str(member["size"])) for _, member in members), default=1)
    lines = [f"  {member['size']:>{width}}  {name}" for name, member in members]
    out = [f"  not in it: {path}" for path in manifest["left_out"]]
    return "\n".join([describe(manifest), *lines, *out])


def restore(layout: Layout, file: Path, *, say: Progress, confirm: Callable[[], bool]) -> str:
    """Have what is in a backup instead of what is there.

    Args:
        layout: where; whichever base directory the backup is of.
        file: the backup.
        say: prints what is being done.
        confirm: asked when all is verified and before anything changes.

    Returns:
        What an administrator should know now.

    Raises:
        LittlestHubError: why not; everything is as it was.
    """
    with locked(layout), changing(layout), no_foreground_hub(layout):
        complete(layout)
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=layout.hub_state) as scratch:
            staging = Path(scratch)
            say(f"Verifying {file}")
            manifest = unpack(file, staging)
            plan = _plan(layout, staging, manifest)
            _check(layout, staging, plan)
            say(plan.text())
            if all(sign == "=" for sign, _ in plan.changes):
                return "Everything is as in this backup already."
            if not confirm():
                raise LittlestHubError("Nothing was changed.")
            kept = _switch(layout, plan, say)
    return "\n".join(_closing(layout, kept, plan))


def finish(layout: Layout) -> None:
    """Complete what a restore that was killed has decided; waits for one that goes on.

    The hub's drop-in calls this before each start while a restore is under way.
    """
    if not layout.state.is_dir():
        return
    with _switching(layout):
        # Whoever decided holds the switch until it is done; so that one is gone.
        steps = _complete(layout)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(layout))
            except LittlestHubError:
                # A live restore that wants to see its hub start, and tidies itself; or a backup.
                return
            _tidy(layout, steps)


def complete(layout: Layout) -> None:
    """`finish` for whoever holds the lock."""
    with _switching(layout):
        if restore_record(layout).exists():
            _tidy(layout, _complete(layout))


# --- reading a backup that anybody may have made


class _Bounded:
    """Small reads: tarfile takes extended headers whole, however long they say they are."""

    def __init__(self, opened: gzip.GzipFile) -> None:
        self._opened = opened

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._opened.read(size)

    def seek(self, offset: int) -> int:
        return self._opened.seek(offset)

    def tell(self) -> int:
        return self._opened.tell()


def unpack(file: Path, into: Path | None) -> dict[str, Any]:
    """Verify a backup, and lay its files out; returns the manifest.

    Args:
        file: the backup.
        into: an empty directory; None: verify only.

    Raises:
        LittlestHubError: it is damaged, incomplete, hostile, or none of ours.
    """
    try:
        with file.open("rb") as raw, gzip.open(raw) as opened:
            bounded: Any = _Bounded(opened)
            with tarfile.open(fileobj=bounded, mode="r:") as tar:
                manifest = _read(tar, into)
            # To its end, for gzip's own checksum.
            if opened.read(MAX_READ).strip(b"\0"):
                raise LittlestHubError("something comes after its end")
            return manifest
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
        raise LittlestHubError(
            f"{file} is no backup, or was cut off or damaged: {error}",
            "Nothing was changed. Take another backup.",
        ) from error
    except LittlestHubError as error:
        raise LittlestHubError(f"{file}: {error.message}", "Nothing was changed.") from error


def _read(tar: tarfile.TarFile, into: Path | None) -> dict[str, Any]:
    found: dict[str, tuple[str, int]] = {}
    free = shutil.disk_usage(into).free if into else None
    manifest: dict[str, Any] | None = None
    for info in tar:
        if manifest is not None:
            raise LittlestHubError(f"{info.name!r} comes after the manifest, which is the last")
        _refuse_hostile(info, found)
        if free is not None:
            # Twice: here, and beside what it replaces.
            free -= 2 * info.size
            if free < 0:
                raise LittlestHubError(
                    f"{info.name}: {info.size} bytes do not fit on the disk of {into}"
                )
        content = tar.extractfile(info)
        assert content is not None
        if info.name == MANIFEST:
            if info.size > 64 * MAX_READ:
                raise LittlestHubError(f"a manifest of {info.size} bytes")
            manifest = _parse(b"".join(_chunks(content)))
            continue
        digest = hashlib.sha256()
        with _staged_file(into, info.name) as out:
            for chunk in _chunks(content):
                digest.update(chunk)
                if out:
                    out.write(chunk)
        found[info.name] = (digest.hexdigest(), info.size)
    if manifest is None:
        raise LittlestHubError("it is incomplete: there is no manifest at its end")
    listed = {name: (each["sha256"], each["size"]) for name, each in manifest["members"].items()}
    differing = sorted(name for name in {*listed, *found} if listed.get(name) != found.get(name))
    if differing:
        raise LittlestHubError(f"not what the manifest says: {', '.join(differing[:5])}")
    return manifest


def _refuse_hostile(info: tarfile.TarInfo, found: dict[str, tuple[str, int]]) -> None:
    parts = info.name.split("/")
    is_plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
    if not is_plain:
        why = "is no ordinary file"
    elif info.name in found:
        why = "is in it twice"
    elif len(found) >= MAX_MEMBERS:
        why = f"is one more than {MAX_MEMBERS} files"
    elif (
        not _NAME.fullmatch(info.name)
        or any(part in ("", ".", "..") or part.startswith(".") for part in parts)
        or not info.name.isprintable()
        or (parts[0] == DROP_INS and not _DROP_IN.fullmatch(info.name))
        or any(len(part.encode()) > 200 for part in parts)
    ):
        why = "is no name that a backup has"
    elif any(f"{parent}" in found for parent in PurePosixPath(info.name).parents):
        why = "is below a file"
    else:
        return
    raise LittlestHubError(f"{info.name!r} {why}")


def _parse(text: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(text)
        is_ours = manifest["product"] == PRODUCT
        if manifest["format"] > FORMAT:
            raise LittlestHubError(
                f"it was made by release {manifest['version']} and is of a later format"
            )
        for name in ("version", "base", "host", "time"):
            is_ours = is_ours and str(manifest[name]).isprintable()
        manifest["secrets"], manifest["left_out"], manifest["database"]
        for each in manifest["members"].values():
            int(each["mode"], 8), each["sha256"], each["size"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LittlestHubError(f"its manifest cannot be read: {error!r}") from error
    if not is_ours:
        raise LittlestHubError("it is no backup of a Littlest Hub")
    return manifest


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(1 << 16):
        yield chunk


@contextlib.contextmanager
def _staged_file(into: Path | None, name: str) -> Iterator[IO[bytes] | None]:
    if into is None:
        yield None
        return
    file = into / name
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        yield out


# --- what it would change


def _plan(layout: Layout, staging: Path, manifest: dict[str, Any]) -> Plan:
    sources = {
        _target(layout, name): staging / name
        for name in manifest["members"]
        if name != DAMAGED and _target(layout, name) is not None
    }
    plan = Plan(manifest, [], {t: s for t, s in sources.items() if t}, [])
    for target, source in plan.sources.items():
        if not target.exists():
            sign = "+"
        elif target != layout.database and _same(target, source):
            sign = "="
        else:
            sign = "~"
        plan.changes.append((sign, target))
    plan.changes += [("-", path) for path in _superfluous(layout, plan)]
    plan.warnings = _warnings(layout, staging, plan)
    return plan


def _target(layout: Layout, name: str) -> Path | None:
    top, _, rest = name.partition("/")
    if name == DATABASE:
        return layout.database
    if top == FRAGMENTS:
        return layout.fragments / rest
    if top == STATE:
        target = layout.state / rest
        is_ours = target == layout.database or target in made_anew(layout)
        if is_ours or target.is_relative_to(layout.backups) or ".lock" in rest:
            raise LittlestHubError(f"{name!r} is no name that a backup has")
        return target
    if top == DROP_INS and layout.is_live and os.geteuid() == 0:
        return layout.system_units / rest.replace(PRODUCT, layout.instance, 1)
    return None


def _superfluous(layout: Layout, plan: Plan) -> Iterator[Path]:
    """Configuration that was not there then."""
    if DATABASE not in plan.manifest["members"] and not plan.sources:
        return
    for fragment in fragment_files(layout):
        if fragment not in plan.sources:
            yield fragment
    for directory in drop_in_directories(layout):
        for file in sorted(directory.glob("*.conf")):
            if file not in plan.sources and file.name != UNFINISHED:
                yield file


def _warnings(layout: Layout, staging: Path, plan: Plan) -> list[str]:
    warnings = []
    manifest, old = plan.manifest, plan.manifest["base"]
    if layout.database not in plan.sources:
        warnings.append(
            "no database is in this backup; that of this machine stays"
            if DAMAGED not in manifest["members"]
            else f"the database in this backup was damaged then; it is there as {DAMAGED}"
        )
    elif manifest["database"] != database.head():
        warnings.append("the database is of an earlier release; the hub renews it when it starts")
    if layout.cookie_secret not in plan.sources and not manifest["secrets"]:
        warnings.append(
            "without secrets: on another machine than the first, everybody logs in again"
        )
    if str(layout.base) != old:
        naming = re.compile(rf"{re.escape(old)}(?![\w.-])")
        for target, source in plan.sources.items():
            if source.is_relative_to(staging / DATABASE.partition("/")[0]):
                continue
            for number, line in enumerate(source.read_bytes().decode(errors="replace").split("\n")):
                if naming.search(line):
                    warnings.append(f"{target}:{number + 1}: names {old}, which is not this hub")
    return warnings


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def _check(layout: Layout, staging: Path, plan: Plan) -> None:
    """Refuse what the hub would refuse.

    Raises:
        LittlestHubError: a database of a later release, or fragments that do not work here.
    """
    if (staging / DATABASE).exists():
        _check_database(staging / DATABASE)
    # Those that are to go count as empty.
    empty = staging / "empty.py"
    empty.touch()
    copies = dict.fromkeys(fragment_files(layout), empty)
    for target, source in plan.sources.items():
        if target.parent == layout.fragments and target.suffix == ".py":
            copies[target] = source
    from littlest_hub.check import examine

    problems = examine(layout, copies).errors
    if problems:
        text = "\n".join(map(str, problems))
        raise LittlestHubError(
            f"{text}\nThese fragments of the backup do not work here.",
            "Nothing was changed. Mend what they need, or take them from the backup with tar.",
        )


def _check_database(file: Path) -> None:
    revision = database.revision(file)
    if revision is not None and revision not in _revisions():
        raise LittlestHubError(
            f"the database in it is of a later release (schema {revision}) than {__version__}",
            "Nothing was changed. Install that release first.",
        )


def _revisions() -> list[str]:
    """Schemas of the database that this release knows, the newest first."""
    from alembic.script import ScriptDirectory
    from jupyterhub.dbutil import ALEMBIC_DIR

    return [script.revision for script in ScriptDirectory(ALEMBIC_DIR).walk_revisions()]


# --- the switch


def _switch(layout: Layout, plan: Plan, say: Progress) -> Path:
    """Put the new in the place of the old; returns the backup of the old.

    Raises:
        LittlestHubError: the hub does not start with it; everything is as it was.
    """
    steps = _steps(layout, plan)
    is_served = serves(layout)
    try:
        _decide(layout, "prepare", steps)
        _lay_out(layout, steps, plan)
        if is_served:
            _guard(layout)
        with _switching(layout):
            if is_served:
                say("Stopping the hub; requests wait, user servers go on")
                _systemctl("stop", layout.hub_service)
            kept = _keep(layout, say)
            # What is there now, when nobody writes any more.
            steps = [step._replace(had_old=_exists(Path(step.target))) for step in steps]
            _decide(layout, "forward", steps)
            _apply("forward", steps)
            _decide(layout, "done", steps)
        if is_served:
            say("Starting the hub")
            _start(layout, steps)
    except BaseException as error:
        say("Undoing everything")
        _undo(layout, steps, is_served)
        if isinstance(error, LittlestHubError):
            raise LittlestHubError(error.message, "Everything is as it was.") from error
        raise
    _tidy(layout, steps)
    return kept


def _steps(layout: Layout, plan: Plan) -> list[Step]:
    steps = [
        Step(str(path), sign != "-", path.exists() or path.is_symlink())
        for sign, path in plan.changes
        if sign != "="
    ]
    if layout.database in plan.sources:
        for suffix in ("-wal", "-shm", "-journal"):
            # What belongs to the old one must not be applied to the new one.
            steps.append(Step(f"{layout.database}{suffix}", False, True))
    return steps


def _lay_out(layout: Layout, steps: Sequence[Step], plan: Plan) -> None:
    """Every new file beside the old one, on the same disk, with its mode."""
    modes = {_target(layout, n): int(m["mode"], 8) for n, m in plan.manifest["members"].items()}
    for step in steps:
        target = Path(step.target)
        if not step.has_new:
            continue
        _make_directory(target.parent)
        shutil.copyfile(plan.sources[target], step.new)
        with step.new.open("rb") as opened:
            os.fsync(opened.fileno())
        mode = modes[target] & 0o777
        is_proxys = target == layout.acme_storage
        if os.geteuid() == 0:
            directory = target.parent.stat()
            os.chown(step.new, directory.st_uid if is_proxys else 0, directory.st_gid)
        if is_proxys:
            # traefik reads and writes it itself, and refuses one that others may read.
            mode = 0o600
        elif target.is_relative_to(layout.proxy_state):
            # The proxy is another user; nobody else gets as far as here.
            mode |= (mode & 0o400) >> 3 | (mode & 0o400) >> 6
        step.new.chmod(mode)


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        _make_directory(directory.parent)
        directory.mkdir()
        directory.chmod(directory.parent.stat().st_mode & 0o7777)


def _keep(layout: Layout, say: Progress) -> Path:
    file = new_name(layout, "before-restore")
    say(f"Keeping what is there as {file}")
    write_backup(layout, file, secrets=True, say=lambda _: None, damaged=True)
    return file


def _decide(layout: Layout, direction: str, steps: Sequence[Step]) -> None:
    write(restore_record(layout), json.dumps({"direction": direction, "steps": steps}), 0o600)


def _apply(direction: str, steps: Sequence[Step]) -> None:
    """Renames, each of which may have happened already; for "prepare" and "done" none."""
    # Back: what belongs to the new database goes before the old one returns.
    for step in reversed(steps) if direction == "back" else steps:
        target = Path(step.target)
        if direction == "forward":
            is_pending = step.new.exists() if step.has_new else _exists(target)
            if is_pending and step.had_old and _exists(target) and not _exists(step.old):
                target.rename(step.old)
            if step.has_new and is_pending:
                step.new.rename(target)
        elif direction == "back":
            is_done = step.has_new and not step.new.exists() and _exists(target)
            if is_done and (_exists(step.old) or not step.had_old):
                target.rename(step.new)
            if not step.has_new and not step.had_old:
                _remove(target)
            if _exists(step.old):
                step.old.rename(target)


def _tidy(layout: Layout, steps: Sequence[Step]) -> None:
    """Nothing is left of how it was done."""
    for step in steps:
        _remove(step.old)
        _remove(step.new)
    restore_record(layout).unlink(missing_ok=True)
    guard = _guard_file(layout)
    if guard.exists():
        guard.unlink()
        with contextlib.suppress(OSError):
            guard.parent.rmdir()
        _systemctl("daemon-reload")


def _undo(layout: Layout, steps: Sequence[Step], is_served: bool) -> None:
    with _switching(layout):
        if is_served:
            _systemctl("stop", layout.hub_service, check=False)
        if restore_record(layout).exists():
            _decide(layout, "back", steps)
            _apply("back", steps)
            _decide(layout, "done", steps)
    if is_served:
        _start(layout, steps)
    _tidy(layout, steps)


def _complete(layout: Layout) -> list[Step]:
    """The renames that a process that is gone has decided; returns what there is to tidy.

    Raises:
        LittlestHubError: nobody can tell what it has decided.
    """
    file = restore_record(layout)
    if not file.exists():
        return []
    try:
        decided = json.loads(file.read_bytes())
        direction, steps = decided["direction"], [Step(*step) for step in decided["steps"]]
    except (ValueError, KeyError, TypeError) as error:
        return _undecided(layout, error)
    if direction in ("forward", "back"):
        _apply(direction, steps)
        # From here on a database's -journal is the new hub's.
        _decide(layout, "done", steps)
    return steps


def _undecided(layout: Layout, error: Exception) -> list[Step]:
    """What to tidy when the record is damaged: all that is laid out, if nothing was replaced."""
    directories = (layout.fragments, layout.state, *drop_in_directories(layout))
    hidden = [path for directory in directories for path in sorted(directory.rglob(".*"))]
    replaced = [path for path in hidden if path.name.endswith(".replaced")]
    if replaced:
        raise LittlestHubError(
            f"{restore_record(layout)} is damaged ({error}), and a restore was killed:"
            " each .NAME.replaced is what was in the place of NAME:\n"
            + "\n".join(f"  {path}" for path in replaced),
            "Move all of these back to NAME, or remove all of them if every NAME is the restored"
            f" one; then: rm {restore_record(layout)}",
        )
    new = (path for path in hidden if path.name.endswith(".restored"))
    return [Step(str(p.with_name(p.name[1:].removesuffix(".restored"))), True, True) for p in new]


@contextlib.contextmanager
def _switching(layout: Layout) -> Iterator[None]:
    """While files change places; a hub that starts waits here."""
    lock = layout.hub_state / "restore.lock"
    held = hold(lock)
    while held is None:
        time.sleep(0.05)
        held = hold(lock)
    with held:
        yield


# --- the hub's unit


def serves(layout: Layout) -> bool:
    """Whether systemd runs the hub of this base directory."""
    if os.geteuid() != 0 or not layout.is_live or not Path("/run/systemd/system").is_dir():
        return False
    shown = _systemctl("show", "--property=ExecStart", layout.hub_service, check=False)
    return f"{layout.hub}/" in shown


def _guard_file(layout: Layout) -> Path:
    return layout.system_units / f"{layout.hub_service}.d" / UNFINISHED


def _guard(layout: Layout) -> None:
    command = f"{layout.hub}/bin/python3 -I -m littlest_hub restore --finish"
    write(
        _guard_file(layout),
        "# A restore is under way; it removes this file. Should it be killed, the next start of the"
        f"\n# hub completes or forgets it.\n[Service]\nExecStartPre=+{command}\n",
    )
    _systemctl("daemon-reload")


def _start(layout: Layout, steps: Sequence[Step]) -> None:
    """Start the hub, and first what has other drop-ins now; returns when it answers."""
    changed = {
        Path(step.target).parent.name.removesuffix(".d")
        for step in steps
        if Path(step.target).is_relative_to(layout.system_units)
    }
    if changed:
        _systemctl("daemon-reload")
        sockets = [unit for unit in layout.units if unit in changed and unit.endswith(".socket")]
        is_proxy = any(unit != layout.hub_socket for unit in sockets)
        if is_proxy or layout.proxy_service in changed:
            _systemctl("stop", layout.proxy_service)
        for socket in sockets:
            _systemctl("restart", socket)
        _systemctl("start", layout.proxy_service)
    _systemctl("reset-failed", layout.hub_service, check=False)
    _systemctl("start", layout.hub_service)


def _systemctl(*arguments: str, check: bool = True) -> str:
    try:
        done = subprocess.run(
            ["systemctl", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=START_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise LittlestHubError(
            f"systemctl {' '.join(arguments)} took more than {START_TIMEOUT_S} s"
        ) from None
    if check and done.returncode:
        unit = arguments[-1]
        lines = subprocess.run(
            ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=15", f"--unit={unit}"],
            capture_output=True,
            text=True,
        ).stdout
        raise LittlestHubError(
            f"systemctl {' '.join(arguments)} failed: {done.stderr.strip()}\n{lines.rstrip()}"
        )
    return done.stdout


def _closing(layout: Layout, kept: Path, plan: Plan) -> Iterator[str]:
    yield f"Restored. What was there: {kept}"
    if not serves(layout):
        return
    unknown = sorted(set(running_servers(layout)) - known_servers(layout.database))
    if unknown:
        yield "User servers that the restored database does not know; they go on, and their users'"
        yield "next start takes them over:"
        yield from (f"  {unit}" for unit in unknown)
        yield f"To end them: systemctl stop {' '.join(unknown)}"


def running_servers(layout: Layout) -> list[str]:
    """Units of the user servers that run."""
    states = "--state=active,activating"
    listed = _systemctl(
        "list-units", states, "--plain", "--no-legend", layout.user_units, check=False
    )
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def known_servers(file: Path) -> set[str]:
    """Units of the user servers that run as far as a database knows."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as read:
        rows = read.execute("SELECT state FROM spawners WHERE server_id IS NOT NULL").fetchall()
    states = (json.loads(row[0]) for row in rows if row[0])
    return {f"{s['unit_name']}.service" for s in states if s and s.get("unit_name")}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}")
