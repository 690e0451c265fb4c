"""A tree laid out as TLJH documents it, taken over."""

import ast
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.tljh import tree
from littlest_hub.stacks.classroom.tljh.convert import convert, literal

CONFIG = """\
base_url: /class
users:
  admin: [teacher]
  allowed: [alice, 123]
  banned: [mallory]
  extra_user_groups:
    project: [alice]
limits:
  memory: 1G
  cpu: 2
https:
  enabled: true
  letsencrypt:
    email: teacher@example.org
    domains: [hub.example.org]
http:
  port: 8080
auth:
  type: nativeauthenticator.NativeAuthenticator
  NativeAuthenticator:
    open_signup: true
services:
  cull: {enabled: true, timeout: 3600, every: 600, users: true}
user_environment:
  default_app: classic
"""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@pytest.fixture
def tljh(tmp_path: Path) -> Path:
    """A small TLJH: configuration, database, and an environment."""
    (tmp_path / "config/jupyterhub_config.d").mkdir(parents=True)
    (tmp_path / "config/config.yaml").write_text(CONFIG)
    (tmp_path / "config/jupyterhub_config.d/10-mine.py").touch()
    (tmp_path / "state").mkdir()
    with sqlite3.connect(tmp_path / "state/jupyterhub.sqlite") as database:
        database.execute("CREATE TABLE users (name TEXT)")
        database.execute("INSERT INTO users VALUES ('carol')")
    database.close()
    meta = tmp_path / "user/conda-meta"
    meta.mkdir(parents=True)
    (meta / "history").write_text(
        "==> 2026-01-01 <==\n# update specs: ['numpy', \"conda-forge::scipy>=1.0\", 'mamba']\n"
    )
    (meta / "numpy-1.json").write_text(json.dumps({"name": "numpy", "version": "1.26.4"}))
    site = tmp_path / "user/lib/python3.10/site-packages"
    for name, requested in (("nbgitpuller-1.2", True), ("seaborn-0.13", True), ("six-1", False)):
        place = site / f"{name}.dist-info"
        place.mkdir(parents=True)
        if requested:
            (place / "REQUESTED").touch()
    return tmp_path


def test_each_key_is_reported_and_the_fragment_is_python(tljh: Path) -> None:
    found = tree.read(tljh)
    done = convert(found.config)
    text = "\n".join(done.lines)
    ast.parse(text)
    assert done.login == "sign-up"
    for line in (
        "c.Authenticator.admin_users.update({'teacher'})",
        "c.Authenticator.allowed_users.update({'123', 'alice'})",
        "c.Authenticator.blocked_users.update({'mallory'})",
        "c.Spawner.mem_limit = '1G'",
        "c.Spawner.cpu_limit = 2",
        "c.JupyterHub.base_url = '/class'",
        "c.HubProxy.domains = ['hub.example.org']",
        "c.Spawner.default_url = '/tree'",
    ):
        assert line in done.lines, text
    reported = {key for key, _ in done.report}
    assert set(leaves(found.config)) <= reported


def leaves(value: Any, path: str = "") -> Any:
    """Yield the paths of keys as TLJH documents them."""
    for key, each in value.items():
        is_inner = isinstance(each, dict) and key != "extra_user_groups"
        yield from leaves(each, f"{path}{key}.") if is_inner else [f"{path}{key}"]


def test_people_packages_and_other_fragments_are_found(tljh: Path) -> None:
    found = tree.read(tljh)
    assert found.names == {"alice", "123", "mallory", "teacher", "carol"}
    assert [(each.name, each.version, each.source) for each in found.packages] == [
        ("numpy", "1.26.4", "conda"),
        ("scipy", "", "conda"),
        ("seaborn", "0.13", "pip"),
    ]
    assert "numpy  # 1.26.4, from conda\n" in tree.requirements(found.packages)
    assert [each.name for each in found.fragments] == ["10-mine.py"]


def test_a_long_name_is_shortened_as_tljh_does() -> None:
    assert tree.account_name("alice") == "jupyter-alice"
    assert tree.account_name("a" * 17) == f"jupyter-{'a' * 17}"
    assert tree.account_name("a" * 18) == f"jupyter-{'a' * 18}-{tree.account_name('a' * 18)[-5:]}"


def test_without_a_configuration_it_is_tljhs_default(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    assert convert(tree.read(tmp_path).config).login == "first-use"


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "!!python/object:os.system x"])
def test_another_file_is_refused_or_read_as_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(text)
    with pytest.raises(LittlestHubError):
        tree.read(tmp_path)


@given(st.dictionaries(st.text(), VALUES))
def test_any_configuration_becomes_python(config: dict[str, Any]) -> None:
    ast.parse("\n".join(convert(config).lines))


@given(VALUES)
def test_values_stay_the_same(value: Any) -> None:
    assert ast.literal_eval(literal(value)) == value


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("users", "limits", "auth", "https", "http", "services"), VALUES),
    )
)
def test_a_damaged_configuration_becomes_python(config: dict[str, Any]) -> None:
    ast.parse("\n".join(convert(config).lines))
