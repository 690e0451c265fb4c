"""A place to build in, a release with this interpreter's Python, and an index of packages."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.stacks.launch import pythons
from littlest_hub.stacks.launch.place import Place
from littlest_hub.stacks.launch.pythons import Python
from tests.launch_site import Site
from tests.package_index import PackageIndex

_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "lib2to3", "site-packages", "dist-packages"}
_KERNEL = {
    "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
}


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conda prefix with the Python that runs the tests, and its record."""
    prefix = tmp_path_factory.mktemp("release") / "2026.1.0"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    base = Path(sys.base_prefix)
    library = base / "lib" / version
    files = ["bin/python3"]
    for place, directories, names in os.walk(library):
        directories[:] = [each for each in directories if each not in _LEFT_OUT]
        directory = Path(place).relative_to(base)
        (prefix / directory).mkdir(parents=True)
        for name in names:
            shutil.copy2(Path(place, name), prefix / directory / name)
            files.append(f"{directory}/{name}")
    (prefix / "bin").mkdir()
    shutil.copy2(Path(sys.executable).resolve(), prefix / "bin/python3")
    record = {
        **{"name": "python", "version": ".".join(map(str, sys.version_info[:3])), "build": "0"},
        **{"depends": ["__glibc >=2.28"], "files": files},
    }
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/python.json").write_text(json.dumps(record))
    return prefix


@pytest.fixture(scope="session")
def python_copy(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a copy of that Python, as builds make it."""
    place = Place(tmp_path_factory.mktemp("python") / "launch")
    place.make()
    pythons.ensure(Python.of(release), place)
    return place.pythons


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """An index with a stand-in for ipykernel, which no test here starts."""
    with PackageIndex(tmp_path / "index") as found:
        spec = "ipykernel-7.0.data/data/share/jupyter/kernels/python3/kernel.json"
        files = {"ipykernel_launcher.py": "", spec: json.dumps(_KERNEL)}
        found.add("ipykernel", "7.0", requires=["traitlets>=5"], files=files)
        found.add("traitlets", "5.0")
        yield found


@pytest.fixture
def site(tmp_path: Path, release: Path, python_copy: Path, index: PackageIndex) -> Site:
    """A place to build in, where the copy of Python is there already."""
    found = Site(tmp_path / "launch", release, index)
    subprocess.run(["cp", "-al", f"{python_copy}/.", found.place.pythons], check=True)
    return found
