"""A place in which the launch stack builds, with a release and a package index.

As a program, `HOME RELEASE INDEX ID CHANNEL… < order`, it is a builder that a test may kill.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from littlest_hub.stacks.launch.builder.build import Tools
from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.stacks.launch.builder.program import Builder, Result, serve
from littlest_hub.stacks.launch.builder.pythons import Python
from littlest_hub.stacks.launch.environment.channels import Channels
from littlest_hub.stacks.launch.order import Order
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
        return _uv(self.place, self.index.address)

    @property
    def builder(self) -> Builder:
        return Builder(self.place, self.tools)

    @property
    def tools(self) -> Tools:
        return Tools(self.uv, Python.of(self.release), Rattler(self.place.packages), self.channels)

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


def _uv(place: Place, index: str) -> Uv:
    return Uv(Path(find_uv_bin()), place.cache, Indexes(default=index))


def _main() -> None:
    home, release, index, name, *channels = sys.argv[1:]
    place = Place(Path(home))
    place.make()
    python, rattler = Python.of(Path(release)), Rattler(place.packages)
    tools = Tools(_uv(place, index), python, rattler, Channels.of_words(channels))
    builder = Builder(place, tools)
    sys.exit(serve(lambda: builder, place, name, sys.stdin.read()))


if __name__ == "__main__":
    _main()
