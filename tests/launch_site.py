"""A place in which the launch stack builds, with a release and a package index.

As a program, `HOME RELEASE INDEX ID CHANNEL… < order`, it is a builder that a test may kill. Code
of the code tier has mounts and a network of its own, as in its unit.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from littlest_hub.stacks.launch.builder.conda import Conda
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.program import Builder, Result, serve
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.code import program as code_program
from littlest_hub.stacks.launch.code.approved import Code
from littlest_hub.stacks.launch.code.client import CodeTier
from littlest_hub.stacks.launch.code.proxy import place_of
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.environment.environment_files import environment
from littlest_hub.stacks.launch.order import Order, of_environment
from littlest_hub.system.pip import default_index
from littlest_hub.system.rattler import Rattler
from littlest_hub.system.uv import Indexes, Uv
from tests.package_index import PackageIndex

_LEFT_OUT = re.compile(
    "test|tests|idlelib|tkinter|turtledemo|lib2to3|pydoc_data|ensurepip|config-.*|.*-packages"
)


class Site:
    """A place to build in, and what is built there."""

    def __init__(self, home: Path, release: Path, index: PackageIndex) -> None:
        self.place = Place(home)
        self.place.make()
        self.release, self.index = release, index
        self.channels = Channels()
        self.lines: list[str] = []

    @property
    def uv(self) -> Uv:
        indexes = Indexes(default=self.index.address)
        return Uv(Path(find_uv_bin()), self.place.cache, indexes)

    @property
    def builder(self) -> Builder:
        indexes = Indexes(default=self.index.address)
        return builder_at(self.place, self.release, indexes, self.channels)

    @property
    def sources(self) -> Path:
        return _sources(self.place)

    def repository(self, files: Mapping[str, str], commit: str = "1" * 40) -> str:
        """Write the files of a repository as the resolver does; return their directory's name."""
        name = f"{commit}-{'0' * 16}"
        for path, text in files.items():
            file = self.sources / name / "files" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return name

    def order(self, files: Mapping[str, str], commit: str = "1" * 40, **more: Any) -> Order:
        """Return the order in which everything is approved that a repository asks for."""

        def read(file: str, limit_bytes: int) -> bytes:
            return files[file].encode()[:limit_bytes]

        source = self.repository(files, commit)
        python = Python.of(self.release).version
        found = environment(files, read, [python], self.channels)
        return replace(of_environment(found, read, source=source), **more)

    def launch(self, files: Mapping[str, str], **more: Any) -> Result:
        """Build what somebody has approved."""
        return self.builder.build(self.order(files, **more), self.lines.append)

    def build(self, files: Mapping[str, str], **more: Any) -> Result:
        return self.builder.build(Order(files=dict(files), **more), self.lines.append)

    def start(self, order: Order) -> subprocess.Popen[str]:
        """Build in another process, which a test may kill."""
        channels = self.channels.words
        words = [self.place.home, self.release, self.index.address, order.id, *channels]
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, words)], stdin=subprocess.PIPE, text=True
        )
        assert process.stdin
        process.stdin.write(order.canonical)
        process.stdin.close()
        return process

    def run(self, result: Result, program: str) -> str:
        """Run a program in an environment."""
        python = self.place.environment(result.key) / "bin" / "python"
        command = [str(python), "-I", "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def make_release(prefix: Path) -> Path:
    """Make a conda prefix with the Python that runs the tests, and its record; return it."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    base = Path(sys.base_prefix)
    library = base / "lib" / version
    files = ["bin/python3"]
    for place, directories, names in os.walk(library):
        directories[:] = [each for each in directories if not _LEFT_OUT.fullmatch(each)]
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


def asked(**files: str) -> dict[str, str]:
    """Return files by their names, in which "_" stands for "."."""
    return {name.replace("_", "."): text for name, text in files.items()}


def _sources(place: Place) -> Path:
    return place.home.parent / "sources"


def builder_at(
    place: Place,
    release: Path,
    indexes: Indexes,
    channels: Channels,
    program: str = sys.executable,
) -> Builder:
    """Return a builder that runs approved code.

    Args:
        place: where; the sources of repositories are beside it.
        release: the prefix whose Python environments get.
        indexes: where packages come from.
        channels: where those of conda come from.
        program: the Python that runs the program of the code tier.
    """
    uv, python = Uv(Path(find_uv_bin()), place.cache, indexes), Python.of(release)
    index = indexes.default or default_index()
    trusted = [found] if (found := place_of(index)) else []
    tier = CodeTier(place, [lambda: _code_unit(place, program)], trusted)
    sources = _sources(place)
    code = Code(tier, python.program(place), index, sources, indexes.authorities)
    conda = Conda(uv, python.program(place), Rattler(place.packages), channels)
    return Builder(place, uv, python, code, conda)


def _code_unit(place: Place, program: str) -> socket.socket:
    """Return a connection to the program of the code tier, with mounts and network of its own."""
    ours, theirs = socket.socketpair()
    script = 'mount -t tmpfs code "$1" && ip link set lo up && exec "$2" -m "$3" "$1"'
    words = [str(place.built), program, code_program.MODULE]
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "--net"]
    with theirs:
        subprocess.Popen(
            [*namespaces, "sh", "-c", script, "sh", *words],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    return ours


def _main() -> None:
    home, release, index, name, *channels = sys.argv[1:]
    place = Place(Path(home))
    place.make()
    indexes = Indexes(default=index)
    builder = builder_at(place, Path(release), indexes, Channels.of_words(channels))
    sys.exit(serve(lambda: builder, place, name, sys.stdin.read()))


if __name__ == "__main__":
    _main()
