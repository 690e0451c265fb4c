"""The hub's file of the people of a class: their passwords, and requests that wait for approval.

Each call is one transaction with its own connection, because two hubs use the file during a reload,
and commands may use it as well.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.logins.codes import VALID_S

WAITING, WAITING_OF_SOURCE = 500, 60
"""The most people who may wait at once, and the most of them from one network."""
WAITING_S = 30 * 86400
"""Time after which a request is deleted."""
NOTE_LENGTH = 200
"""The most characters of a person's note to the teacher."""
_LOCKED_S = 10
_SCHEMA = """
CREATE TABLE IF NOT EXISTS people (
    name TEXT PRIMARY KEY,
    standing TEXT NOT NULL,
    password TEXT,
    note TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '',
    time REAL NOT NULL,
    code TEXT,
    code_time REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, number INTEGER NOT NULL);
INSERT OR IGNORE INTO counters VALUES ('taken', 0);
"""


def file_of(layout: Layout) -> Path:
    """Return the file of an installation."""
    return layout.stack_hub_data("class") / "people.sqlite"


class Standing(StrEnum):
    """The rights of a person."""

    WAITING = "waiting"
    """No right: an administrator has to approve the request first."""
    APPROVED = "approved"
    """The right to log in."""
    LISTED = "listed"
    """The right to log in with the password of the first login, if a fragment allows the name."""


@dataclass(frozen=True)
class Person:
    """A person in the file."""

    name: str
    standing: Standing
    password: str | None
    """Hash of the password; None: there is none."""
    note: str
    """The message of the person to the teacher."""
    source: str
    """Network from which the request came."""
    time: float
    """Time at which the person signed up, or was added."""
    has_code: bool
    """Whether a one-time code can be used."""
    is_new: bool = False
    """Whether the person was added with a code, and has never had a password."""

    @property
    def may_log_in(self) -> bool:
        return self.standing is not Standing.WAITING

    @property
    def request(self) -> str:
        """The identifier of this request; a later one of the same name has another."""
        return f"{self.name} {self.time!r}"


class Answer(Enum):
    """The result of a request to sign up."""

    NOTED = "noted, or the name is taken: a stranger does not learn which"
    FULL = "too many people wait"


class People:
    """The file; it is made when something is written for the first time.

    Every method may raise `sqlite3.Error`, and `OSError`.

    Args:
        file: in a directory that only the hub can enter.
        clock: returns the time, in seconds since the epoch.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self._clock = clock

    def get(self, name: str) -> Person | None:
        """Return a person; None: the file has none of this name."""
        return next(iter(self._select("WHERE name = ?", name)), None)

    def all(self, standing: Standing) -> list[Person]:
        """Return the people of a standing, by name; those who wait by the time of the request."""
        order = "time" if standing is Standing.WAITING else "name"
        return self._select(f"WHERE standing = ? ORDER BY {order}", standing)

    def number_waiting(self) -> int:
        """Return how many people wait for approval."""
        if not self.file.exists():
            return 0
        with self._reading() as connection:
            count = "SELECT count(*) FROM people WHERE standing = 'waiting'"
            return int(connection.execute(count).fetchone()[0])

    def number_of_taken(self) -> int:
        """Return how many requests were for a name that is taken."""
        if not self.file.exists():
            return 0
        with self._reading() as connection:
            found = connection.execute("SELECT number FROM counters WHERE name = 'taken'")
            return int(found.fetchone()[0])

    def is_full(self, source: str) -> bool:
        """Return whether nobody else from a network may sign up at present."""
        waiting = self.all(Standing.WAITING)
        of_source = sum(each.source == source for each in waiting)
        return len(waiting) >= WAITING or of_source >= WAITING_OF_SOURCE

    def sign_up(
        self, name: str, password: str, note: str, source: str, *, is_taken: bool
    ) -> Answer:
        """Record a request to be let in.

        Args:
            name: canonical.
            password: its hash.
            note: for the teacher.
            source: network from which the request comes.
            is_taken: whether the name is refused; then only a counter changes.
        """
        now = self._clock()
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM people WHERE standing = ? AND time < ?",
                (Standing.WAITING, now - WAITING_S),
            )
            counted = connection.execute(
                "SELECT count(*), coalesce(sum(source = ?), 0) FROM people WHERE standing = ?",
                (source, Standing.WAITING),
            ).fetchone()
            if counted[0] >= WAITING or counted[1] >= WAITING_OF_SOURCE:
                return Answer.FULL
            values = (name, Standing.WAITING, password, note[:NOTE_LENGTH], source, now)
            insert = (
                "INSERT OR IGNORE INTO people (name, standing, password, note, source, time)"
                " VALUES (?, ?, ?, ?, ?, ?)"
            )
            if is_taken or not connection.execute(insert, values).rowcount:
                # Something is written in any case, so that the answer takes the same time.
                connection.execute("UPDATE counters SET number = number + 1 WHERE name = 'taken'")
            return Answer.NOTED

    def approve(self, requests: Iterable[str]) -> list[str]:
        """Approve requests; return the names of the people."""
        return self._decided("UPDATE people SET standing = 'approved'", requests)

    def refuse(self, requests: Iterable[str]) -> list[str]:
        """Delete requests; return the names of the people."""
        return self._decided("DELETE FROM people", requests)

    def _decided(self, change: str, requests: Iterable[str]) -> list[str]:
        statement = f"{change} WHERE standing = 'waiting' AND name = ? AND time = ?"
        decided = []
        with self._writing() as connection:
            for request in requests:
                name, _, when = request.partition(" ")
                with contextlib.suppress(ValueError):
                    if connection.execute(statement, (name, float(when))).rowcount:
                        decided.append(name)
        return decided

    def remove(self, name: str) -> bool:
        """Delete a person; return whether there was one."""
        if not self.file.exists():
            return False
        with self._writing() as connection:
            return connection.execute("DELETE FROM people WHERE name = ?", (name,)).rowcount > 0

    def forget_taken(self) -> None:
        """Set the number of requests for taken names to 0."""
        with self._writing() as connection:
            connection.execute("UPDATE counters SET number = 0")

    def choose_first_password(self, name: str, password: str) -> bool:
        """Store the first password of a person whom a fragment names; return False if there is one.

        A request to sign up with this name proves nothing, and is replaced.
        """
        values = (name, Standing.LISTED, password, self._clock())
        with self._writing() as connection:
            done = connection.execute(
                "INSERT INTO people (name, standing, password, time) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET standing = excluded.standing,"
                "  password = excluded.password, time = excluded.time, note = '', source = ''"
                " WHERE people.password IS NULL AND people.code IS NULL"
                "  OR people.standing = 'waiting'",
                values,
            )
            return done.rowcount > 0

    def set_password(self, name: str, password: str) -> bool:
        """Replace the password of a person who may log in; return whether there is one."""
        change = "UPDATE people SET password = ? WHERE name = ? AND standing <> 'waiting'"
        with self._writing() as connection:
            return connection.execute(change, (password, name)).rowcount > 0

    def grant(self, name: str, code: str) -> None:
        """Let the person who knows a one-time code choose a password, and void the earlier one.

        Args:
            name: canonical.
            code: its digest.
        """
        now = self._clock()
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO people (name, standing, time, code, code_time)"
                " VALUES (?, 'approved', ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                "  time = CASE WHEN people.time = people.code_time THEN excluded.time"
                "   ELSE people.time END,"
                "  standing = 'approved', password = NULL, code = excluded.code,"
                "  code_time = excluded.code_time",
                (name, now, code, now),
            )

    def has_code(self, name: str, code: str) -> bool:
        """Return whether the one-time code of a person has this digest, and can be used."""
        condition = "WHERE name = ? AND code = ? AND code_time > ?"
        return bool(self._select(condition, name, code, self._clock() - VALID_S))

    def use_code(self, name: str, code: str, password: str) -> bool:
        """Store a password and delete the one-time code; return False if the code is wrong."""
        change = (
            "UPDATE people SET password = ?, code = NULL, code_time = NULL"
            " WHERE name = ? AND code = ? AND code_time > ?"
        )
        values = (password, name, code, self._clock() - VALID_S)
        with self._writing() as connection:
            return connection.execute(change, values).rowcount > 0

    def damage(self) -> str:
        """Return the damage that SQLite finds in the file; "": there is none, or no file."""
        if not self.file.exists():
            return ""
        try:
            with self._reading() as connection:
                verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
                connection.execute("SELECT count(*) FROM people, counters")
        except sqlite3.Error as error:
            return str(error)
        return "" if verdict == "ok" else verdict

    def _select(self, condition: str, *values: object) -> list[Person]:
        if not self.file.exists():
            return []
        # The two times differ, or one is missing, as soon as there is or was a password (`grant`).
        fields = "name, standing, password, note, source, time, code IS NOT NULL, time IS code_time"
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {fields} FROM people {condition}", values)
            return [
                Person(name, Standing(standing), password, note, source, when, *map(bool, others))
                for name, standing, password, note, source, when, *others in rows
            ]

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        # With "ro", SQLite cannot undo what a killed hub has begun. Where nothing can be written,
        # as in a check of fragments, SQLite treats "rw" as "ro".
        address = f"{self.file.as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_LOCKED_S)) as found:
            yield found

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file.touch(mode=0o600)
        connection = sqlite3.connect(self.file, timeout=_LOCKED_S, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            try:
                # Not executescript, which would commit.
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
