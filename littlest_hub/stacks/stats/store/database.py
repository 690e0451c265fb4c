"""The file of the database: its tables, and what happens if it is damaged."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.stats.store import environments

FILE = "stats.sqlite"
DAMAGED = f"{FILE}.damaged-"
"""Beginning of the names of files that were set aside."""
_KEPT_DAMAGED = 2
_FORMAT = 1
_PATIENCE_S = 10
EVERYBODY = 0
"""The id of a group that no one has made: all people of the hub."""

_COUNTS = """
    time_s INTEGER, group_id INTEGER, samples INTEGER, covered_s REAL, people INTEGER,
    servers INTEGER, starting INTEGER, waiting INTEGER, memory INTEGER, cpu_ms INTEGER,
    PRIMARY KEY (time_s, group_id)"""
_USE = """
    time_s INTEGER, person_id INTEGER, server_s REAL, memory INTEGER, memory_mb_s REAL,
    cpu_ms INTEGER, is_active INTEGER, PRIMARY KEY (time_s, person_id)"""
# `people`, `servers`, `starting`, `waiting` and `memory` are the highest of the period. NULL is
# unknown; memory and processors are also NULL without a server. A group without a server in a
# period has no row; if everybody has none either, nothing was counted then.
_TABLES = f"""
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT UNIQUE, since TEXT);
CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE member (
    team_id INTEGER, person_id INTEGER, PRIMARY KEY (team_id, person_id)) WITHOUT ROWID;
CREATE TABLE counts_minute ({_COUNTS}) WITHOUT ROWID;
CREATE TABLE counts_hour ({_COUNTS}) WITHOUT ROWID;
CREATE TABLE counts_day ({_COUNTS}) WITHOUT ROWID;
CREATE TABLE use_hour ({_USE}) WITHOUT ROWID;
CREATE TABLE use_day ({_USE}) WITHOUT ROWID;
CREATE TABLE starts (
    time_s INTEGER, status TEXT, reason TEXT, up_to_s REAL, number INTEGER,
    PRIMARY KEY (time_s, status, reason, up_to_s)) WITHOUT ROWID;
CREATE TABLE failure (
    time_us INTEGER, person_id INTEGER, reason TEXT, meaning TEXT,
    PRIMARY KEY (time_us, person_id)) WITHOUT ROWID;
CREATE TABLE memo (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
PRAGMA user_version = {_FORMAT};
"""


def open_to_write(directory: Path) -> sqlite3.Connection:
    """Open the database, and make it if there is none.

    Raises:
        sqlite3.Error: it is damaged, or the disk is full.
        LittlestHubError: a later release has written it.
    """
    found = sqlite3.connect(directory / FILE, timeout=_PATIENCE_S, isolation_level=None)
    try:
        # Readers do not wait for the writer, nor the other way round.
        found.execute("PRAGMA journal_mode = WAL")
        found.execute("PRAGMA synchronous = NORMAL")
        found.execute("PRAGMA journal_size_limit = 4000000")
        (format_,) = found.execute("PRAGMA user_version").fetchone()
        if format_ > _FORMAT:
            raise LittlestHubError(
                f"{FILE} has format {format_}, expected {_FORMAT}: a later release has written it",
                "Use that release, or move the file away: figures then begin anew",
            )
        if format_ < _FORMAT:
            found.executescript(f"BEGIN; {_TABLES} COMMIT;")
        # A release that had none may have made the others.
        found.executescript(f"BEGIN; {environments.TABLES} COMMIT;")
        check(found)
    except BaseException:
        found.close()
        raise
    return found


def open_to_read(directory: Path) -> sqlite3.Connection:
    """Open the database for reading, as it is now: samples that come meanwhile are not seen.

    Raises:
        sqlite3.Error: there is none, or it is damaged.
    """
    place = (directory / FILE).absolute().as_uri()
    found = sqlite3.connect(f"{place}?mode=ro", uri=True, timeout=_PATIENCE_S, isolation_level=None)
    try:
        found.row_factory = sqlite3.Row
        # Otherwise each query would see another moment.
        found.execute("BEGIN")
        found.execute("SELECT count(*) FROM memo").fetchone()
    except BaseException:
        found.close()
        raise
    return found


def check(connection: sqlite3.Connection) -> None:
    """Look for damage.

    Raises:
        sqlite3.DatabaseError: the database is damaged.
    """
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(f"the database is damaged: {said}")


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error is about the file itself, and not about the disk or a lock."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError)
    )


def set_aside(directory: Path) -> Path:
    """Rename a damaged database, so that another one can begin; return its new path."""
    name = f"{DAMAGED}{time.strftime('%Y%m%d-%H%M%S')}"
    (directory / FILE).rename(directory / name)
    for suffix in ("-wal", "-shm"):
        (directory / f"{FILE}{suffix}").unlink(missing_ok=True)
    for old in damaged(directory)[:-_KEPT_DAMAGED]:
        old.unlink(missing_ok=True)
    return directory / name


def damaged(directory: Path) -> list[Path]:
    """Return the databases that were set aside, the oldest first."""
    with contextlib.suppress(OSError):
        return sorted(each for each in directory.iterdir() if each.name.startswith(DAMAGED))
    return []
