"""The hub that a check starts, without a sandbox."""

from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from tests.unit.check.fragments import errors, only, write

pytestmark = pytest.mark.unit


def _add_user(database: Path, name: str) -> None:
    from jupyterhub import orm

    database.parent.mkdir(parents=True, exist_ok=True)
    session = orm.new_session_factory(f"sqlite:///{database}")()
    session.add(orm.User(name=name))
    session.commit()
    session.close()


def test_no_name_of_a_user_makes_the_check_fail(layout: Layout) -> None:
    _add_user(layout.database, "trial")
    write(layout, "10-a.py", "c.Authenticator.admin_users = {'trial'}\n")
    assert errors(layout) == []


def test_a_check_creates_no_account_and_expects_that_the_hub_can(
    layout: Layout, tmp_path: Path
) -> None:
    _add_user(layout.database, "no-such-user-in-database")
    created = tmp_path / "created"
    text = (
        f"c.LocalAuthenticator.add_user_cmd = ['touch', '{created}-USERNAME']\n"
        "c.LocalAuthenticator.create_system_users = True\n"
        "c.Authenticator.allowed_users = {'no-such-user-allowed'}\n"
        "c.JupyterHub.load_groups = {'class': {'users': ['no-such-user-in-group']}}\n"
    )
    write(layout, "10-a.py", text)
    assert errors(layout) == []
    assert list(tmp_path.glob("created*")) == []


def test_a_user_of_a_group_who_has_no_account_is_refused(layout: Layout) -> None:
    text = "c.JupyterHub.load_groups = {'class': {'users': ['no-such-user']}}\n"
    file = write(layout, "10-a.py", text)
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 1)


@pytest.mark.parametrize(
    "setting",
    [
        "show_config = True",
        "show_config_json = True",
        "generate_config = True",
        "generate_certs = True",
        "service_check_interval = -1",
        "last_activity_interval = -1",
    ],
)
def test_what_ends_a_hub_that_was_initialized_is_refused(layout: Layout, setting: str) -> None:
    file = write(layout, "10-a.py", f"\nc.JupyterHub.{setting}\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)


def test_arguments_of_the_database_are_tried_for_sqlite_too(layout: Layout) -> None:
    file = write(layout, "10-a.py", "\nc.JupyterHub.db_kwargs = {'pool_sizee': 5}\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert "pool_sizee" in problem.message


def test_a_database_of_another_schema_is_refused_unless_the_hub_migrates_it(layout: Layout) -> None:
    import sqlite3

    other = layout.state / "other.sqlite"
    _add_user(other, "alice")
    with sqlite3.connect(other) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '99a28a4418e1'")
    file = write(layout, "10-a.py", f"\nc.JupyterHub.db_url = 'sqlite:///{other}'\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert "99a28a4418e1" in problem.message
    write(layout, "20-b.py", "c.JupyterHub.upgrade_db = True\n")
    assert errors(layout) == []
