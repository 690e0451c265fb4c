"""Directories and units that a killed check leaves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from littlest_hub.check.trial_directory import remove_trials, trial_directory
from littlest_hub.layout import Layout

pytestmark = pytest.mark.unit
REPOSITORY = Path(__file__).parents[3]
BASE = "/opt/physics"
KILLED = """
import os, signal, sys
from pathlib import Path
from littlest_hub.check.trial_directory import trial_directory
from littlest_hub.layout import Layout
with trial_directory(Layout(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] or None)) as name:
    (name / "request").touch()
    print(name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a systemctl in place that writes down its arguments."""
    program, file = tmp_path / "bin/systemctl", tmp_path / "calls"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{file}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    file.touch()
    return file


def killed(layout: Layout) -> Path:
    """Kill a check, and return its directory."""
    command = [sys.executable, "-c", KILLED, *map(str, layout[:2]), layout.hub_user or ""]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    return Path(said.stdout.strip())


@pytest.mark.parametrize("user", [None, "lhub-physics"])
def test_the_next_check_removes_what_a_killed_one_has_left(
    tmp_path: Path, calls: Path, user: str | None
) -> None:
    layout = Layout(Path(BASE), tmp_path, user)
    layout.on_disk(layout.run_directory).mkdir(parents=True)
    left = killed(layout)
    assert left.is_dir()
    assert left.name.startswith("littlest-hub-physics.")
    with trial_directory(layout) as one:
        os.utime(one, (0, 0))
        assert not left.exists()
        assert f"stop {left.name}.service" in calls.read_text()
        with trial_directory(layout):
            assert one.is_dir(), "a check that runs keeps its directory"
    assert f"stop {one.name}.service" not in calls.read_text()


def test_uninstalling_removes_links_whose_directory_is_gone_and_no_other_hubs(
    tmp_path: Path, calls: Path
) -> None:
    layout, other = (Layout(Path(base), tmp_path) for base in (BASE, f"{BASE}-2"))
    links = tmp_path / "run/systemd/system"
    links.mkdir(parents=True)
    for each in (layout, other):
        each.on_disk(each.run_directory).mkdir()
    gone, kept = killed(layout), killed(other)
    for directory in (gone, kept):
        (links / f"{directory.name}.service").symlink_to(directory / f"{directory.name}.service")
    shutil.rmtree(gone)
    remove_trials(layout)
    assert f"disable --runtime --no-reload --quiet {gone.name}.service" in calls.read_text()
    assert [link.stem for link in links.iterdir()] == [kept.name]
    assert kept.is_dir()
    assert kept.name not in calls.read_text()
