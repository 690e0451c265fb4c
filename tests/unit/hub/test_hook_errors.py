"""Errors of functions that a fragment configures: which one, and at which line."""

import asyncio
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.spawner import SpawnException
from tornado.web import HTTPError
from traitlets.config import Config

from littlest_hub.hub.config import execute
from littlest_hub.hub.hook_errors import HookErrors, HookFailure

FRAGMENT = """\
import functools, os

def hook(spawner, error):
    raise error

async def later(spawner, error):
    hook(spawner, error)

class Callable:
    def __call__(self, spawner, error):
        raise error

class Unnamed:
    def method(self, spawner, error):
        raise error

c.Spawner.pre_spawn_hook = later
c.Spawner.auth_state_hook = functools.partial(hook)
c.Authenticator.post_auth_hook = Callable()
c.Other.method = [Unnamed().method]
c.Spawner.environment = {"A": lambda spawner, error: os.stat("/no/such/file")}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "60-mine.py"
    file.write_text(FRAGMENT)
    config = Config()
    execute(file, config)
    return config


def call(function: Callable[..., Any], error: Exception | None = None) -> Exception:
    """Return what a function raises that is called as the hub would."""
    try:
        result = function(None, error or ValueError("no such course"))
        if asyncio.iscoroutine(result):
            asyncio.run(result)
    except Exception as raised:
        return raised
    raise AssertionError(f"{function} has raised nothing")


def failure(config: Config, error: Exception) -> HookFailure | None:
    return HookErrors(config, logging.getLogger("test")).failure(error)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("Spawner.pre_spawn_hook", 4),
        ("Spawner.auth_state_hook", 4),
        ("Authenticator.post_auth_hook", 11),
    ],
)
def test_a_failed_hook_is_named_with_its_setting_and_line(
    config: Config, setting: str, line: int, tmp_path: Path
) -> None:
    section, key = setting.split(".")
    found = failure(config, call(config[section][key]))
    place = f"{tmp_path}/60-mine.py:{line}"
    assert str(found) == f"c.{setting} fails at {place}: ValueError: no such course"


def test_a_function_among_the_values_of_a_setting_is_named_too(config: Config) -> None:
    found = failure(config, call(config.Spawner.environment["A"]))
    assert str(found).startswith("c.Spawner.environment fails at ")


def test_the_page_has_no_text_of_the_error_which_may_contain_secrets(config: Config) -> None:
    found = failure(config, call(config.Spawner.pre_spawn_hook, ValueError("postgres://a:b@c")))
    assert found
    assert "60-mine.py:4 (ValueError)" in found.message
    assert "postgres" not in found.message


def test_a_method_of_a_class_in_a_fragment_has_a_line(config: Config, tmp_path: Path) -> None:
    found = failure(config, call(config.Other.method[0]))
    assert str(found).startswith(f"Code of a fragment fails at {tmp_path}/60-mine.py:15: ")


def test_a_hook_of_a_library_is_named_with_its_setting() -> None:
    config = Config()
    config.Spawner.pre_spawn_hook = functools.partial(library_hook)
    assert str(failure(config, call(config.Spawner.pre_spawn_hook))).startswith(
        f"c.Spawner.pre_spawn_hook fails at {__file__}:"
    )


def library_hook(spawner: Any, error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [HTTPError(403, "no"), SpawnException("full", reason="full")])
def test_an_error_that_is_meant_for_the_user_stays_as_it_is(
    config: Config, error: Exception
) -> None:
    assert failure(config, call(config.Spawner.pre_spawn_hook, error)) is None


@pytest.mark.parametrize(
    ("error", "is_explained"),
    [(OSError(30, "Read-only file system"), True), (ConnectionRefusedError(111, "no"), False)],
)
def test_what_the_sandbox_forbids_is_explained(
    config: Config, error: Exception, is_explained: bool
) -> None:
    found = failure(config, call(config.Spawner.pre_spawn_hook, error))
    assert found
    assert ("RootHook" in found.message) == is_explained
    assert ("RootHook" in str(found)) == is_explained


def test_a_logged_error_gets_one_line_more_and_a_message_for_the_page(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("hook_errors")
    log.addHandler(caplog.handler)
    log.addHandler(HookErrors(config, log))
    log.propagate = False
    error = call(config.Spawner.pre_spawn_hook)
    log.error("Unhandled error", exc_info=error)
    line = str(failure(config, call(config.Spawner.pre_spawn_hook)))
    assert [record.getMessage() for record in caplog.records] == ["Unhandled error", line]
    assert "60-mine.py:4" in error.jupyterhub_message  # type: ignore[attr-defined]


def test_an_error_that_cannot_be_explained_is_logged_as_without_us(
    config: Config, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class ClosedError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise TypeError(f"{name} cannot be set")

    log = logging.getLogger("hook_errors_closed")
    log.addHandler(caplog.handler)
    log.addHandler(HookErrors(config, log))
    log.propagate = False
    log.error("Unhandled error", exc_info=call(config.Spawner.pre_spawn_hook, ClosedError()))
    assert [record.getMessage() for record in caplog.records] == ["Unhandled error"]
    assert "jupyterhub_message cannot be set" in capsys.readouterr().err
