"""Packages of a conda channel, installed by py-rattler beside what is there."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom.environment import conda

pytest.importorskip("rattler")


def make_package(channel: Path, name: str, files: dict[str, str], depends: list[str]) -> None:
    """Add a package to a channel."""
    index = {
        **{"name": name, "version": "1.0", "build": "0", "build_number": 0},
        **{"depends": depends, "subdir": "noarch", "noarch": "generic"},
    }
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "size_in_bytes": len(text),
        }
        for path, text in files.items()
    ]
    contents = {
        **files,
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "\n".join(files),
    }
    subdir = channel / "noarch"
    subdir.mkdir(parents=True, exist_ok=True)
    file = subdir / f"{name}-1.0-0.tar.bz2"
    with tarfile.open(file, "w:bz2") as archive:
        for path, text in contents.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    repodata = subdir / "repodata.json"
    known = json.loads(repodata.read_text())["packages"] if repodata.exists() else {}
    data = file.read_bytes()
    entry = {**index, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    record = {"info": {"subdir": "noarch"}, "packages": {**known, file.name: entry}}
    repodata.write_text(json.dumps({**record, "packages.conda": {}}))
    (channel / "linux-64").mkdir(exist_ok=True)
    empty = {"info": {"subdir": "linux-64"}, "packages": {}, "packages.conda": {}}
    (channel / "linux-64" / "repodata.json").write_text(json.dumps(empty))


def install(prefix: Path, channel: Path, *specs: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-I", "-m", conda.__name__, "/nowhere", str(prefix)]
    return subprocess.run(
        [*words, channel.as_uri(), "--", *specs], capture_output=True, text=True, timeout=120
    )


def test_a_package_comes_with_what_it_needs_and_takes_nothing_away(tmp_path: Path) -> None:
    channel, prefix = tmp_path / "channel", tmp_path / "prefix"
    make_package(channel, "first", {"share/first": "1"}, [])
    make_package(channel, "second", {"share/second": "2"}, ["third"])
    make_package(channel, "third", {"share/third": "3"}, [])
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
    make_package(channel, "first", {"share/first": "1"}, [])
    (prefix / "conda-meta").mkdir(parents=True)
    done = install(prefix, channel, "nothing")
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert not (prefix / "share").exists()


def test_without_the_tool_the_command_says_how_to_add_it(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError) as refused:
        conda.command(Layout(tmp_path), tmp_path, ["conda-forge"], ["r-base"])
    assert "packages add --tool py-rattler" in str(refused.value)
