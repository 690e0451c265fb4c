"""A git server for the resolver; a place, a release and an index of packages for the builder."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from littlest_hub.stacks.launch.builder import pythons
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.resolver import program
from littlest_hub.system.files import write
from tests.channel import ServedChannel, add_kernel, add_python, served
from tests.git_server import HOST, GitServer, Names
from tests.launch_site import Site, make_release
from tests.package_index import PackageIndex
from tests.unit.stacks.launch import hub_and_service

_KERNEL = {
    "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
}


@dataclass
class Setup:
    """The resolver, with settings in which this machine's own addresses are permitted."""

    directory: Path
    server: GitServer
    names: Names
    settings: dict[str, Any] = field(default_factory=dict)
    progress: list[str] = field(default_factory=list)

    @property
    def sources(self) -> Path:
        return self.directory / "sources"

    def arguments(self) -> list[str]:
        """Write the settings, and return the arguments of the program."""
        usual = {
            "policy": {"hosts": [self.server.place]},
            "networks": ["127.0.0.0/8"],
            "ca_file": str(self.server.ca_file),
        }
        file = self.directory / "settings.json"
        # Others may be reading it.
        write(file, json.dumps(usual | self.settings))
        return [*map(str, (file, self.sources, self.directory / "work", self.names.place))]

    def ask(self, name: str, ref: str = "", **more: str) -> dict[str, Any]:
        """Return the last line of the answer for a repository of the server."""
        url = name if "://" in name else self.server.url(name)
        request = {"repository": url, "ref": ref, **more}
        lines: list[dict[str, Any]] = []
        program.answer(self.arguments(), json.dumps(request).encode(), lines.append)
        *progress, last = lines
        self.progress = [each["progress"] for each in progress]
        assert [*(self.directory / "work").iterdir()] == []
        assert [*self.sources.glob(".*")] == []
        return last

    def resolved(self, name: str, ref: str = "", **more: str) -> dict[str, Any]:
        """Return what a repository is resolved to."""
        found = self.ask(name, ref, **more)
        assert "resolved" in found, found
        result: dict[str, Any] = found["resolved"]
        return result

    def refused(self, name: str, ref: str = "", **more: str) -> str:
        """Return why a repository is refused, and the hint; nothing is left of it."""
        before = {*self.sources.iterdir()}
        found = self.ask(name, ref, **more)
        assert "refused" in found, found
        assert {*self.sources.iterdir()} == before
        return f"{found['refused']}\n{found['hint']}"

    def files(self, found: dict[str, Any]) -> dict[str, str]:
        """Return the files of a repository, with what links lead to as "-> …"."""
        top = self.sources / found["directory"] / "files"
        return {
            str(each.relative_to(top)): f"-> {each.readlink()}"
            if each.is_symlink()
            else each.read_text()
            for each in sorted(top.rglob("*"))
            if each.is_symlink() or each.is_file()
        }


@pytest.fixture(scope="session")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    server = GitServer(tmp_path_factory.mktemp("git"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def setup(tmp_path: Path, git_server: GitServer) -> Setup:
    git_server.behaviors.clear()
    git_server.requests.clear()
    for name in ("sources", "work"):
        (tmp_path / name).mkdir()
    names = Names(tmp_path / "names", {HOST: [["127.0.0.1"]]})
    return Setup(tmp_path, git_server, names)


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


@contextlib.contextmanager
def stocked_index(directory: Path) -> Iterator[PackageIndex]:
    """Serve an index with a stand-in for ipykernel, which no test here starts."""
    with PackageIndex(directory) as found:
        spec = "ipykernel-7.0.data/data/share/jupyter/kernels/python3/kernel.json"
        files = {"ipykernel_launcher.py": "", spec: json.dumps(_KERNEL)}
        found.add("ipykernel", "7.0", requires=["traitlets>=5"], files=files)
        found.add("traitlets", "5.0")
        yield found


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with stocked_index(tmp_path / "index") as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, release: Path, python_copy: Path, index: PackageIndex) -> Site:
    """A place to build in, where the copy of Python is there already."""
    found = Site(tmp_path / "launch", release, index)
    subprocess.run(["cp", "-al", f"{python_copy}/.", found.place.pythons], check=True)
    return found


@pytest.fixture(scope="module")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub_and_service.Site]:
    """A hub and the service, for all tests of a module; each of them begins with `reset`."""
    with hub_and_service.running(tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[ServedChannel]:
    """A channel whose Python, 3.10, leaves a file `run` in the test's directory if it is run."""
    with served(tmp_path / "channels") as found:
        trap = f"#!/bin/sh\ntouch {tmp_path}/run\n".encode()
        files = {"bin/python3": (trap, 0o755), "lib/python3.10/os.py": (b"", 0o644)}
        add_python(found.directory, "3.10.4", files)
        add_kernel(found.directory)
        yield found


@pytest.fixture
def conda_site(site: Site, channel: ServedChannel) -> Site:
    """A place to build in, whose conda-forge is that channel."""
    site.channels = Channels({"conda-forge": channel.address})
    return site
