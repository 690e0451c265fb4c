"""Figures of environments: what servers have used, by the environment that they run with.

Who had these servers is not kept. Names come from people, who may launch one repository after
another. So only some have rows of their own on a day, and a name goes with its last row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from littlest_hub.stacks.stats.store.sample import Sample, Server, sum_of_known

OWN, OTHERS = 0, -1
"""Ids of environments without a row in `environment`."""
OWN_NAME, OTHERS_NAME = "the hub's own", "others"
MOST = 50
"""The most environments of a day with figures of their own, besides these two."""
_LONGEST = 120
_SHOWN = 200

_COLUMNS = """
    time_s INTEGER, environment_id INTEGER, servers INTEGER, server_s REAL, memory_mb_s REAL,
    cpu_ms INTEGER, PRIMARY KEY (time_s, environment_id)"""
# `servers` is the highest of the period. NULL is unknown. The format of the database is the same
# with these tables, so that an earlier release still reads it.
TABLES = f"""
CREATE TABLE IF NOT EXISTS environment (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS environment_hour ({_COLUMNS}) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS environment_day ({_COLUMNS}) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (time_s, environment_id) DO UPDATE SET
    servers = max(servers, excluded.servers), server_s = server_s + excluded.server_s,
    memory_mb_s = coalesce(memory_mb_s + excluded.memory_mb_s, memory_mb_s, excluded.memory_mb_s),
    cpu_ms = coalesce(cpu_ms + excluded.cpu_ms, cpu_ms, excluded.cpu_ms)
"""


@dataclass(frozen=True)
class EnvironmentUse:
    """The use of all servers with one environment in a period; None: unknown."""

    name: str
    servers: int
    """The most at a time."""
    server_s: float
    memory_gb_h: float | None
    cpu_s: float | None


def add(db: sqlite3.Connection, sample: Sample, hour_s: int, day_s: int) -> None:
    """Add a sample to its hour and its day, in the transaction of the caller.

    Args:
        db: the database.
        sample: a sample.
        hour_s: the beginning of its hour.
        day_s: the beginning of its day.
    """
    ids = dict(_ids(db, _names(sample), day_s))
    by_id: dict[int, list[Server]] = {}
    for person in sample.people:
        for server in person.servers:
            by_id.setdefault(ids[server.environment[:_LONGEST]], []).append(server)
    for id, servers in by_id.items():
        running = sum(each.is_running for each in servers)
        memory = sum_of_known(each.memory_bytes for each in servers)
        figures = (
            running,
            running * sample.covered_s,
            None if memory is None else memory / 1e6 * sample.covered_s,
            sum_of_known(each.cpu_ms for each in servers),
        )
        for table, begin_s in (("environment_hour", hour_s), ("environment_day", day_s)):
            db.execute(_ADD.format(table=table), (begin_s, id, *figures))


def forget_unused(db: sqlite3.Connection) -> None:
    """Delete names of which all figures have been deleted."""
    db.execute("""
        DELETE FROM environment WHERE id NOT IN (
            SELECT environment_id FROM environment_hour
            UNION SELECT environment_id FROM environment_day)""")


def read(db: sqlite3.Connection, table: str, begin_s: float, end_s: float) -> list[EnvironmentUse]:
    """Return what servers used with each environment, the most used first.

    Args:
        db: the database.
        table: "hour" or "day".
        begin_s: the beginning of the first hour or day.
        end_s: the end.
    """
    name = {"hour": "environment_hour", "day": "environment_day"}[table]
    # The sampler, which makes it, may not have run since an upgrade.
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone():
        return []
    query = f"""
        SELECT environment_id, name, max(servers), total(server_s),
            sum(memory_mb_s) / 1000 / 3600, sum(cpu_ms) / 1000.0
        FROM {name} LEFT JOIN environment ON id = environment_id
        WHERE time_s >= ? AND time_s < ? GROUP BY environment_id
        ORDER BY total(server_s) DESC, total(cpu_ms) DESC, name LIMIT {_SHOWN}"""
    special = {OWN: OWN_NAME, OTHERS: OTHERS_NAME}
    return [
        EnvironmentUse(special.get(row[0]) or str(row[1]), *row[2:])
        for row in db.execute(query, (begin_s, end_s))
    ]


def _names(sample: Sample) -> Sequence[str]:
    servers = (server for person in sample.people for server in person.servers)
    return sorted({each.environment[:_LONGEST] for each in servers})


def _ids(db: sqlite3.Connection, names: Sequence[str], day_s: int) -> Iterator[tuple[str, int]]:
    """Yield names and their ids: those that have figures on that day, and others while they fit."""
    query = """
        SELECT name, id FROM environment JOIN environment_day ON environment_id = id
        WHERE time_s = ?"""
    today: Mapping[str, int] = dict(db.execute(query, (day_s,)))
    left = MOST - len(today)
    for name in names:
        if not name:
            yield name, OWN
        elif name in today:
            yield name, today[name]
        elif left > 0:
            left -= 1
            yield name, _id_of(db, name)
        else:
            yield name, OTHERS


def _id_of(db: sqlite3.Connection, name: str) -> int:
    db.execute("INSERT OR IGNORE INTO environment (name) VALUES (?)", (name,))
    (found,) = db.execute("SELECT id FROM environment WHERE name = ?", (name,)).fetchone()
    return int(found)
