"""Figures read from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from littlest_hub.stacks.stats.store import environments
from littlest_hub.stacks.stats.store.database import EVERYBODY
from littlest_hub.stacks.stats.store.environments import EnvironmentUse

_SHORTEST_S = 300
"""Time that a server has to run in an hour to tell what people need."""
_MINUTE, _HOUR, _DAY = "counts_minute", "counts_hour", "counts_day"


@dataclass(frozen=True)
class Counts:
    """The highest values of a period; None: unknown."""

    time_s: int
    """The beginning."""
    people: int
    servers: int
    starting: int
    waiting: int | None
    memory_bytes: int | None
    cpu_ms: int | None
    covered_s: float

    @property
    def processors(self) -> float | None:
        """The number of processors that were busy, on average."""
        if self.cpu_ms is None or not self.covered_s:
            return None
        return self.cpu_ms / 1000 / self.covered_s


@dataclass(frozen=True)
class Use:
    """The use of one person in a period."""

    name: str
    time_s: int
    """The beginning; 0: the whole period."""
    server_s: float
    memory_bytes: int | None
    """The most."""
    mean_memory_bytes: int | None
    """The average while a server ran."""
    memory_gb_h: float | None
    """Memory multiplied by time."""
    cpu_s: float | None
    active_days: int
    """Days, or, in a shorter period, parts of it, in which the person did something."""


@dataclass(frozen=True)
class Typical:
    """The need of a person in an hour, on average; None: unknown."""

    server_s: float
    """Time for which servers were measured."""
    memory_bytes: float | None = None
    """The most in the hour for people who work; the average for others."""
    processors: float | None = None


@dataclass(frozen=True)
class Ended:
    """Starts that have ended in one way."""

    time_s: int
    status: str
    reason: str
    up_to_s: float
    number: int


@dataclass(frozen=True)
class Failed:
    """A start that has failed."""

    name: str
    time_s: float
    reason: str
    meaning: str


class Figures:
    """Reads figures.

    Args:
        connection: of the database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def groups(self) -> list[str]:
        """Return the names of all groups that have members now."""
        query = "SELECT DISTINCT name FROM team JOIN member ON team_id = team.id ORDER BY name"
        return [str(row[0]) for row in self._db.execute(query)]

    def groups_of(self, person: str) -> list[str]:
        """Return the names of the groups that a person is in."""
        query = """
            SELECT team.name FROM team JOIN member ON team_id = team.id
            JOIN person ON person.id = person_id WHERE person.name = ? ORDER BY team.name"""
        return [str(row[0]) for row in self._db.execute(query, (person,))]

    def counts(
        self, table: str, group: str | None, begin_s: float, end_s: float, step_s: int
    ) -> list[Counts]:
        """Return what was counted, in steps; one in which nothing was counted is missing.

        Args:
            table: "minute", "hour", or "day".
            group: its name; None: everybody.
            begin_s: the beginning of the first step.
            end_s: the end of the last one.
            step_s: the length of a step; 0: a row of the table is one.
        """
        name = {"minute": _MINUTE, "hour": _HOUR, "day": _DAY}[table]
        step = f"(a.time_s - :begin) / {int(step_s)} * {int(step_s)} + :begin"
        own = "b" if group is not None else "a"
        # A group without servers has no row, while everybody has.
        query = f"""
            SELECT {step if step_s else "a.time_s"} AS time, max({own}.people) AS people,
                max({own}.servers) AS servers, max({own}.starting) AS starting,
                max({own}.waiting) AS waiting, max({own}.memory) AS memory,
                sum({own}.cpu_ms) AS cpu_ms, sum(a.covered_s) AS covered_s
            FROM {name} a LEFT JOIN {name} b ON b.time_s = a.time_s AND b.group_id =
                (SELECT id FROM team WHERE name = :group)
            WHERE a.group_id = {EVERYBODY} AND a.time_s >= :begin AND a.time_s < :end
            GROUP BY time ORDER BY time"""
        values = {"begin": int(begin_s), "end": int(end_s), "group": group}
        return [
            Counts(
                int(row["time"]),
                row["people"] or 0,
                row["servers"] or 0,
                row["starting"] or 0,
                row["waiting"],
                _known(row["memory"], row),
                _known(row["cpu_ms"], row),
                row["covered_s"],
            )
            for row in self._db.execute(query, values)
        ]

    def active_people(
        self, group: str | None, begin_s: float, end_s: float, table: str = "day"
    ) -> int:
        """Return how many people did something, by whole hours or days."""
        where, values = _in_group(group)
        query = f"""
            SELECT count(DISTINCT person_id) FROM use_{_checked(table)}
            WHERE is_active AND time_s >= ? AND time_s < ? {where}"""
        (found,) = self._db.execute(query, (begin_s, end_s, *values)).fetchone()
        return int(found)

    def active_by_day(self, group: str | None, begin_s: float, end_s: float) -> dict[int, int]:
        """Return how many people did something on each day on which something was counted."""
        where, values = _in_group(group)
        days = f"""
            SELECT time_s, 0 FROM counts_day
            WHERE group_id = {EVERYBODY} AND time_s >= ? AND time_s < ?"""
        active = f"""
            SELECT time_s, count(*) FROM use_day
            WHERE is_active AND time_s >= ? AND time_s < ? {where} GROUP BY time_s"""
        found = dict(self._db.execute(days, (begin_s, end_s)).fetchall())
        found |= dict(self._db.execute(active, (begin_s, end_s, *values)).fetchall())
        return dict(sorted(found.items()))

    def people(self, table: str, group: str | None, begin_s: float, end_s: float) -> list[Use]:
        """Return what each person used, whoever used most first.

        Args:
            table: "hour" or "day".
            group: as in `counts`; its members are those of today.
            begin_s: the beginning of the first hour or day.
            end_s: the end.
        """
        where, values = _in_group(group)
        query = f"""
            SELECT name, 0 AS time_s, {_USE} FROM use_{_checked(table)}
            JOIN person ON person.id = person_id
            WHERE time_s >= ? AND time_s < ? {where} GROUP BY name
            ORDER BY total(cpu_ms) DESC, total(server_s) DESC, name"""
        return [_use(row) for row in self._db.execute(query, (begin_s, end_s, *values))]

    def of_person(self, table: str, person: str, begin_s: float, end_s: float) -> list[Use]:
        """Return what a person used, by hour or day."""
        query = f"""
            SELECT name, time_s, {_USE} FROM use_{_checked(table)}
            JOIN person ON person.id = person_id
            WHERE name = ? AND time_s >= ? AND time_s < ? GROUP BY time_s ORDER BY time_s"""
        return [_use(row) for row in self._db.execute(query, (person, begin_s, end_s))]

    def of_all(self, table: str, group: str | None, begin_s: float, end_s: float) -> Use:
        """Return what people used together, as `people` has it for each."""
        where, values = _in_group(group)
        query = f"""
            SELECT '' AS name, 0 AS time_s, {_USE} FROM use_{_checked(table)}
            WHERE time_s >= ? AND time_s < ? {where}"""
        return _use(self._db.execute(query, (begin_s, end_s, *values)).fetchone())

    def environments(self, table: str, begin_s: float, end_s: float) -> list[EnvironmentUse]:
        """Return what servers used by environment, the most used first; arguments as `people`."""
        return environments.read(self._db, table, begin_s, end_s)

    def typical(self, begin_s: float, end_s: float, *, is_active: bool) -> Typical:
        """Return what people need in hours in which they work, or do nothing, while servers run.

        Args:
            begin_s: the beginning of the first hour.
            end_s: the end.
            is_active: whether they work.
        """
        memory = "memory" if is_active else "memory_mb_s * 1e6 / server_s"
        # Of a server that has just started, or is about to end, little is known.
        query = f"""
            SELECT total(server_s), sum({memory} * server_s) / sum(server_s),
                sum(cpu_ms) / 1000.0 / sum(server_s)
            FROM use_hour
            WHERE time_s >= ? AND time_s < ? AND is_active = ? AND server_s >= {_SHORTEST_S}
                AND memory IS NOT NULL AND cpu_ms IS NOT NULL"""
        return Typical(*self._db.execute(query, (begin_s, end_s, int(is_active))).fetchone())

    def stored_about(self, person: str) -> dict[str, Any]:
        """Return all rows about a person, as they are stored."""

        def rows(table: str) -> list[dict[str, Any]]:
            query = f"""
                SELECT {table}.* FROM {table} JOIN person ON person.id = person_id
                WHERE name = ? ORDER BY 1"""
            found = (dict(row) for row in self._db.execute(query, (person,)))
            return [{k: v for k, v in row.items() if k != "person_id"} for row in found]

        (since,) = self._db.execute(
            "SELECT max(since) FROM person WHERE name = ?", (person,)
        ).fetchone()
        return {
            "name": person,
            "since": since,
            "groups": self.groups_of(person),
            "hours": rows("use_hour"),
            "days": rows("use_day"),
            "failures": rows("failure"),
        }

    def starts(self, begin_s: float, end_s: float) -> list[Ended]:
        """Return how starts have ended."""
        query = """
            SELECT time_s, status, reason, up_to_s, number FROM starts
            WHERE time_s >= ? AND time_s < ? ORDER BY time_s, status, reason, up_to_s"""
        return [Ended(*row) for row in self._db.execute(query, (begin_s, end_s))]

    def failures(
        self, begin_s: float, end_s: float, group: str | None = None, person: str | None = None
    ) -> Sequence[Failed]:
        """Return starts that have failed, the last one first."""
        where, values = _in_group(group)
        if person is not None:
            where, values = f"{where} AND name = ?", (*values, person)
        query = f"""
            SELECT name, time_us / 1e6, reason, meaning FROM failure
            JOIN person ON person.id = person_id
            WHERE time_us >= ? AND time_us < ? {where} ORDER BY time_us DESC LIMIT 200"""
        period = (begin_s * 1e6, end_s * 1e6)
        return [Failed(*row) for row in self._db.execute(query, (*period, *values))]

    def last_sample_s(self) -> int | None:
        """Return the minute of the last sample; None: there is none."""
        query = f"SELECT max(time_s) FROM {_MINUTE} WHERE group_id = {EVERYBODY}"
        (found,) = self._db.execute(query).fetchone()
        return None if found is None else int(found)


# Who had no server has used nothing; what a server used may be unknown.
_USE = """
    total(server_s) AS server_s, max(memory) AS memory,
    sum(memory_mb_s) * 1e6 / nullif(total(server_s), 0) AS mean_memory,
    coalesce(sum(memory_mb_s), iif(total(server_s), NULL, 0)) / 1000.0 / 3600 AS memory_gb_h,
    coalesce(sum(cpu_ms), iif(total(server_s), NULL, 0)) AS cpu_ms, total(is_active) AS active"""


def _known(value: int | None, row: sqlite3.Row) -> int | None:
    """Return what servers use, which is nothing if there are none."""
    return value if value is not None or row["servers"] else 0


def _checked(table: str) -> str:
    if table not in ("hour", "day"):
        raise ValueError(table)
    return table


def _in_group(group: str | None) -> tuple[str, tuple[str, ...]]:
    """Return a condition for the people of a group, and its values."""
    if group is None:
        return "", ()
    members = "SELECT person_id FROM member JOIN team ON team.id = team_id WHERE team.name = ?"
    return f"AND person_id IN ({members})", (group,)


def _use(row: sqlite3.Row) -> Use:
    mean, cpu_ms = row["mean_memory"], row["cpu_ms"]
    return Use(
        str(row["name"]),
        int(row["time_s"]),
        float(row["server_s"]),
        row["memory"],
        None if mean is None else int(mean),
        row["memory_gb_h"],
        None if cpu_ms is None else cpu_ms / 1000,
        int(row["active"]),
    )
