"""The configuration of `littlest-hub run`."""

from pathlib import Path

import pytest
from traitlets.config import Config

from littlest_hub.hub import config
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.foreground import _foreground, _password, _start_stacks
from littlest_hub.manifest import enabled
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.units.environment import UnitEnvironment

pytestmark = pytest.mark.unit

FRAGMENT = """\
c.JupyterHub.services.append({"name": "stats", "api_token": "x" * 32})
c.JupyterHub.load_roles.append({"name": "stats", "scopes": ["list:users"], "services": ["stats"]})
"""


def test_a_service_and_its_role_are_two_entries(tmp_path: Path) -> None:
    """Otherwise the hub would not start: the role is defined twice."""
    layout = Layout(tmp_path)
    layout.fragments.mkdir()
    (layout.fragments / "60-stats.py").write_text(FRAGMENT)
    changes = _foreground(layout, 8000, "alice", "password")
    c = config.load(layout, UnitEnvironment(), changes)
    assert [each["name"] for each in c.JupyterHub.services] == ["stats"]
    assert [each["scopes"] for each in c.JupyterHub.load_roles] == [["list:users"]]


def test_the_hub_starts_the_programs_of_stacks_in_place_of_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    enabled.write_record(layout, {"launch": EnabledStack("launch", port=15000)})
    own = {"name": "own", "url": "http://127.0.0.1:9"}
    c = Config()
    c.JupyterHub.services = [{"name": "launch", "url": "http://127.0.0.1:15000"}, own]
    monkeypatch.setenv("HERE", "yes")
    _start_stacks(c, layout, "127.0.0.1:15001", 15100)
    launch, other = c.JupyterHub.services
    assert other == own
    assert int(launch["url"].rpartition(":")[2]) >= 15100
    assert launch["command"][-2:] == [
        "littlest_hub.service",
        "littlest_hub.stacks.launch.own_computer.program",
    ]
    assert (
        launch["environment"].items()
        >= {
            "HERE": "yes",
            "LITTLEST_HUB_ADDRESS": "127.0.0.1:15001",
            "LITTLEST_HUB_SERVICE": "launch",
        }.items()
    )
    assert launch["cwd"] == str(layout.stack_data("launch"))


def test_the_password_stays_the_same_until_another_one_is_wanted(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    first, said = _password(layout, is_new=False)
    assert said == "it stays the same next time"
    assert _password(layout, is_new=False) == (first, "as last time; another: --new-password")
    assert layout.run_password.stat().st_mode & 0o777 == 0o600
    second, _ = _password(layout, is_new=True)
    assert second != first
    assert _password(layout, is_new=False)[0] == second
