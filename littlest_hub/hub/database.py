"""The hub's database, sqlite in the state directory: its copies and its schema."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from littlest_hub import __version__
from littlest_hub.errors import LittlestHubError
from littlest_hub.installation import fragment_files
from littlest_hub.layout import Layout
from littlest_hub.system.files import replacing

BUSY_S = 30
"""The longest time for which another process may be writing to the database."""
LEFTOVERS = ("-journal", "-wal", "-shm")
"""Suffixes of sqlite's files beside a database; never valid for another database of that name."""
MARGIN_BYTES = 50_000_000

# alembic's own table.
_SCHEMA_TABLE = "alembic_version"
# https://alembic.sqlalchemy.org/en/latest/tutorial.html#create-a-migration-script
_REVISION = re.compile(r"^(revision|down_revision)\s*=\s*[\"'](\w+)", re.MULTILINE)
_DB_URL = re.compile(r"^[^#\n]*JupyterHub\.db_url\b", re.MULTILINE)


def db_url_setting(layout: Layout) -> str | None:
    """Return FILE:LINE of the fragment that sets another database; fragments are not executed."""
    for fragment in fragment_files(layout):
        text = fragment.read_text(errors="replace")
        if found := _DB_URL.search(text):
            line = text.count("\n", 0, found.end()) + 1
            return f"{fragment}:{line}"
    return None


def copy(source: Path, target: Path) -> None:
    """Copy a database that may be in use, by sqlite's backup API; only its owner may read the copy.

    Args:
        source: the database.
        target: the copy; its directory is created, an earlier copy is replaced atomically.

    Raises:
        LittlestHubError: it cannot be read, or there is no room for it.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    needed, free = source.stat().st_size + MARGIN_BYTES, shutil.disk_usage(target.parent).free
    if free < needed:
        # The directory may be a scratch one, which is gone when this is read.
        disk = next(each for each in target.parents if each.is_mount())
        raise LittlestHubError(
            f"{disk}: {free // 1_000_000} MB are free, and a copy of the database needs"
            f" {needed // 1_000_000} MB",
            f"Make room: df -h {disk}",
        )
    with replacing(target) as temporary:
        temporary.touch(mode=0o600)
        with _with_hint(source), _connection(source) as original, _connection(temporary) as made:
            original.backup(made)


def revision(database: Path) -> str | None:
    """Return the revision of a database's schema; None: it has none yet.

    Raises:
        LittlestHubError: it is damaged.
    """
    with _with_hint(database), _connection(database) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        if _SCHEMA_TABLE not in _tables(connection):
            return None
        row = connection.execute(f"SELECT version_num FROM {_SCHEMA_TABLE}").fetchone()
        return str(row[0]) if row else None


def is_damaged(database: Path) -> bool:
    """Return whether SQLite cannot read a database, which no other program uses."""
    try:
        revision(database)
    except LittlestHubError:
        return True
    return False


def head() -> str:
    """Return the revision of this release's schema."""
    return _history()[0]


@functools.cache
def _history() -> list[str]:
    """Return every revision that this release knows, its own first."""
    # Without alembic, which is a tenth of a starting hub's imports.
    hub = find_spec("jupyterhub")
    if hub is None or hub.origin is None:
        raise LittlestHubError(f"{sys.prefix} holds no JupyterHub")
    scripts = (Path(hub.origin).parent / "alembic" / "versions").glob("*.py")
    before: dict[str, str | None] = {}
    for script in scripts:
        named = dict(_REVISION.findall(script.read_text()))
        before[named["revision"]] = named.get("down_revision")
    (latest,) = before.keys() - before.values()
    history = [latest]
    while earlier := before[history[-1]]:
        history.append(earlier)
    return history


def backup_of(layout: Layout, schema: str) -> Path:
    """Return where the copy of a database with this schema is."""
    return layout.on_disk(layout.backups) / f"jupyterhub-{schema}.sqlite"


def prepare(layout: Layout) -> str | None:
    """Convert the database to the schema of this release, and keep a copy.

    No hub may have it open.

    Returns:
        A message about the change; None: nothing had to be changed.

    Raises:
        LittlestHubError: it is damaged, or of a later release without a switch back to this one.
    """
    database = layout.on_disk(layout.database)
    if not database.exists():
        return None
    found = revision(database)
    if found is None or found == head():
        return None
    if found in _history():
        return _upgrade(layout, database, found)
    kept = backup_of(layout, head())
    if not (kept.is_file() and _is_switch_back(layout)):
        raise LittlestHubError(
            f"{layout.database} has the schema of a later release ({found}); this one,"
            f" {__version__}, knows {head()}",
            f"Start the later release again (its installer with -u), or put back a copy:"
            f" ls {layout.backups}",
        )
    return _downgrade(layout, database, found, kept)


def rehearse(layout: Layout) -> bool:
    """Keep a copy of the database, and try `prepare` on another copy.

    Returns:
        Whether the schema is going to change.

    Raises:
        LittlestHubError: the change fails.
    """
    database = layout.on_disk(layout.database)
    if not database.exists():
        return False
    found = revision(database)
    if found is None:
        return False
    kept = backup_of(layout, found)
    copy(database, kept)
    if found == head() or found not in _history():
        return False
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".rehearsal-") as scratch:
        trial = Path(scratch) / database.name
        copy(kept, trial)
        _migrate(trial)
    return True


def _upgrade(layout: Layout, database: Path, found: str) -> str:
    kept = backup_of(layout, found)
    copy(database, kept)
    with _replacing_database(database) as temporary:
        copy(kept, temporary)
        _migrate(temporary)
    return f"the database was migrated from {found} to {head()}; as it was: {kept}"


def _migrate(database: Path) -> None:
    from jupyterhub.dbutil import write_alembic_ini

    with tempfile.TemporaryDirectory(dir=database.parent, prefix=".migration-") as scratch:
        ini = Path(scratch) / "alembic.ini"
        write_alembic_ini(str(ini), f"sqlite:///{database}")
        done = subprocess.run(
            [sys.executable, "-I", "-m", "alembic", "-c", str(ini), "upgrade", "head"],
            capture_output=True,
            text=True,
        )
    if done.returncode or revision(database) != head():
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise LittlestHubError(
            f"the database cannot be migrated to {head()}: {reason[0]}\n{done.stderr.rstrip()}"
        )


def _is_switch_back(layout: Layout) -> bool:
    """Return whether this release serves again: by a rollback, or because an upgrade failed.

    During an upgrade, the release that serves may be started again at any moment.
    """
    try:
        switch = json.loads(layout.on_disk(layout.switch_record).read_text())
        ends = [switch["to"]["version"]]
        ends += [] if switch["is_done"] else [switch["from"]["version"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return __version__ in ends


def _downgrade(layout: Layout, database: Path, found: str, kept: Path) -> str:
    newer = backup_of(layout, found)
    copy(database, newer)
    with _replacing_database(database) as temporary:
        copy(kept, temporary)
        try:
            _copy_rows(newer, temporary)
            revision(temporary)
            rows = f"with the rows of {found}"
        except (sqlite3.Error, LittlestHubError) as error:
            copy(kept, temporary)
            rows = f"as it was before the upgrade, since the rows of {found} do not fit: {error}"
    return f"the database of {head()} is back, {rows}; a copy of {found}: {newer}"


def _copy_rows(newer: Path, older: Path) -> None:
    """Replace all rows of the older database with those of the newer one.

    Servers started meanwhile are among them, with their tokens. Columns that only the newer schema
    has are dropped, those that only the older one has get their default values.

    Raises:
        sqlite3.Error: the rows do not fit into the older schema.
    """
    with _connection(older) as connection:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("ATTACH ? AS newer", (str(newer),))
        connection.execute("BEGIN")
        for table in (_tables(connection) & _tables(connection, "newer")) - {_SCHEMA_TABLE}:
            common = _columns(connection, "newer", table) & _columns(connection, "main", table)
            columns = ", ".join(f'"{column}"' for column in sorted(common))
            connection.execute(f'DELETE FROM main."{table}"')
            connection.execute(
                f'INSERT INTO main."{table}" ({columns}) SELECT {columns} FROM newer."{table}"'
            )
        if broken := connection.execute("PRAGMA main.foreign_key_check").fetchone():
            raise sqlite3.IntegrityError(f"a row of {broken[0]} refers to one of {broken[2]}")
        connection.execute("COMMIT")


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f'PRAGMA {schema}.table_info("{table}")')}


def _tables(connection: sqlite3.Connection, schema: str = "main") -> set[str]:
    rows = connection.execute(
        f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {row[0] for row in rows}


@contextlib.contextmanager
def _replacing_database(database: Path) -> Iterator[Path]:
    """Yield a file for a new database, which replaces this one at the end of the block."""
    with replacing(database) as temporary:
        yield temporary
        for suffix in LEFTOVERS:
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        with temporary.open("rb") as file:
            os.fsync(file)


@contextlib.contextmanager
def _connection(database: Path) -> Iterator[sqlite3.Connection]:
    # Not read-only: sqlite has to roll back what a killed hub left half-written.
    connection = sqlite3.connect(f"file:{quote(str(database))}?mode=rw", timeout=BUSY_S, uri=True)
    with contextlib.closing(connection):
        yield connection


@contextlib.contextmanager
def _with_hint(database: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        # Messages of the same class that say nothing against the database (sqlite3_errstr).
        if any(word in str(error) for word in ("disk is full", "is locked", "readonly")):
            raise LittlestHubError(
                f"{database}: {error}", f"Try again when that has changed: df -h {database.parent}"
            ) from error
        raise LittlestHubError(
            f"{database}: {error}",
            "If it is damaged: stop the hub, put a copy from state/backups or from your own backup"
            " in its place, and start it again; its user servers live on",
        ) from error
