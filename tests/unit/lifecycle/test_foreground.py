"""The configuration of `littlest-hub run`."""

from pathlib import Path

import pytest

from littlest_hub.hub import config
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.foreground import _foreground, _password
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
