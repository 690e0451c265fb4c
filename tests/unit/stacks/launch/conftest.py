"""A place to build in, a release with this interpreter's Python, and an index of packages."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlest_hub.stacks.launch import pythons
from littlest_hub.stacks.launch.place import Place
from littlest_hub.stacks.launch.pythons import Python
from tests.launch_site import Site, make_release
from tests.package_index import PackageIndex

_KERNEL = {
    "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
}


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conda prefix with the Python that runs the tests, and its record."""
    return make_release(tmp_path_factory.mktemp("release") / "2026.1.0")


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
