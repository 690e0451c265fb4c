"""The hub's database when a rollback brings back an older schema."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from littlest_hub import __version__
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import database
from littlest_hub.layout import Layout

pytestmark = pytest.mark.unit

LATER = "0123456789ab"


def create(file: Path, schema: str, *statements: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [schema])
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rows(layout: Layout, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(layout.database)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation whose database is of a later release, with a copy of what it was before."""
    layout = Layout(tmp_path / "hub")
    create(
        database.backup_of(layout, database.head()),
        database.head(),
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "CREATE TABLE servers (user_id REFERENCES users (id))",
        "INSERT INTO users VALUES (1, 'alice'), (2, 'bob')",
    )
    create(
        layout.database,
        LATER,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, nickname TEXT)",
        "CREATE TABLE servers (user_id REFERENCES users (id))",
        "CREATE TABLE badges (id INTEGER)",
        "INSERT INTO users VALUES (1, 'alice', 'al'), (3, 'carol', 'caz')",
        "INSERT INTO servers VALUES (3)",
    )
    return layout


def roll_back(layout: Layout) -> str:
    record = {"to": {"version": __version__}, "is_done": True}
    layout.switch_record.write_text(json.dumps(record))
    return database.prepare(layout) or ""


def test_after_a_rollback_the_older_schema_has_the_users_and_servers_of_now(
    layout: Layout,
) -> None:
    message = roll_back(layout)
    assert f"with the rows of {LATER}" in message
    assert database.revision(layout.database) == database.head()
    assert rows(layout, "SELECT * FROM users ORDER BY id") == [(1, "alice"), (3, "carol")]
    assert rows(layout, "SELECT * FROM servers") == [(3,)]
    assert database.revision(database.backup_of(layout, LATER)) == LATER


def test_rows_that_do_not_fit_the_older_schema_leave_it_as_it_was(layout: Layout) -> None:
    with sqlite3.connect(layout.database) as connection:
        connection.execute("INSERT INTO users VALUES (4, NULL, 'x')")
    connection.close()
    message = roll_back(layout)
    assert "as it was before the upgrade" in message
    assert "NOT NULL constraint failed: users.name" in message
    assert rows(layout, "SELECT * FROM users ORDER BY id") == [(1, "alice"), (2, "bob")]


def test_without_a_switch_back_a_later_schema_is_refused(layout: Layout) -> None:
    with pytest.raises(LittlestHubError, match=f"schema of a later release \\({LATER}\\)"):
        database.prepare(layout)
    assert database.revision(layout.database) == LATER
