"""A machine with the launch stack, and the internet as launches need it: git and packages.

The machine has no network. A git server with its own certificate authority, and an index of
packages, run in its network namespace. The packages of ipykernel are those of PyPI, so kernels are
real; the others are made by the test.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from construct import bundle, wheels
from construct.builder import ROOT
from construct.cache import Cache
from littlest_hub.stacks.launch.builder.place import Place
from tests.client import Person, hidden_fields, visible_text
from tests.git_server import HOST, Repository
from tests.hub import Hub
from tests.machine import Machine
from tests.package_index import PackageIndex

PACKAGES = ("git",)
"""Debian packages that the machine needs besides."""
FRAGMENT = "65-launch.py"
PAGE = "/services/launch/"
NOTEBOOK = {
    "cells": [],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
START = json.dumps(NOTEBOOK)
"""An empty notebook."""


class LaunchMachine:
    """A hub with the stack, and what it reaches."""

    def __init__(self, hub: Hub, directory: Path, git_port: int, index: PackageIndex) -> None:
        self.hub, self.machine, self.layout = hub, hub.machine, hub.layout
        self.directory = directory
        self.git_port = git_port
        self.index = index
        self.place = Place.of(hub.layout)

    @property
    def url(self) -> str:
        """Address of the git server, with a slash at its end."""
        return f"https://{HOST}:{self.git_port}/"

    @property
    def usual(self) -> dict[str, Any]:
        """Values of the fragment that every test here needs."""
        return usual_values(self.git_port)

    def repository(self, name: str, files: Mapping[str, str]) -> Repository:
        """Make a repository with one commit."""
        made_one = Repository(self.directory / "git" / "repositories" / name)
        made_one.commit(dict(files))
        return made_one

    def wheel(self, name: str, version: str = "1.0", *requires: str, **files: str) -> None:
        """Put a wheel of a module of the same name into the index."""
        contents = {f"{key}.py": text for key, text in files.items()} or None
        self.index.add(name, version, requires=requires, files=contents)

    def opened(self, person: Person, repository: str, **form: str) -> httpx.Response:
        """Open the link that launches a repository as a server of the same name."""
        query = {"repo": f"{self.url}{repository}", "name": repository, **form}
        return person.browser.get(PAGE, params=query)

    def open_private(
        self, person: Person, repository: str, token: str, **form: str
    ) -> httpx.Response:
        """Open a private repository with a token, as a browser on this machine does."""
        query = {"repo": f"{self.url}{repository}", "name": repository, "private": "yes", **form}
        here = {"Host": "localhost"}
        page = person.browser.get(PAGE, params=query, headers=here)
        assert 'name="password"' in page.text, visible_text(page)
        typed = {**hidden_fields(page), "user": "reader", "password": token}
        return person.browser.post(PAGE, data=typed, headers=here, timeout=60)

    def launch(self, person: Person, repository: str, decision: str = "launch", **form: str) -> str:
        """Launch a repository as a server of the same name, and return the log of the launch."""
        page = self.opened(person, repository, **form)
        assert f'value="{decision}"' in page.text, visible_text(page)
        fields = {**hidden_fields(page), "decision": decision}
        done = person.browser.post(f"{PAGE}launch", data=fields, timeout=180)
        return visible_text(done)

    @contextlib.contextmanager
    def launched(
        self, person: Person, repository: str, decision: str = "launch", **form: str
    ) -> Iterator[str]:
        """Launch a repository, wait for its server, and yield the log; stop the server."""
        log = self.launch(person, repository, decision, **form)
        person.await_server(server=repository)
        try:
            yield log
        finally:
            person.stop_server(server=repository)

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `littlest-hub …` as root."""
        return self.machine.run([self.hub.path("hub/bin/littlest-hub"), *words], check=check)

    def configure(self, **values: Any) -> None:
        """Change values of the fragment as an administrator does, and reload."""
        path = str(self.layout.fragments / FRAGMENT)
        self.machine.put(path, with_values(self.machine.read(path), values))
        self.hub.reload()
        self.apply_permissions()

    def apply_permissions(self) -> None:
        """Wait until resolver and builder have what the fragment says."""
        unit = self.layout.stack_unit("launch", "-permissions.service")
        self.machine.systemctl("start", "--wait", unit)

    def built(self) -> list[str]:
        """Return the keys of all environments."""
        return self.machine.run(["ls", str(self.place.records)]).stdout.split()

    def unfinished(self) -> list[str]:
        """Return the keys of directories that are no complete environment."""
        found = self.machine.run(["ls", str(self.place.built)]).stdout.split()
        return [each for each in found if f"{each}.json" not in self.built()]


@contextlib.contextmanager
def launch_machine(
    hub: Hub,
    directory: Path,
    published: Sequence[str] = ("ipykernel",),
    values: Mapping[str, Any] | None = None,
) -> Iterator[LaunchMachine]:
    """Enable the stack on a hub whose machine has PACKAGES, and run what it reaches.

    Args:
        hub: the hub.
        directory: for repositories and wheels.
        published: packages of PyPI that the index has, with those that they need.
        values: more values of the fragment.
    """
    machine = hub.machine
    assert isinstance(machine, Machine)
    target = bundle_on(machine, directory)
    machine.run([hub.path("hub/bin/littlest-hub"), "packages", "add", f"--from={target}"])
    with internet(machine, directory, published) as (git_port, index):
        found = LaunchMachine(hub, directory, git_port, index)
        found.command("enable", "launch", "--yes")
        found.configure(**found.usual, **(values or {}))
        yield found


def bundle_on(machine: Machine, directory: Path) -> str:
    """Copy the stack's packages to a machine, and return the file's path there."""
    made_bundle = bundle.build(ROOT, bundle.find(ROOT, "launch"), directory, Cache())
    return machine.copy(made_bundle, f"/srv/{made_bundle.name}")


@contextlib.contextmanager
def internet(
    machine: Machine, directory: Path, published: Sequence[str] = ("ipykernel",)
) -> Iterator[tuple[int, PackageIndex]]:
    """Run what launches reach in a machine's network; yield the git server's port and the index."""
    index = PackageIndex(directory / "index", listening=listening_on(machine))
    for file in wheels.download(wheels.resolve(published, Cache()), Cache()).values():
        (index.files / file.path.name).hardlink_to(file.path)
    git = directory / "git"
    with serving(machine, "tests.git_server", str(git), "127.0.0.1") as git_port, index:
        machine.copy(git / "ca.pem", "/etc/git-ca.pem")
        machine.run(["sh", "-c", f"echo 127.0.0.1 {HOST} >>/etc/hosts"])
        machine.put("/etc/pip.conf", f"[global]\nindex-url = {index.address}\n")
        yield git_port, index


def usual_values(git_port: int) -> dict[str, Any]:
    """Return values of the fragment with which a machine's own git server is reached."""
    return {
        "HOSTS": [f"{HOST}:{git_port}"],
        "NETWORKS": ["127.0.0.0/8"],
        "CA_FILE": "/etc/git-ca.pem",
    }


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return a fragment with other values at its top; those that are None stay as they are."""
    lines = [
        f"{name} = {value!r}"
        if (name := line.partition(" = ")[0]) in values and (value := values[name]) is not None
        else line
        for line in text.splitlines()
    ]
    return "\n".join([*lines, ""])


@contextlib.contextmanager
def serving(machine: Machine, module: str, *arguments: str) -> Iterator[int]:
    """Run a program in the machine's network, and yield the port that it prints."""
    command = machine.in_network([sys.executable, "-m", module, *arguments])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


_LISTEN = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as there, socket.create_server(("127.0.0.1", 0)) as new:
    socket.send_fds(there, [b"x"], [new.fileno()])
"""


def listening_on(machine: Machine) -> socket.socket:
    """Return a socket that listens on the machine's loopback interface."""
    here, there = socket.socketpair()
    with here, there:
        number = there.fileno()
        command = machine.in_network([sys.executable, "-c", _LISTEN, str(number)])
        subprocess.run(command, check=True, pass_fds=[number])
        _, found, _, _ = socket.recv_fds(here, 1, 1)
    return socket.socket(fileno=found[0])
