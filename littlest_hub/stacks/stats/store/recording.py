"""Samples written into the database, and old figures deleted from it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from littlest_hub.stacks.stats.store import environments
from littlest_hub.stacks.stats.store.database import EVERYBODY
from littlest_hub.stacks.stats.store.sample import Person, Sample, sum_of_known
from littlest_hub.stacks.stats.values import Values

HOUR_S = 3600
_LONGEST = 300
"""The longest text about a failed start that is kept."""

_ADD_COUNTS = """
INSERT INTO {table} VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (time_s, group_id) DO UPDATE SET
    samples = samples + 1, covered_s = covered_s + excluded.covered_s,
    people = max(people, excluded.people), servers = max(servers, excluded.servers),
    starting = max(starting, excluded.starting),
    waiting = max(coalesce(waiting, excluded.waiting), coalesce(excluded.waiting, waiting)),
    memory = max(coalesce(memory, excluded.memory), coalesce(excluded.memory, memory)),
    cpu_ms = coalesce(cpu_ms + excluded.cpu_ms, cpu_ms, excluded.cpu_ms)
"""
_ADD_USE = """
INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (time_s, person_id) DO UPDATE SET
    server_s = server_s + excluded.server_s,
    memory = max(coalesce(memory, excluded.memory), coalesce(excluded.memory, memory)),
    memory_mb_s = coalesce(memory_mb_s + excluded.memory_mb_s, memory_mb_s, excluded.memory_mb_s),
    cpu_ms = coalesce(cpu_ms + excluded.cpu_ms, cpu_ms, excluded.cpu_ms),
    is_active = max(is_active, excluded.is_active)
"""
_ADD_STARTS = """
INSERT INTO starts VALUES (?, ?, ?, ?, ?)
ON CONFLICT (time_s, status, reason, up_to_s) DO UPDATE SET number = number + excluded.number
"""


def hour_of(time_s: float) -> int:
    return int(time_s) // HOUR_S * HOUR_S


def day_of(time_s: float) -> int:
    """Return the beginning of the local day of a time."""
    then = time.localtime(time_s)
    return int(time.mktime((then.tm_year, then.tm_mon, then.tm_mday, 0, 0, 0, 0, 0, -1)))


@dataclass(frozen=True)
class _Use:
    """The use of a person's servers at the moment of a sample."""

    running: int
    starting: int
    memory_bytes: int | None
    cpu_ms: int | None

    @classmethod
    def of(cls, person: Person) -> _Use:
        running = sum(each.is_running for each in person.servers)
        return cls(
            running,
            len(person.servers) - running,
            sum_of_known(each.memory_bytes for each in person.servers),
            sum_of_known(each.cpu_ms for each in person.servers),
        )


class Recorder:
    """Writes samples.

    Args:
        connection: of the database, open to write.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @property
    def memo(self) -> dict[str, str]:
        """The knowledge that samplers before this one have kept."""
        return dict(self._db.execute("SELECT key, value FROM memo"))

    def record(self, sample: Sample) -> None:
        """Add a sample to its minute, hour and day.

        Raises:
            sqlite3.Error: the disk is full, or the database damaged; nothing of it was added.
        """
        with self._transaction():
            ids = {person.name: self._id_of(person) for person in sample.people}
            if sample.is_whole:
                self._keep_groups(sample.people, ids)
                self._forget_others(ids.values())
            uses = {person.name: _Use.of(person) for person in sample.people}
            self._count(EVERYBODY, uses.values(), sample)
            for team, team_id in self._teams(sample.people).items():
                own = [uses[each.name] for each in sample.people if team in each.groups]
                if any(use.running + use.starting for use in own):
                    self._count(team_id, own, sample)
            for person in sample.people:
                self._add_use(ids[person.name], person, uses[person.name], sample)
            environments.add(self._db, sample, hour_of(sample.time_s), day_of(sample.time_s))
            for starts in sample.starts:
                for up_to_s, number in starts.by_duration.items():
                    when = hour_of(sample.time_s)
                    row = (when, starts.status, starts.reason[:_LONGEST], up_to_s, number)
                    self._db.execute(_ADD_STARTS, row)
            self._add_failures(sample)
            self._db.executemany("REPLACE INTO memo VALUES (?, ?)", sample.memo.items())

    def prune(self, values: Values) -> None:
        """Delete what is older than its time.

        It is counted in days on which there were samples, so that a clock that is wrong for a while
        deletes nothing.

        Raises:
            sqlite3.Error: the disk is full, or the database damaged; nothing was deleted.
        """
        tables = {
            ("counts_minute",): values.keep_minutes_days,
            ("counts_hour", "use_hour", "environment_hour"): values.keep_hours_days,
            ("counts_day", "use_day", "environment_day", "starts"): values.keep_days,
        }
        with self._transaction():
            oldest = {days: self._oldest_of(days) for days in tables.values()}
            for names, days in tables.items():
                for name in names:
                    self._db.execute(f"DELETE FROM {name} WHERE time_s < ?", (oldest[days],))
            failures = "DELETE FROM failure WHERE time_us < ?"
            self._db.execute(failures, (oldest[values.keep_days] * 1_000_000,))
            environments.forget_unused(self._db)

    def _oldest_of(self, days: int) -> int:
        query = """
            SELECT time_s FROM counts_day WHERE group_id = ?
            ORDER BY time_s DESC LIMIT 1 OFFSET ?"""
        found = self._db.execute(query, (EVERYBODY, days - 1)).fetchone()
        return int(found[0]) if found else 0

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # --- people and groups

    def _id_of(self, person: Person) -> int:
        found = self._db.execute(
            "SELECT id, since FROM person WHERE name = ?", (person.name,)
        ).fetchone()
        if found and found[1] == person.since:
            return int(found[0])
        if found:
            self._forget(int(found[0]))
        row = (person.name, person.since)
        added = self._db.execute("INSERT INTO person (name, since) VALUES (?, ?)", row)
        return int(added.lastrowid or 0)

    def _forget_others(self, ids: Collection[int]) -> None:
        """Delete all figures of people who are no users of the hub any more."""
        known = {int(row[0]) for row in self._db.execute("SELECT id FROM person")}
        for each in known - set(ids):
            self._forget(each)

    def _forget(self, person_id: int) -> None:
        for table in ("use_hour", "use_day", "failure", "member"):
            self._db.execute(f"DELETE FROM {table} WHERE person_id = ?", (person_id,))
        self._db.execute("DELETE FROM person WHERE id = ?", (person_id,))

    def _teams(self, people: Iterable[Person]) -> dict[str, int]:
        names = {name for person in people for name in person.groups}
        known = dict(self._db.execute("SELECT name, id FROM team"))
        for name in sorted(names - known.keys()):
            added = self._db.execute("INSERT INTO team (name) VALUES (?)", (name,))
            known[name] = int(added.lastrowid or 0)
        return {name: known[name] for name in names}

    def _keep_groups(self, people: Collection[Person], ids: dict[str, int]) -> None:
        """Replace what is known about groups: they are those of today."""
        teams = self._teams(people)
        now = {(teams[name], ids[each.name]) for each in people for name in each.groups}
        before = {(t, p) for t, p in self._db.execute("SELECT team_id, person_id FROM member")}
        delete = "DELETE FROM member WHERE team_id = ? AND person_id = ?"
        self._db.executemany(delete, before - now)
        self._db.executemany("INSERT INTO member VALUES (?, ?)", now - before)

    # --- figures

    def _count(self, group_id: int, uses: Iterable[_Use], sample: Sample) -> None:
        found = list(uses)
        figures = (
            sample.covered_s,
            sum(each.running > 0 for each in found),
            sum(each.running for each in found),
            sum(each.starting for each in found),
            sample.waiting if group_id == EVERYBODY else None,
            sum_of_known(each.memory_bytes for each in found if each.running + each.starting),
            sum_of_known(each.cpu_ms for each in found if each.running + each.starting),
        )
        for table, time_of in _COUNTS:
            row = (time_of(sample.time_s), group_id, *figures)
            self._db.execute(_ADD_COUNTS.format(table=table), row)

    def _add_use(self, person_id: int, person: Person, use: _Use, sample: Sample) -> None:
        has_server = use.running + use.starting > 0
        for table, time_of in _USES:
            begin = time_of(sample.time_s)
            is_active = begin <= person.last_activity_s <= sample.time_s + HOUR_S
            if not (has_server or is_active):
                continue
            memory, memory_mb_s, cpu_ms = None, None, None
            if has_server:
                memory, cpu_ms = use.memory_bytes, use.cpu_ms
            if memory is not None:
                memory_mb_s = memory / 1e6 * sample.covered_s
            figures = (use.running * sample.covered_s, memory, memory_mb_s, cpu_ms)
            row = (begin, person_id, *figures, int(is_active))
            self._db.execute(_ADD_USE.format(table=table), row)

    def _add_failures(self, sample: Sample) -> None:
        if not sample.failures:
            return
        ids = dict(self._db.execute("SELECT name, id FROM person"))
        rows = [
            (each.time_us, ids[each.name], each.reason[:_LONGEST], each.meaning[:_LONGEST])
            for each in sample.failures
            if each.name in ids
        ]
        self._db.executemany("INSERT OR IGNORE INTO failure VALUES (?, ?, ?, ?)", rows)


def _minute_of(time_s: float) -> int:
    return int(time_s) // 60 * 60


_COUNTS: tuple[tuple[str, Callable[[float], int]], ...] = (
    ("counts_minute", _minute_of),
    ("counts_hour", hour_of),
    ("counts_day", day_of),
)
_USES: tuple[tuple[str, Callable[[float], int]], ...] = (
    ("use_hour", hour_of),
    ("use_day", day_of),
)
