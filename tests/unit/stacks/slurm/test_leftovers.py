"""Jobs that are cancelled when the stack goes."""

from pathlib import Path

import pytest
from jupyterhub import orm

from littlest_hub.hub.spawn_queue import SURVIVES
from littlest_hub.layout import Layout
from littlest_hub.stacks.slurm import leftovers
from tests.unit.stacks.slurm.test_spawner import COMMANDS

STATES = {
    "nobody": {"job": "31"},
    "games": {SURVIVES: {"job": "32", "api_token": "a-secret"}},
    "eve": {"job": "33; reboot"},
    "root": {"job": "34"},
    "sam": {"unit_name": "littlest-hub.user-sam"},
    "ida": None,
}
CANCELLED = 'echo "$@" >>cancelled'
AWAY = 'echo "Unable to contact slurm controller" >&2; exit 1'


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The layout of a hub with a server of each kind."""
    layout = Layout(tmp_path / "base")
    layout.database.parent.mkdir(parents=True)
    db = orm.new_session_factory(f"sqlite:///{layout.database}")()
    for name, state in STATES.items():
        user = orm.User(name=name)
        db.add_all([user, orm.Spawner(name="", user=user, state=state)])
    db.commit()
    return layout


def programs(directory: Path, monkeypatch: pytest.MonkeyPatch, scancel: str) -> None:
    for name, script in {"runuser": COMMANDS["runuser"], "scancel": scancel}.items():
        program = directory / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ncd {directory}\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}/bin:/usr/bin:/bin")
    # The accounts that every machine has are the system's, and stand for people's here.
    monkeypatch.setattr("littlest_hub.helpers.hooks.FIRST_UID", 1)


def test_jobs_that_run_or_wait_are_cancelled(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, CANCELLED)
    found = leftovers.elsewhere(layout)
    assert [*found.names] == ["nobody (job 31)", "games (job 32)", "root (job 34)"]
    assert found.end() == "Jobs of root may go on (34): 'root' is an account of the system"
    assert (tmp_path / "cancelled").read_text() == "--quiet 31\n--quiet 32\n"


def test_jobs_that_may_go_on_are_named(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, AWAY)
    said = leftovers.elsewhere(layout).end()
    assert said.splitlines()[1] == (
        "Jobs of games may go on (32): Unable to contact slurm controller"
    )


def test_a_hub_without_a_database_has_no_jobs(tmp_path: Path) -> None:
    assert [*leftovers.elsewhere(Layout(tmp_path)).names] == []
