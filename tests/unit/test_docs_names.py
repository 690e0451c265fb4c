"""Everything that pages name exists: commands, options, settings, make's targets, files."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from batchspawner.batchspawner import BatchSpawnerBase
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator, LocalAuthenticator, PAMAuthenticator
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.spawner import Spawner
from systemdspawner import SystemdSpawner

from littlest_hub import cli
from littlest_hub.hub.login_limits import LoginLimits
from littlest_hub.hub.pages import Pages
from littlest_hub.hub.proxy import HubProxy
from littlest_hub.hub.request_limits import RequestLimits
from littlest_hub.hub.spawn_options import RequestPolicy
from littlest_hub.hub.spawner import UnitSpawner
from littlest_hub.layout import DEFAULT_BASE, Layout
from littlest_hub.manifest.discovery import shipped
from littlest_hub.manifest.manifest import resolve
from littlest_hub.stacks.classroom.logins.authenticators import PasswordLogin
from littlest_hub.stacks.slurm.spawner import SlurmSpawner
from tests.capabilities import need_modules
from tests.documentation import PAGES, ROOT, code

pytestmark = pytest.mark.unit

CLASSES: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(Authenticator, HubProxy, JupyterHub, LocalAuthenticator, LoginLimits, PAMAuthenticator),
        *(Pages, RequestLimits, RequestPolicy, SharedPasswordAuthenticator, SlurmSpawner, Spawner),
        *(SystemdSpawner, UnitSpawner, PasswordLogin, BatchSpawnerBase),
    )
}
LOGINS = {
    "OAuthenticator": "oauthenticator.oauth2",
    "GitHubOAuthenticator": "oauthenticator.github",
    "GoogleOAuthenticator": "oauthenticator.google",
}
"""Classes of packages that not every environment has, with their modules."""
MISTAKES = {"Authenticator.alowed_users"}
"""Settings that a page names as what does not exist."""
OF_NBGRADER = {"LateSubmissionPlugin.penalty_method", "AssignLatePenalties.plugin_class"}
"""Settings of nbgrader, which is not in this environment; tests of courses use them."""
DIRECTORIES = ("construct", "docs", "littlest_hub", "recipe", "tests")
EXAMPLES = ("NAME", "NN-", "…", "*", "test_x.py")
COMMAND = re.compile(r"(?:^|[\s/(])littlest-hub ([a-z][\w-]*)((?:[ ]+-[^\s#|`]+)*)", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


COMMANDS_OF_STACKS = {
    name: reference
    for stack in shipped().values()
    for name, reference in stack.manifest.commands.items()
}


@cache
def _help(capture: pytest.CaptureFixture[str], *command: str) -> str:
    function: Callable[[list[str]], object] = cli.command
    if command and command[0] in COMMANDS_OF_STACKS:
        function = partial(resolve(COMMANDS_OF_STACKS[command[0]]), Layout(DEFAULT_BASE))
        command = ()
    with pytest.raises(SystemExit):
        function([*command, "--help"])
    return capture.readouterr().out


@pages
def test_each_command_and_option_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = set(re.findall(r"^    ([a-z][a-z-]*)\b", _help(capsys), re.MULTILINE))
    for name, options in COMMAND.findall("\n".join(code(page))):
        assert name in {*known, *COMMANDS_OF_STACKS}, f"littlest-hub {name}"
        for option in re.findall(r"--[a-z-]+", options):
            assert option in _help(capsys, name), f"littlest-hub {name} {option}"


@pages
def test_each_setting_exists(page: Path) -> None:
    for name, setting in re.findall(r"\bc\.([A-Z]\w+)\.(\w+)", "\n".join(code(page))):
        if name in LOGINS:
            need_modules("oauthenticator")
            known = getattr(import_module(LOGINS[name]), name)
            assert setting in known.class_traits(config=True), f"{name}.{setting}"
        elif f"{name}.{setting}" not in MISTAKES | OF_NBGRADER:
            assert name in CLASSES, f"{name}: no such class, or it is missing in CLASSES above"
            assert setting in CLASSES[name].class_traits(config=True), f"{name}.{setting}"


@pages
def test_each_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in re.findall(r"^\s*make ([a-z][\w-]*)", "\n".join(code(page)), re.MULTILINE):
        assert name in targets, f"make {name}"


@pages
def test_each_file_of_the_repository_exists(page: Path) -> None:
    for span in code(page):
        for path in re.findall(rf"(?<![\w./-])(?:{'|'.join(DIRECTORIES)})/[\w./-]+", span):
            if not any(example in span for example in EXAMPLES):
                assert (ROOT / path.rstrip("/.")).exists(), path
