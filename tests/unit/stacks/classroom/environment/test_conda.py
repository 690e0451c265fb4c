"""Packages of a conda channel, installed by py-rattler beside what is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.environment import conda
from tests.channel import add_package

pytest.importorskip("rattler")


def install(prefix: Path, channel: Path, *specs: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-I", "-m", conda.__name__, "/nowhere", str(prefix)]
    return subprocess.run(
        [*words, channel.as_uri(), "--", *specs], capture_output=True, text=True, timeout=120
    )


def test_a_package_comes_with_what_it_needs_and_takes_nothing_away(tmp_path: Path) -> None:
    channel, prefix = tmp_path / "channel", tmp_path / "prefix"
    add_package(channel, "first", {"share/first": "1"})
    add_package(channel, "second", {"share/second": "2"}, ["third"])
    add_package(channel, "third", {"share/third": "3"})
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "conda-meta" / "history").touch()
    (prefix / "own").write_text("of nobody's package")
    done = install(prefix, channel, "first")
    assert done.returncode == 0, done.stderr
    done = install(prefix, channel, "second")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (prefix / "share").iterdir()} == {"first", "second", "third"}
    records = sorted(file.name for file in (prefix / "conda-meta").glob("*.json"))
    assert records == ["first-1.0-0.json", "second-1.0-0.json", "third-1.0-0.json"]
    assert (prefix / "own").exists()


def test_a_package_that_no_channel_has_is_named(tmp_path: Path) -> None:
    channel, prefix = tmp_path / "channel", tmp_path / "prefix"
    add_package(channel, "first", {"share/first": "1"})
    (prefix / "conda-meta").mkdir(parents=True)
    done = install(prefix, channel, "nothing")
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert not (prefix / "share").exists()


def test_without_the_tool_the_command_says_how_to_add_it(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError) as refused:
        conda.command(Layout(tmp_path), tmp_path, ["conda-forge"], ["r-base"])
    assert "packages add --tool py-rattler" in str(refused.value)
