"""Defaults and fragments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jupyterhub.app import JupyterHub

# Imported for the child processes that check fragments: they need not import it again.
from littlest_hub.check import (
    check_fragments,
    evaluator,  # noqa: F401
)
from littlest_hub.errors import LittlestHubError
from littlest_hub.hub.config import CULLER, SPAWN_LIMIT, load
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.installation import fragment_files, ignored_files
from littlest_hub.layout import Layout
from littlest_hub.manifest.discovery import shipped
from littlest_hub.units.environment import UnitEnvironment
from tests.capabilities import need_modules
from tests.catalogue import CATALOGUE, filled

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    return layout


def write(layout: Layout, name: str, text: str) -> str:
    (layout.fragments / name).write_text(text)
    return str(layout.fragments / name)


def test_defaults_are_a_hub_for_system_users(layout: Layout) -> None:
    c = load(layout, UnitEnvironment(8000, "127.0.0.1:15004", ("127.0.0.1", 15003)))
    assert c.JupyterHub.proxy_class is HubProxy
    assert c.JupyterHub.spawner_class is UnitSpawner
    assert c.JupyterHub.bind_url == "http://:8000"
    assert (c.JupyterHub.hub_ip, c.JupyterHub.hub_port) == ("127.0.0.1", 15003)
    assert c.HubProxy.traefik_api_url == "http://127.0.0.1:15004"
    assert c.JupyterHub.cleanup_servers is False


def test_addresses_are_read_from_the_units_environment() -> None:
    environ = {
        "LITTLEST_HUB_PUBLIC_PORT": "8000",
        "LITTLEST_HUB_PROXY_API": "127.0.0.1:15004",
    }
    assert UnitEnvironment.from_environ(environ) == UnitEnvironment(8000, "127.0.0.1:15004")
    environ["LITTLEST_HUB_PUBLIC_PORT"] = "[::1]:8000"
    assert UnitEnvironment.from_environ(environ).public_host == "[::1]"
    assert UnitEnvironment.from_environ({}, ("127.0.0.1", 1)) == UnitEnvironment(
        hub_address=("127.0.0.1", 1)
    )


@pytest.mark.parametrize("host", ["", "127.0.0.1", "[::1]"])
@pytest.mark.parametrize("base_url", ["/jupyter/", "jupyter"])
def test_a_base_url_does_not_change_the_address(
    layout: Layout, host: str, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(layout, "10-a.py", f"c.JupyterHub.base_url = {base_url!r}")
    app = JupyterHub()
    app.update_config(load(layout, UnitEnvironment(8001, public_host=host)))
    assert app.bind_url == f"http://{host}:8001/jupyter/"
    assert app.base_url == "/jupyter/"
    assert app.hub_prefix == "/jupyter/hub/"
    assert "please use just one" not in caplog.text


def test_a_fragment_may_set_base_url_and_address_together(layout: Layout) -> None:
    text = "c.JupyterHub.base_url = '/x'\nc.JupyterHub.bind_url = 'http://127.0.0.1:8123'"
    write(layout, "10-a.py", text)
    app = JupyterHub()
    app.update_config(load(layout, UnitEnvironment()))
    assert app.bind_url == "http://127.0.0.1:8123/x/"


def test_only_python_files_are_fragments_and_they_apply_in_lexicographic_order(
    layout: Layout,
) -> None:
    write(layout, "20-b.py", "c.JupyterHub.admin_access = 'b'")
    write(layout, "10-a.py", "c.JupyterHub.admin_access = 'a'")
    write(layout, "30-c.py.off", "raise SystemExit")
    # Emacs locks a file with this.
    (layout.fragments / ".#20-b.py").symlink_to("root@machine.4711:1700000000")
    assert [f.name for f in fragment_files(layout)] == ["10-a.py", "20-b.py"]
    assert [f.name for f in ignored_files(layout)] == ["30-c.py.off"]
    assert load(layout, UnitEnvironment()).JupyterHub.admin_access == "b"


def test_a_fragment_can_append_to_settings_and_load_files_beside_it(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.services.append({'name': 'x'})\nload_subconfig('b.cfg')")
    write(
        layout, "b.cfg", "c.JupyterHub.services += [{'name': 'y'}]\nassert __file__.endswith('cfg')"
    )
    services = load(layout, UnitEnvironment()).JupyterHub.services
    assert [service["name"] for service in services] == [CULLER, "x", "y"]


def test_the_culler_keeps_its_role_if_a_fragment_sets_roles(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.load_roles = [{'name': 'x', 'scopes': ['self']}]")
    roles = load(layout, UnitEnvironment()).JupyterHub.load_roles
    assert [role["name"] for role in roles] == ["x", CULLER]


def test_a_fragment_that_removes_all_services_removes_the_culler(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.services = c.JupyterHub.load_roles = []")
    assert load(layout, UnitEnvironment()).JupyterHub.load_roles == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\nc.JupyterHub.port =\n", 2, "SyntaxError"),
        ("import no_such_module\n", 1, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("\n\ndef f():\n    return 1 / 0\nf()\n", 4, "ZeroDivisionError"),
        ("raise SystemExit\n", 1, "SystemExit"),
        ("x = 1\n\tc.JupyterHub.port = 1\n", 2, "IndentationError"),
    ],
)
def test_the_error_of_a_fragment_has_its_file_and_line(
    layout: Layout, text: str, line: int, message: str
) -> None:
    file = write(layout, "50-broken.py", text)
    with pytest.raises(LittlestHubError) as failed:
        load(layout, UnitEnvironment())
    assert failed.value.message.startswith(f"{file}:{line}: {message}")
    assert [(p.file, p.line) for p in check_fragments(layout).errors] == [(file, line)]


# --- check


def test_no_fragments_have_no_problems(layout: Layout) -> None:
    assert check_fragments(layout).errors == []


def test_a_colon_in_the_name_of_a_fragment_does_not_confuse_the_check(layout: Layout) -> None:
    file = write(layout, "20:a.py", "\n1 / 0\n")
    (problem,) = check_fragments(layout).errors
    assert (problem.file, problem.line) == (file, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "c.JupyterHub.spwner_class = 'x'",
            "no such setting; did you mean 'spawner_class'?",
        ),
        ("c.Authenticator.alowed_users = {'a'}", "did you mean 'allowed_users'?"),
        ("c.SystemdSpwner.slice = 'x'", "no class 'SystemdSpwner'; did you mean 'SystemdSpawner'"),
        ("c.JupyterHub.hub_port = 'x'", "expected an int, not the str 'x'"),
        ("c.Spawner.mem_limit = '1Q'", "1Q is not a valid memory specification"),
        ("c.SystemdSpawner.dynamic_users = 'yes'", "expected a boolean"),
        ("c.JupyterHub.spawner_class = 'no.such.Spawner'", "no.such.Spawner"),
        ("c.DockerSpawner.image = 'x'", "there is no class 'DockerSpawner'"),
        ("c.JupyterHub.services = 7", "JupyterHub.services"),
        ("c.Authenticator.alowed_users.add('x')", "did you mean 'allowed_users'?"),
        ("c.HubProxy.traefik_api_url = 'ftp://x'", "must be of the form"),
    ],
)
def test_what_traitlets_would_ignore_or_meet_too_late_is_a_problem(
    layout: Layout, text: str, message: str
) -> None:
    file = write(layout, "10-a.py", f"# comment\n{text}\n")
    (problem, *more) = check_fragments(layout).errors
    assert str(problem).startswith(f"{file}:2: ")
    assert message in problem.message
    assert not more


def test_all_problems_are_listed_at_once_and_in_order(layout: Layout) -> None:
    second = write(layout, "20-b.py", "c.JupyterHub.prot = 1\nimport no_such_module\n")
    first = write(layout, "10-a.py", "c.Spawner.mem_limit = '1Q'\nc.JupyterHub.prot = 1\n")
    found = [(problem.file, problem.line) for problem in check_fragments(layout).errors]
    assert found == [(first, 1), (second, 1), (second, 2)]


def test_the_line_that_counts_is_the_one_that_sets_the_value(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.hub_port = 'x'\n")
    write(layout, "20-b.py", "c.JupyterHub.hub_port = 8081\n")
    assert check_fragments(layout).errors == []


@pytest.mark.parametrize(
    ("spawner", "limit"),
    [
        ("UnitSpawner", 0),
        ("'littlest_hub.hub.spawner.UnitSpawner'", 0),
        ("'jupyterhub.spawner.SimpleLocalProcessSpawner'", SPAWN_LIMIT),
        ("'simple'", SPAWN_LIMIT),
        ("'no.such.Spawner'", SPAWN_LIMIT),
    ],
)
def test_jupyterhubs_spawn_limit_is_off_if_the_spawner_has_a_queue(
    layout: Layout, spawner: str, limit: int
) -> None:
    text = (
        "from littlest_hub.hub.spawner import UnitSpawner\n"
        f"c.JupyterHub.spawner_class = {spawner}\n"
    )
    write(layout, "10-a.py", text)
    assert load(layout, UnitEnvironment()).JupyterHub.concurrent_spawn_limit == limit


def test_settings_of_other_spawners_and_authenticators_are_known_once_chosen(
    layout: Layout,
) -> None:
    write(
        layout,
        "10-a.py",
        "c.JupyterHub.spawner_class = 'simple'\n"
        "c.SimpleLocalProcessSpawner.home_dir_template = '/tmp/{username}'\n"
        "c.JupyterHub.authenticator_class = 'shared-password'\n"
        "c.SharedPasswordAuthenticator.user_password = 'long enough'\n",
    )
    assert check_fragments(layout).errors == []


NAMES = sorted(path.name for path in CATALOGUE.glob("*.py"))
OF_STACKS = [name for stack in shipped().values() for name in stack.manifest.fragments]


def in_catalogue(
    name: str, tmp_path: Path, secret: str | None = "a secret\n", mode: int = 0o600
) -> str:
    """Return a ready fragment that is filled in, with a file in the place of its secret's."""
    file = tmp_path / "secret"
    if secret is not None:
        file.write_text(secret)
        file.chmod(mode)
    return re.sub(r"/etc/littlest-hub/\w+\.secret(?=\")", str(file), filled(name))


@pytest.mark.parametrize("name", OF_STACKS)
def test_a_fragment_of_a_stack_that_is_not_enabled_is_refused_with_its_line(
    layout: Layout, name: str
) -> None:
    text = (CATALOGUE / name).read_text()
    path = write(layout, name, text)
    calls = re.compile(r"stack_service\(|require_enabled\(")
    first = next(n for n, line in enumerate(text.splitlines(), 1) if calls.search(line))
    assert [(each.file, each.line) for each in check_fragments(layout).errors] == [(path, first)]


@pytest.mark.parametrize("name", [each for each in NAMES if each not in OF_STACKS])
def test_every_fragment_of_the_catalogue_is_correct_as_it_is(
    layout: Layout, name: str, tmp_path: Path
) -> None:
    if name.startswith("41-"):
        need_modules("oauthenticator", "ldapauthenticator", "ltiauthenticator", "tmpauthenticator")
    write(layout, name, in_catalogue(name, tmp_path))
    assert check_fragments(layout).errors == []


def test_the_groups_of_a_provider_are_no_mistake(layout: Layout, tmp_path: Path) -> None:
    need_modules("oauthenticator")
    text = in_catalogue("41-oidc.py", tmp_path)
    uncommented = re.sub(r"^#   (c\.OAuthenticator\..*_groups)", r"\1", text, flags=re.MULTILINE)
    assert uncommented.count("_groups = ") == 3
    write(layout, "41-oidc.py", uncommented)
    assert check_fragments(layout).errors == []


@pytest.mark.parametrize("name", [n for n in NAMES if "CHANGE-ME" in (CATALOGUE / n).read_text()])
def test_a_fragment_that_is_not_filled_in_is_refused_with_its_line(
    layout: Layout, name: str
) -> None:
    path = write(layout, name, (CATALOGUE / name).read_text())
    problems = check_fragments(layout).errors
    text = (CATALOGUE / name).read_text().splitlines()
    raising = next(number for number, line in enumerate(text, 1) if "raise ValueError" in line)
    assert (problems[0].file, problems[0].line) == (path, raising)


@pytest.mark.parametrize("name", ["41-github.py", "41-google.py", "41-oidc.py"])
@pytest.mark.parametrize(
    ("secret", "mode", "reason"),
    [
        (None, 0, "cannot be read (No such file or directory)"),
        ("", 0o600, "is empty"),
        ("one\ntwo", 0o600, "more than one line"),
        ("s", 0o604, "0600"),
    ],
)
def test_a_secret_that_is_none_is_refused_with_its_line(
    layout: Layout, name: str, tmp_path: Path, secret: str | None, mode: int, reason: str
) -> None:
    text = in_catalogue(name, tmp_path, secret, mode)
    path = write(layout, name, text)
    (problem,) = check_fragments(layout).errors
    reading = next(n for n, line in enumerate(text.splitlines(), 1) if "= read_secret(" in line)
    assert (problem.file, problem.line) == (path, reading)
    assert reason in problem.message
    assert "sudo " in problem.message


def test_the_password_of_the_catalogue_is_refused_until_it_is_changed(layout: Layout) -> None:
    name = "40-no-system-users.py"
    write(layout, name, (CATALOGUE / name).read_text())
    (problem,) = check_fragments(layout).errors
    assert "choose a password of your own" in problem.message
