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


@given(pieces.fragments_together(4))
@settings(database=None, derandomize=True, deadline=None)
def test_fragments_are_python_and_together_name_no_setting_twice(
    fragments: list[list[Piece]],
) -> None:
    assert len(fragments) == 4
    found = [piece for fragment in fragments for piece in fragment]
    for piece in found:
        ast.parse(piece.text)
    assert len({piece.about for piece in found}) == len(found)


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


@pytest.mark.parametrize("part", ["'/home', 'grader').exists", "mkdir(", "'runuser'"])
def test_hooks_do_what_only_root_may_do(part: str) -> None:
    find(pieces.hooks("pre_spawn_hook"), lambda piece: part in piece.text, settings=QUICK)


def test_the_kernel_may_listen_for_ipv4_separately() -> None:
    find(pieces.sysctls(), lambda piece: piece.sysctl == "net.ipv6.bindv6only=1", settings=QUICK)


@pytest.mark.parametrize("part", ["Environment=", "EnvironmentFile=/", "LoadCredential="])
def test_code_reads_what_drop_ins_set(part: str) -> None:
    find(pieces.readings(), lambda piece: piece.drop_in.startswith(part), settings=QUICK)
