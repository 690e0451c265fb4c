"""The copy of a release's Python: what belongs to it, at its new prefix."""

import json
import os
from pathlib import Path

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom.environment import seed


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
