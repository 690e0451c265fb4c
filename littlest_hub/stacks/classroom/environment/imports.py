"""Sources of `environment import`: a list of requirements, at a path or an address, or a bundle."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from littlest_hub.errors import LittlestHubError
from littlest_hub.packages import source as bundles
from littlest_hub.system import files


@dataclass(frozen=True)
class Import:
    """The arguments with which pip installs a source."""

    arguments: Sequence[str]
    """Arguments of `pip install`."""
    modules: Sequence[str] = ()
    """Modules that have to work from then on."""


@contextlib.contextmanager
def opened(source: str) -> Iterator[Import]:
    """Yield the installation of a source, which is a path or an address.

    Raises:
        LittlestHubError: pip cannot install the source.
    """
    if source.startswith(("https://", "http://")):
        yield Import(["--requirement", source])
        return
    file = Path(source).absolute()
    if file.suffix in (".yml", ".yaml"):
        raise LittlestHubError(
            f"{file.name} is a list for conda", "Write a requirements.txt: one NAME on each line"
        )
    if not file.is_file():
        raise LittlestHubError(f"{file} does not exist")
    if file.suffix != ".tar":
        _refuse_what_is_no_text(file)
        yield Import(["--requirement", str(file)])
        return
    with bundles.opened(file) as bundle, tempfile.TemporaryDirectory() as scratch:
        if bundle.lock is None or bundle.directory is None:
            raise LittlestHubError(f"{file} has no list of its wheels", "Make it with our builder")
        pinned = Path(scratch) / "requirements.txt"
        wheels = [wheel for each in bundle.lock.wheels.values() for wheel in each]
        pinned.write_text(
            "".join(f"{e.name}=={e.version} --hash=sha256:{e.sha256}\n" for e in wheels)
        )
        options = ["--no-index", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        place = [f"--find-links={bundle.directory}", f"--requirement={pinned}"]
        asked = [text for each in bundle.lock.requested.values() for text in each]
        names = [Requirement(text).name.replace("-", "_") for text in asked]
        yield Import([*options, *place], [name for name in names if name.isidentifier()])


def _refuse_what_is_no_text(file: Path) -> None:
    with file.open("rb") as content:
        start = content.read(1 << 16)
    # A character may be cut off at the end.
    if b"\0" in start or len(start.decode(errors="ignore").encode()) < len(start) - 3:
        raise LittlestHubError(
            f"{file} is no list of requirements",
            "Expected a text with one NAME on each line, or a bundle, whose name ends in .tar",
        )


def list_modules(file: Path, modules: Sequence[str]) -> None:
    """Add modules to the list of modules that have to work."""
    text = file.read_text()
    new = [name for name in modules if name not in text.split()]
    if new:
        files.write(file, text + "".join(f"{name}\n" for name in new))
