"""The copy of a release's Python: what belongs to it, at its new prefix."""

import json
import os
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.environment import seed

OLD, NEW = b"/opt/hub/releases/1", b"/opt/hub/environments/class"


def test_text_gets_the_new_prefix() -> None:
    assert seed.moved(b"#!%s/bin/python3\n" % OLD, OLD, NEW) == b"#!%s/bin/python3\n" % NEW


def test_a_binary_keeps_its_length_and_what_follows_a_string() -> None:
    data = b"\x7fELF\0" + OLD + b"/lib:" + OLD + b"\0" * 60 + b"other\0"
    moved = seed.moved(data, OLD, NEW)
    assert len(moved) == len(data)
    assert NEW + b"/lib:" + NEW + b"\0" in moved
    assert moved.endswith(b"\0other\0")


def test_a_binary_without_room_is_refused() -> None:
    with pytest.raises(LittlestHubError, match="no room"):
        seed.moved(b"\0" + OLD + b"\0next", OLD, NEW)


def test_what_a_package_needs_comes_with_it() -> None:
    depends = {"ipykernel": ["pyzmq >=25", "python"], "pyzmq": ["ipykernel"], "jupyterhub": []}
    assert sorted(seed.needed(["ipykernel"], depends)) == ["ipykernel", "python", "pyzmq"]


def test_only_the_kernel_is_copied_and_nothing_names_the_release(tmp_path: Path) -> None:
    release, tree = tmp_path / "releases" / "1", tmp_path / "tree"
    packages = {
        "python": (["bin/python3.13", "bin/python3", "lib/x.py", "lib/__pycache__/x.pyc"], []),
        "pip": (["bin/pip"], ["python"]),
        "ipykernel": (["lib/ipykernel.py"], ["python >=3.10"]),
        "jupyterhub": (["bin/jupyterhub"], ["python"]),
    }
    for name, (files, depends) in packages.items():
        for file in files:
            (release / file).parent.mkdir(parents=True, exist_ok=True)
            if file == "bin/python3":
                (release / file).symlink_to("python3.13")
            else:
                (release / file).write_text(f"#!{release}/bin/python3\n")
        record = {"name": name, "version": "1", "depends": depends, "files": files}
        (release / "conda-meta").mkdir(exist_ok=True)
        (release / f"conda-meta/{name}.json").write_text(json.dumps(record))
    (release / "bin/pip").chmod(0o755)
    seed.copy(release, tree, tmp_path / "class")
    assert (tree / "bin/pip").read_text() == f"#!{tmp_path}/class/bin/python3\n"
    assert os.access(tree / "bin/pip", os.X_OK)
    assert (tree / "bin/python3").readlink() == Path("python3.13")
    assert not (tree / "bin/jupyterhub").exists()
    assert not (tree / "lib/__pycache__/x.pyc").exists(), "Python compiles it again"
    assert (tree / "conda-meta/ipykernel.json").exists()
    assert not [f for f in tree.rglob("*") if f.is_file() and str(release) in f.read_text()]


def test_a_release_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LittlestHubError, match="no record of python, pip, ipykernel"):
        seed.copy(tmp_path, tmp_path / "tree", tmp_path / "class")
