"""The hub that a check starts, without a sandbox."""

from pathlib import Path

import pytest

from littlest_hub.check import check_fragments
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


@pytest.mark.row(40)
def test_a_check_calls_no_method_of_a_fragment_that_adds_users(
    layout: Layout, tmp_path: Path
) -> None:
    text = (
        "from pathlib import Path\n"
        "from jupyterhub.auth import DummyAuthenticator\n"
        "class Mine(DummyAuthenticator):\n"
        "    def add_user(self, user):\n"
        f"        Path('{tmp_path}/' + user.name).touch()\n"
        "        return super().add_user(user)\n"
        "c.JupyterHub.authenticator_class = Mine\n"
        "c.Authenticator.allowed_users = {'allowed'}\n"
        "c.JupyterHub.load_groups = {'class': {'users': ['member']}}\n"
        "c.JupyterHub.load_roles = [{'name': 'helpers', 'users': ['helper']}]\n"
    )
    write(layout, "10-a.py", text)
    assert errors(layout) == []
    assert not {"allowed", "member", "helper"} & {each.name for each in tmp_path.iterdir()}


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


def test_the_line_of_a_setting_that_is_in_no_list_is_found_by_trying_without_it(
    layout: Layout, tmp_path: Path
) -> None:
    # The first one is in the list of those that may make pages fail, and is innocent.
    text = f"c.JupyterHub.template_paths = ['{tmp_path}']\nc.JupyterHub.answer_yes = True\n"
    write(layout, "10-a.py", text)
    text = f"c.Spawner.debug = True\nc.JupyterHub.data_files_path = '{tmp_path}'\n"
    file = write(layout, "20-b.py", f"{text}c.JupyterHub.port = 8003\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert problem.message.startswith("JupyterHub.data_files_path: the hub could show no page")


def test_an_error_without_a_text_says_where_it_was_raised(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.extra_handlers = ['/hello']\n")
    problem = only(errors(layout))
    assert problem.line == 1
    assert "AssertionError in add_rules (" in problem.message


@pytest.mark.parametrize("page", ["login.html", "page.html"])
@pytest.mark.parametrize("text", ["{% if %}", "{{ nothing.at.all }}"])
def test_a_template_that_fails_is_refused(
    layout: Layout, tmp_path: Path, page: str, text: str
) -> None:
    (tmp_path / page).write_text(text)
    file = write(layout, "10-a.py", f"\nc.JupyterHub.template_paths = ['{tmp_path}']\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert "JupyterHub.template_paths: the hub could show no page" in problem.message


def test_headers_with_which_no_request_is_answered_are_refused(layout: Layout) -> None:
    file = write(layout, "10-a.py", "\nc.JupyterHub.tornado_settings = {'headers': 5}\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert "JupyterHub.tornado_settings: the hub could show no page" in problem.message


@pytest.mark.parametrize(
    ("handler", "auto_login"), [("LoginHandler", True), ("BaseHandler", False)]
)
def test_a_login_page_that_no_one_sees_is_not_tried(
    layout: Layout, tmp_path: Path, handler: str, auto_login: bool
) -> None:
    (tmp_path / "login.html").write_text("{% if %}")
    text = (
        "from jupyterhub.auth import Authenticator\n"
        "from jupyterhub.handlers import BaseHandler\n"
        "from jupyterhub.handlers.login import LoginHandler\n"
        "class Portal(Authenticator):\n"
        f"    auto_login = {auto_login}\n"
        "    def get_handlers(self, app):\n"
        f"        return [('/login', {handler})]\n"
        "c.JupyterHub.authenticator_class = Portal\n"
        "c.Authenticator.allow_all = True\n"
        f"c.JupyterHub.template_paths = ['{tmp_path}']\n"
    )
    write(layout, "10-a.py", text)
    assert errors(layout) == []
    (tmp_path / "page.html").write_text("{% if %}")
    assert only(errors(layout)).line == 10


SPAWNER = (
    "import pwd\n"
    "from jupyterhub.spawner import SimpleLocalProcessSpawner\n"
    "class Personal(SimpleLocalProcessSpawner):\n"
    "    def __init__(self, **kwargs):\n"
    "        super().__init__(**kwargs)\n"
    "        pwd.getpwnam(self.user.name).pw_dir.{}()\n"
    "c.JupyterHub.spawner_class = Personal\n"
)


def test_a_spawner_that_looks_up_its_user_gets_one_with_an_account(layout: Layout) -> None:
    for name in ("no-such-user", "root"):
        _add_user(layout.database, name)
    write(layout, "10-a.py", SPAWNER.format("strip"))
    assert not [each for each in check_fragments(layout).problems if each.line == 6]
    write(layout, "10-a.py", SPAWNER.format("stripe"))
    assert only(errors(layout)).line == 6


def test_without_such_a_user_a_spawner_that_looks_it_up_is_not_refused(layout: Layout) -> None:
    file = write(layout, "10-a.py", SPAWNER.format("strip"))
    report = check_fragments(layout)
    assert report.errors == []
    (warning,) = [each for each in report.warnings if "does not know the user" in each.message]
    assert (warning.file, warning.line) == (file, 6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('c.JupyterHub.template_vars = {"team": lambda user: user and user.team}\n', "team"),
        ('c.JupyterHub.template_paths = ["{templates}"]\n', "unexpected '}'"),
    ],
)
def test_a_page_that_fails_only_for_someone_who_is_logged_in_is_an_error(
    layout: Layout, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "home.html").write_text(
        "{% extends 'page.html' %}{% block main %}{{ } }}{% endblock %}"
    )
    file = write(layout, "10-a.py", text.replace("{templates}", str(tmp_path)))
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 1)
    assert "the hub could show no page" in problem.message
    assert reason in problem.message


def test_users_whom_the_next_start_locks_out_are_named(layout: Layout) -> None:
    from jupyterhub import orm

    layout.database.parent.mkdir(parents=True, exist_ok=True)
    session = orm.new_session_factory(f"sqlite:///{layout.database}")()
    session.add(orm.OAuthClient(identifier="jupyterhub"))
    for name in ("goes", "stays", "added"):
        session.add(user := orm.User(name=name))
        session.commit()
        if name != "added":
            user.new_api_token(note="of a session")
    session.close()
    text = "import os\nc.Authenticator.allowed_users = {'stays'}\n"
    file = write(layout, "10-a.py", text)
    warnings = check_fragments(layout).warnings
    (found,) = [each for each in warnings if "no fragment lets" in each.message]
    assert (found.file, found.line) == (file, 2)
    assert "no fragment lets goes log in" in found.message
