"""Other spawners work as fragments; the core does not depend on its default one."""

import secrets
from pathlib import Path

import pytest

from tests.client import Person, RefusedError
from tests.hub import Hub


@pytest.fixture(scope="module")
def catalogue() -> Path:
    """The repository's ready fragments."""
    return Path(__file__).parents[2] / "jupyterhub_config.d"


def test_a_hub_that_may_not_become_its_users_says_so_before_it_tries(hub: Hub) -> None:
    text = 'c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"\n'
    file = hub.write_fragment("60-mine.py", text)
    try:
        refused = hub.machine.run([hub.path("hub/bin/littlest-hub"), "check"], check=False)
    finally:
        hub.machine.run(["rm", file])
    assert refused.returncode == 1
    assert f"{file}:1: JupyterHub.spawner_class: sudo runs commands as other" in refused.stdout
    assert "`littlest-hub enable slurm`" in refused.stdout


def test_a_spawn_that_systemd_refuses_does_not_stand_in_the_way_of_the_next(hub: Hub) -> None:
    # Not in the configuration, where `check` would see it.
    mistake = """\
def set_limit(spawner):
    spawner.unit_extra_properties = {"MemoryMax": "a lot"}

c.Spawner.start_timeout = 3
c.Spawner.pre_spawn_hook = set_limit
"""
    with hub.person() as alice:
        with (
            hub.fragment("70-mistake.py", mistake),
            pytest.raises(RefusedError, match=r"systemd does not start .*MemoryMax"),
        ):
            alice.start_server()
        alice.start_server()
        assert alice.run_cell("6 * 7") == "42"


def test_a_fragment_spawns_for_people_who_are_no_system_users(hub: Hub, catalogue: Path) -> None:
    password = secrets.token_urlsafe()
    fragment = (catalogue / "40-no-system-users.py").read_text()
    with (
        hub.fragment("40-no-system-users.py", fragment.replace("CHANGE-ME", password)),
        Person(hub.url, "ada", password) as ada,
    ):
        assert hub.machine.run(["id", "ada"], check=False).returncode != 0
        ada.log_in()
        ada.start_server()
        assert ada.run_cell("6 * 7") == "42"
        ada.stop_server()
