"""docs/reference/public-surface.md, compared with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from littlest_hub import cli
from littlest_hub.check import Problem
from littlest_hub.doctor.findings import Finding
from littlest_hub.fragments.catalogue import Entry
from littlest_hub.hub.authenticator import SystemAuthenticator
from littlest_hub.hub.login_limits import LoginLimits
from littlest_hub.hub.pages import Pages
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.request_limits import RequestLimits
from littlest_hub.hub.spawn_options import RequestPolicy
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.units.environment import HTTPS_PORT
from tests.capabilities import need_modules

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "public-surface.md").read_text()


def _section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].partition("\n## ")[0]


def _names(text: str) -> set[str]:
    """Return everything in a text that is in backquotes."""
    return set(re.findall(r"`([^`]+)`", text))


def _first_column(section: str) -> set[str]:
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return _names("".join(rows))


def test_it_names_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.command(["--help"])
    commands = set(re.findall(r"^    ([a-z][a-z-]*)\b", capsys.readouterr().out, re.MULTILINE))
    internal = {"serve", "serve-hub", "reload"}
    assert internal <= commands
    assert _first_column(_section("Commands")) == commands - internal


def test_it_names_each_option_that_a_command_has(capsys: pytest.CaptureFixture[str]) -> None:
    for command, text in re.findall(r"^\| `([a-z]+)` \| (.*) \|$", _section("Commands"), re.M):
        with pytest.raises(SystemExit):
            cli.command([command, "--help"])
        known = capsys.readouterr().out
        for option in re.findall(r"--[a-z]+", text):
            assert option in known, f"{command} {option}"


OURS = (
    HubProxy,
    UnitSpawner,
    SystemAuthenticator,
    RequestPolicy,
    LoginLimits,
    RequestLimits,
    Pages,
)


@pytest.mark.parametrize("kind", OURS)
def test_it_names_each_setting_of_our_classes(kind: Any) -> None:
    _compare_settings(kind)


@pytest.mark.parametrize(
    "name",
    [
        *("oauth.GitHubAuthenticator", "oauth.GoogleAuthenticator", "oauth.OIDCAuthenticator"),
        *("ldap.DirectoryAuthenticator", "lti.LearningPlatformAuthenticator"),
    ],
)
def test_it_names_each_setting_of_our_authenticators(name: str) -> None:
    need_modules("oauthenticator", "ldapauthenticator", "ltiauthenticator")
    module, _, kind = name.partition(".")
    _compare_settings(getattr(import_module(f"littlest_hub.hub.{module}"), kind))


def _compare_settings(kind: Any) -> None:
    (row,) = re.findall(rf"^\| `{kind.__name__}` \| (.*) \|$", _section("Settings"), re.MULTILINE)
    parent, settings = (cell.strip(" `") for cell in row.split("|"))
    (base,) = (base for base in kind.mro() if base.__name__ == parent)
    own = set(kind.class_traits(config=True)) - set(base.class_traits(config=True))
    assert set(filter(None, settings.split("`, `"))) == own


def test_it_names_each_ready_fragment() -> None:
    shipped = {file.name for file in (ROOT / "jupyterhub_config.d").glob("*.py")}
    assert _names(_section("Ready fragments")) == shipped


def test_it_names_each_unit() -> None:
    listed = _first_column(_section("Units and drop-ins"))
    layout = Layout(DEFAULT_BASE)
    servers = {f"{layout.user_unit('NAME', server)}.service" for server in ("", "SERVER")}
    stacks = {layout.stack_unit("STACK", suffix) for suffix in (".service", ".socket")}
    assert listed == {*layout.all_unit_names, *servers, *stacks}


def test_it_names_the_fields_of_what_is_printed_as_json() -> None:
    section = _section("JSON")
    for record in (Problem, Entry, Finding):
        for field in fields(record):
            assert f"`{field.name}`" in section, f"{record.__name__}.{field.name}"


def test_it_names_the_variables() -> None:
    listed = {name for name in _names(_section("Variables")) if not name.endswith("_")}
    public = {name for name in listed if name.startswith("LITTLEST_HUB_")}
    read = {f"LITTLEST_HUB_{name}" for name in ("BASE", "ADMIN", "PORT", "USER", "CACHE")}
    assert public == {*read, HTTPS_PORT}
