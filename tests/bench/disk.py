"""Time to put products' files on a disk: the host's disk, which all ways share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from tests.bench import install, upstream


@dataclass(frozen=True)
class Disk:
    """A way to put a product's files into a directory."""

    scratch: Path
    prepare: Callable[[Path], Callable[[Path], object]]
    """Prepare it in the scratch directory, and return a function that fills another directory."""

    @cached_property
    def _put(self) -> Callable[[Path], object]:
        return self.prepare(self.scratch)

    def seconds(self) -> float:
        """Return the seconds of one more run."""
        put, target = self._put, self.scratch / "measured/releases/measured"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            return install.timed(lambda: put(target))
        finally:
            shutil.rmtree(target, ignore_errors=True)


@contextmanager
def disk(prepare: Callable[[Path], Callable[[Path], object]]) -> Iterator[Disk]:
    """Yield one with a scratch directory that is removed at the end."""
    with install.scratch_directory() as scratch:
        yield Disk(scratch, prepare)


def installing(installer: Path, scratch: Path) -> Callable[[Path], object]:
    """Return the way of our installer."""
    return partial(install.install, installer)


def untarring(installer: Path, scratch: Path) -> Callable[[Path], object]:
    """Return the way of plain tar, with our installer's tree: the lower bound for its files."""
    tree, archive = scratch / "tree/releases/packed", scratch / "tree.tar"
    install.install(installer, tree)
    subprocess.run(["tar", "-cf", str(archive), "-C", str(tree), "."], check=True)
    shutil.rmtree(tree)
    return partial(install.untar, archive)


def pip_installing(installer: Path, scratch: Path) -> Callable[[Path], object]:
    """Return the way of pip, with local wheels of the same packages and a virtual environment."""
    release = scratch / "python/releases/python"
    install.install(installer, release)
    python, wheels = f"{release}/bin/python3", upstream.wheels()

    def put(target: Path) -> None:
        subprocess.run([python, "-I", "-m", "venv", "--without-pip", target], check=True)
        pip = upstream.pip_install(python, f"{target}/bin/python3", wheels)
        subprocess.run(pip, check=True)

    return put
