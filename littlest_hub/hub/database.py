"""The hub's own database, sqlite in the state directory: its copies and its schema."""

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
"""How long somebody else may be writing to the database."""
LEFTOVERS = ("-journal", "-wal", "-shm")
"""What sqlite puts beside a database; it must never meet another database of the same name."""
MARGIN_BYTES = 50_000_000

# alembic's own table; what is in it is decided by whoever migrates.
_SCHEMA_TABLE = "alembic_version"
# https://alembic.sqlalchemy.org/en/latest/tutorial.html#create-a-migration-script
_REVISION = re.compile(r"^(revision|down_revision)\s*=\s*[\"'](\w+)", re.MULTILINE)
_DB_URL = re.compile(r"^[^#\n]*JupyterHub\.db_url\b", re.MULTILINE)


def place_of_another(layout: Layout) -> str | None:
    """FILE:LINE of the fragment that names a database which is not ours; read, not run."""
    for fragment in fragment_files(layout):
        text = fragment.read_text(errors="replace")
        if found := _DB_URL.search(text):
            line = text.count("\n", 0, found.end()) + 1
            return f"{fragment}:{line}"
    return None


def copy(source: Path, target: Path) -> None:
    """Copy a database that may be in use, by sqlite's own backup; nobody but root may read it.

    Args:
        source: the database.
        target: the copy; its directory is made, an earlier copy is replaced in one step.

    Raises:
        LittlestHubError: it cannot be read, or there is no room for it.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    needed, free = source.stat().st_size + MARGIN_BYTES, shutil.disk_usage(target.parent).free
    if free < needed:
        raise LittlestHubError(
            f"{target.parent}: {free // 1_000_000} MB are free, and a copy of the database needs"
            f" {needed // 1_000_000} MB",
            f"Make room: df {target.parent}",
        )
    with replacing(target) as temporary:
        temporary.touch(mode=0o600)
        with _explained(source), _opened(source) as original, _opened(temporary) as made:
            original.backup(made)


def revision(database: Path) -> str | None:
    """The revision of a database's schema; None: it has none yet.

    Raises:
        LittlestHubError: it is damaged.
    """
    with _explained(database), _opened(database) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        if _SCHEMA_TABLE not in _tables(connection):
            return None
        row = connection.execute(f"SELECT version_num FROM {_SCHEMA_TABLE}").fetchone()
        return str(row[0]) if row else None


def head() -> str:
    """The revision that this release has."""
    return _history()[0]


@functools.cache
def _history() -> list[str]:
    """Every revision that this release knows, its own first."""
    # Read, not imported: alembic is a tenth of what a hub that starts imports.
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
    """Where the copy of a database with this schema is."""
    return layout.on_disk(layout.backups) / f"jupyterhub-{schema}.sqlite"


def prepare(layout: Layout) -> str | None:
    """Have the database in the schema of this release, keeping a copy of what it was.

    To be called while no hub has it open.

    Returns:
        What was done; None: nothing had to be.

    Raises:
        LittlestHubError: it is damaged, or of a later release and nobody asked for an earlier one.
    """
    database = layout.on_disk(layout.database)
    if not database.exists():
        return None
    found = revision(database)
    if found is None or found == head():
        return None
    if found in _history():
        return _bring_up(layout, database, found)
    kept = backup_of(layout, head())
    if not (kept.is_file() and _is_wanted(layout)):
        raise LittlestHubError(
            f"{layout.database} has the schema of a later release ({found}); this one,"
            f" {__version__}, knows {head()}",
            f"Start the later release again (its installer with -u), or put back a copy:"
            f" ls {layout.backups}",
        )
    return _put_back(layout, database, found, kept)


def rehearse(layout: Layout) -> bool:
    """Keep a copy of the database, and try on another one what `prepare` will do.

    Returns:
        Whether the schema is going to change.

    Raises:
        LittlestHubError: it would fail.
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


def _bring_up(layout: Layout, database: Path, found: str) -> str:
    kept = backup_of(layout, found)
    copy(database, kept)
    with _replaced(database) as temporary:
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


def _is_wanted(layout: Layout) -> bool:
    """Whether this very release is being returned to: by the administrator, by a failing upgrade.

    While an upgrade is under way it may be started again at any moment.
    """
    try:
        switch = json.loads(layout.on_disk(layout.switch_record).read_text())
        ends = [switch["to"]["version"]]
        ends += [] if switch["is_done"] else [switch["from"]["version"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return __version__ in ends


def _put_back(layout: Layout, database: Path, found: str, kept: Path) -> str:
    newer = backup_of(layout, found)
    copy(database, newer)
    with _replaced(database) as temporary:
        copy(kept, temporary)
        try:
            tables = _carry_over(newer, temporary)
            revision(temporary)
        except (sqlite3.Error, LittlestHubError) as error:
            copy(kept, temporary)
            tables = f"nothing, for: {error}"
    return (
        f"the database of {head()} is back; carried over from {found}: {tables}; as it was: {newer}"
    )


def _carry_over(newer: Path, older: Path) -> str:
    """Have in the older database what happened since, as far as its schema can hold it.

    Servers that were started meanwhile are in there, with the tokens they need.
    """
    changed: list[str] = []
    with _opened(older) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("ATTACH ? AS newer", (str(newer),))
        connection.isolation_level = None
        connection.execute("BEGIN")
        common = _tables(connection) & _tables(connection, "newer") - {_SCHEMA_TABLE}
        for table in sorted(common):
            connection.execute("SAVEPOINT whole_table")
            try:
                if _merge(connection, table):
                    changed.append(table)
            except sqlite3.Error:
                # A column that the older schema needs and nobody fills: it stays as it was.
                connection.execute("ROLLBACK TO whole_table")
            connection.execute("RELEASE whole_table")
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        if broken:
            raise sqlite3.IntegrityError(f"a row of {broken[0]} refers to one of {broken[2]}")
        connection.execute("COMMIT")
    return ", ".join(changed) or "nothing"


def _merge(connection: sqlite3.Connection, table: str) -> bool:
    """Rows of `newer.table` in `table`: those that are new, gone or different."""
    ours = {row[1]: row[5] for row in connection.execute(f'PRAGMA main.table_info("{table}")')}
    theirs = {row[1] for row in connection.execute(f'PRAGMA newer.table_info("{table}")')}
    both = [column for column in ours if column in theirs]
    keys = [column for column in both if ours[column]] or both
    same = " AND ".join(f'old."{key}" IS new."{key}"' for key in keys)
    before = connection.total_changes
    connection.execute(
        f'DELETE FROM main."{table}" AS old WHERE NOT EXISTS'
        f' (SELECT 1 FROM newer."{table}" AS new WHERE {same})'
    )
    values = [column for column in both if column not in keys]
    if values:
        assign = ", ".join(f'"{column}" = new."{column}"' for column in values)
        differs = " OR ".join(f'old."{column}" IS NOT new."{column}"' for column in values)
        connection.execute(
            f'UPDATE main."{table}" AS old SET {assign} FROM newer."{table}" AS new'
            f" WHERE {same} AND ({differs})"
        )
    columns = ", ".join(f'"{column}"' for column in both)
    connection.execute(
        f'INSERT INTO main."{table}" ({columns}) SELECT {columns} FROM newer."{table}" AS new'
        f' WHERE NOT EXISTS (SELECT 1 FROM main."{table}" AS old WHERE {same})'
    )
    return connection.total_changes > before


def _tables(connection: sqlite3.Connection, schema: str = "main") -> set[str]:
    rows = connection.execute(
        f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {row[0] for row in rows}


@contextlib.contextmanager
def _replaced(database: Path) -> Iterator[Path]:
    """A file to make a database in, which then takes the place of this one."""
    with replacing(database) as temporary:
        yield temporary
        for suffix in LEFTOVERS:
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        with temporary.open("rb") as file:
            os.fsync(file)


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    # Not read-only: what a killed hub left half-written has to be taken back first.
    connection = sqlite3.connect(f"file:{quote(str(database))}?mode=rw", timeout=BUSY_S, uri=True)
    with contextlib.closing(connection):
        yield connection


@contextlib.contextmanager
def _explained(database: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        # "database or disk is full" and "database is locked" are of the same class.
        raise LittlestHubError(
            f"{database}: {error}",
            "If it is damaged: stop the hub, put a copy from state/backups or from your own backup"
            " in its place, and start it again; its user servers live on",
        ) from error
