"""Lines of `show` about each setting: its value, the line that decides it, and earlier ones."""

import json
from dataclasses import replace
from typing import Any

import pytest

from littlest_hub.check import effective_configuration
from littlest_hub.check.configuration import Setting
from littlest_hub.check.effective import shown
from littlest_hub.check.redaction import REDACTED
from littlest_hub.layout import Layout
from tests.unit.check.fragments import write

pytestmark = pytest.mark.unit


def settings(layout: Layout) -> dict[str, Setting]:
    found = effective_configuration(layout).changed(is_everything=False).settings
    return {each.name: each for each in found}


def test_a_setting_names_the_line_that_decides_it_and_those_that_it_overrides(
    layout: Layout,
) -> None:
    first = write(layout, "10-a.py", "c.Spawner.mem_limit = '1G'\n\nc.Spawner.mem_limit = '2G'\n")
    second = write(layout, "20-b.py", "\nc.Spawner.mem_limit = (\n    '3G'\n)\n")
    found = settings(layout)["Spawner.mem_limit"]
    assert found.value == "3G"
    assert found.place == (second, 2)
    assert found.overrides == ((first, 1), (first, 3))
    assert not found.adds_to


def test_lines_that_add_to_a_value_are_told_from_lines_that_it_replaces(layout: Layout) -> None:
    first = write(
        layout,
        "10-a.py",
        "c.Authenticator.allowed_users = {'eve'}\nc.Authenticator.allowed_users = {'bob'}\n"
        "c.JupyterHub.services = [{'name': 'one'}]\n",
    )
    second = write(
        layout,
        "20-b.py",
        "c.Authenticator.allowed_users.add('alice')\n"
        "c.JupyterHub.services = [*c.JupyterHub.services, {'name': 'two'}]\n",
    )
    found = settings(layout)
    users, services = found["Authenticator.allowed_users"], found["JupyterHub.services"]
    assert (users.value, users.place) == (["alice", "bob"], (second, 1))
    assert (users.adds_to, users.overrides) == (((first, 2),), ((first, 1),))
    assert [each["name"] for each in services.value] == ["one", "two"]
    assert (services.place, services.adds_to) == ((second, 2), ((first, 3),))
    assert not services.overrides


def test_a_line_of_a_loop_overrides_nothing_and_costs_little(layout: Layout) -> None:
    text = (
        "c.Authenticator.allowed_users = {'eve'}\n"
        "for number in range(2000):\n"
        "    c.Authenticator.allowed_users = c.Authenticator.allowed_users | {f'user{number}'}\n"
    )
    file = write(layout, "10-a.py", text)
    found = settings(layout)["Authenticator.allowed_users"]
    assert len(found.value) == 2001
    assert (found.place, found.adds_to, found.overrides) == ((file, 3), ((file, 1),), ())


def test_the_setting_of_the_most_specific_class_counts_wherever_it_is(layout: Layout) -> None:
    first = write(layout, "10-a.py", "c.UnitSpawner.mem_limit = '1G'\n")
    second = write(layout, "20-b.py", "c.Spawner.mem_limit = '2G'\n")
    found = settings(layout)
    assert list(found) == ["UnitSpawner.mem_limit"]
    assert found["UnitSpawner.mem_limit"].place == (first, 1)
    assert found["UnitSpawner.mem_limit"].overrides == ((second, 1),)


def test_a_setting_of_a_class_that_is_not_chosen_has_no_effect(layout: Layout) -> None:
    write(
        layout,
        "10-a.py",
        "c.JupyterHub.spawner_class = 'simple'\nc.UnitSpawner.queue_size = 3\n",
    )
    found = settings(layout)
    assert (
        found["UnitSpawner.queue_size"].unused
        == "JupyterHub.spawner_class is SimpleLocalProcessSpawner"
    )
    assert not found["JupyterHub.spawner_class"].unused


def test_a_setting_of_our_own_hub_has_an_effect(layout: Layout) -> None:
    write(layout, "10-a.py", "c.LittlestHub.on_serving.append(print)\n")
    assert not settings(layout)["LittlestHub.on_serving"].unused


def test_what_a_fragment_appends_is_shown_with_what_it_is_appended_to(layout: Layout) -> None:
    file = write(layout, "10-a.py", "c.JupyterHub.services.append({'name': 'mine'})\n")
    found = settings(layout)["JupyterHub.services"]
    assert [each["name"] for each in found.value] == ["idle-culler", "mine"]
    assert found.place == (file, 1)


def test_what_the_release_sets_is_shown_on_request(layout: Layout) -> None:
    everything = effective_configuration(layout).changed(is_everything=True)
    found = {each.name: each for each in everything.settings}
    assert found["JupyterHub.cleanup_servers"].value is False
    assert found["JupyterHub.cleanup_servers"].place is None
    assert not settings(layout)


def test_fragments_that_fail_are_named_beside_the_settings_of_the_others(layout: Layout) -> None:
    write(layout, "10-a.py", "c.Spawner.mem_limit = '1G'\n")
    file = write(layout, "20-b.py", "\nimport no_such_module\n")
    found = effective_configuration(layout)
    assert "Spawner.mem_limit" in settings(layout)
    assert [(each.file, each.line) for each in found.problems] == [(file, 2)]


def test_secrets_are_masked_before_they_leave_the_sandbox(layout: Layout) -> None:
    secret = "cUrb-9431-flagon"
    write(
        layout,
        "10-a.py",
        f"s = {secret!r}\n"
        "c.JupyterHub.authenticator_class = 'dummy'\n"
        "c.DummyAuthenticator.password = s\n"
        "c.JupyterHub.services = [{'name': 'a', 'api_token': s, 'command': ['x', '--token', s]}]\n"
        "c.Spawner.environment = {'API_KEY': s, 'LANG': 'de', 'DB': f'mysql://bob:{s}@db/x'}\n"
        "c.JupyterHub.cookie_secret = s.encode()\n"
        "c.Spawner.args = [f'--IdentityProvider.token={s}']\n",
    )
    found = settings(layout)
    assert secret not in json.dumps([each.to_json() for each in found.values()])
    assert secret.encode().hex() not in repr(found)
    assert found["DummyAuthenticator.password"].value == REDACTED
    assert found["Spawner.environment"].value["LANG"] == "de"
    assert found["JupyterHub.services"].value[0]["command"] == ["x", "--token", REDACTED]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ratio", 0.5, 0.5),
        ("ratio", float("inf"), "inf"),
        ("users", {"b", "a"}, ["a", "b"]),
        ("cookie_secret_file", "/srv/cookie", "/srv/cookie"),
        ("icon", b"GIF", "3 bytes"),
        ("cls", Setting, "littlest_hub.check.configuration.Setting"),
        ("allow_all", True, True),
        ("password", 1234, REDACTED),
        (1, {2: None}, {"2": None}),
    ],
)
def test_a_value_is_shown_as_json_has_it(name: Any, value: Any, expected: Any) -> None:
    assert shown(str(name), value) == expected


def test_a_function_is_shown_with_its_place(layout: Layout) -> None:
    file = write(
        layout, "10-a.py", "\ndef hook(spawner):\n    pass\nc.Spawner.pre_spawn_hook = hook\n"
    )
    assert settings(layout)["Spawner.pre_spawn_hook"].value == f"function hook ({file}:2)"


def test_an_object_that_cannot_be_described_is_named_by_its_class() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Shy (RuntimeError)" in shown("x", Shy())


def test_text_names_the_lines_and_cuts_what_is_long() -> None:
    users = [f"user{number}" for number in range(1000)]
    setting = Setting("Authenticator.allowed_users", users, ("/f/20-b.py", 3))
    text = str(replace(setting, adds_to=(("/f/10-a.py", 1),)))
    assert text.startswith("Authenticator.allowed_users = ['user0', 'user1', ")
    assert "(cut, 1000 elements; --json shows it whole)" in text
    assert text.endswith("\n    /f/20-b.py:3\n    adds to /f/10-a.py:1")
