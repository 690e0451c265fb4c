"""The generated fragments are fragments, and they cover every setting."""

import ast

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from tests.fuzz import pieces
from tests.fuzz.pieces import Piece

QUICK = settings(
    database=None,
    derandomize=True,
    max_examples=2000,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@given(pieces.fragments())
@settings(database=None, derandomize=True, deadline=None)
def test_each_fragment_is_python_and_names_no_setting_twice(fragment: list[Piece]) -> None:
    for piece in fragment:
        ast.parse(piece.text)
    assert len({piece.about for piece in fragment}) == len(fragment)


def test_every_setting_that_a_fragment_may_have_gets_values() -> None:
    for about, name, trait in pieces.SETTINGS:
        value = find(pieces.values_of(name, trait), lambda _: True, settings=QUICK)
        assert value == pieces.FUNCTION or ast.parse(value, mode="eval"), about


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("c.JupyterHub.hub_ip", "'0.0.0.0'"),
        ("c.JupyterHub.pid_file", "'/run/"),
        ("c.JupyterHub.logo_file", "/home/grader"),
        ("c.Spawner.args", "{'a'"),
        ("c.SystemdSpawner.user_workingdir", "{x}"),
        ("c.SystemdSpawner.unit_extra_properties", "'Environment': '{"),
        ("c.Spawner.pre_spawn_hook", pieces.FUNCTION),
        ("c.LocalAuthenticator.create_system_users", "True"),
    ],
)
def test_values_of_the_kinds_in_which_administrators_have_found_trouble_are_generated(
    setting: str, part: str
) -> None:
    name, trait = next((name, trait) for about, name, trait in pieces.SETTINGS if about == setting)
    find(pieces.values_of(name, trait), lambda value: part in value, settings=QUICK)


@pytest.mark.parametrize(
    "part", ["'user': 'grader'", "'cwd': '/home/grader'", "echo x >/srv/", "0.0.0.0", "'url': "]
)
def test_services_have_the_fields_that_may_fail(part: str) -> None:
    find(pieces.services(), lambda piece: part in piece.text, settings=QUICK)


@pytest.mark.parametrize("part", ["Environment=", "EnvironmentFile=/", "LoadCredential="])
def test_code_reads_what_drop_ins_set(part: str) -> None:
    find(pieces.readings(), lambda piece: piece.drop_in.startswith(part), settings=QUICK)
