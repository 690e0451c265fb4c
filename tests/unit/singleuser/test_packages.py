"""Extensions of Jupyter that are not the release's, as a user server finds them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
from littlest_hub.singleuser import packages
packages.use()
packages.use()
names = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH")
print(json.dumps({"path": sys.path, **{name: os.environ.get(name) for name in names}}))
"""


def run(**environment: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_packages_come_last_and_what_was_set_stays_first(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    found = run(LITTLEST_HUB_PACKAGES=str(tmp_path), JUPYTER_PATH="/srv/kernels")
    path = found["path"]
    assert isinstance(path, list)
    assert path[-1] == f"{tmp_path}/server"
    assert found["JUPYTER_PATH"] == f"/srv/kernels:{tmp_path}/server/share/jupyter"
    assert found["JUPYTER_CONFIG_PATH"] == f"{tmp_path}/server/etc/jupyter"


@pytest.mark.parametrize("name", ["", "/nowhere/at/all"])
def test_without_packages_nothing_is_imported_from_elsewhere(name: str) -> None:
    path = run(LITTLEST_HUB_PACKAGES=name)["path"]
    assert isinstance(path, list)
    assert not any("nowhere" in each for each in path)
