"""Units stopped for good, with a program in place of systemctl."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.lifecycle.services import Services

# It stops one unit after the other. A unit that is stopped before what starts it runs again.
SYSTEMCTL = """\
#!/bin/sh
cd "$(dirname "$0")"
verb=$1; shift
case $verb in
stop)
    for unit; do
        rm -f "running/$unit"
        for kind in timer path socket; do
            starter="${unit%.service}.$kind"
            if [ "$starter" != "$unit" ] && [ -e "running/$starter" ]; then : >"running/$unit"; fi
        done
    done ;;
show)
    for last; do :; done
    if ! [ -e "running/$last" ]; then echo inactive; elif [ "$last" = once.service ]
    then echo activating; else echo active; fi ;;
esac
"""


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directory with a file for each unit that runs."""
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "running").mkdir()
    return tmp_path / "running"


@pytest.mark.parametrize("kind", ["timer", "path", "socket"])
def test_no_unit_is_stopped_before_what_would_start_it_again(running: Path, kind: str) -> None:
    units = ["a.slice", "b.service", f"b.{kind}", "c.service"]
    for each in units:
        (running / each).touch()
    Services(Layout(Path("/srv/hub"))).stop(units, ["hub.user-bob.service"])
    assert not [*running.iterdir()]


def test_a_program_that_runs_once_and_goes_on_is_named(running: Path) -> None:
    (running / "once.timer").touch()
    (running / "once.service").touch()
    with pytest.raises(LittlestHubError, match=r"once\.service cannot be stopped"):
        # Its timer belongs to somebody else.
        Services(Layout(Path("/srv/hub"))).stop(["once.service"], [])
