"""Pythons of releases, copied to where environments use them.

Environments outlive a release, so they cannot use its Python; and the builder, which is not root,
may not make hard links to files of root's (protected_hardlinks, proc_sys_fs(5)). So there is one
copy for all environments of a release, and of each later one whose Python is the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from littlest_hub.stacks.launch.builder.place import Place
from littlest_hub.system import conda_prefix, files, locks
from littlest_hub.system.conda_prefix import Package

_NEW = ".new-"


@dataclass(frozen=True)
class Python:
    """The Python of a release."""

    release: Path
    packages: tuple[Package, ...]

    @classmethod
    def of(cls, release: Path) -> Python:
        """Return the Python of a release.

        Raises:
            LittlestHubError: the release has no record of it.
        """
        return cls(release, tuple(conda_prefix.packages(release, ["python"])))

    @property
    def version(self) -> str:
        """Its version, such as 3.13.5."""
        return self.packages[0].version

    @property
    def digest(self) -> str:
        """Name of its copy, which changes with each library that belongs to it."""
        builds = sorted(
            (each.name, each.version, each.build, each.sha256) for each in self.packages
        )
        return hashlib.sha256(json.dumps(builds).encode()).hexdigest()[:16]

    def program(self, place: Place) -> Path:
        """Return the interpreter of the copy."""
        return place.pythons / self.digest / "bin" / "python3"


def ensure(python: Python, place: Place) -> None:
    """Copy a release's Python, unless there is a copy.

    Raises:
        LittlestHubError: it cannot be copied.
    """
    prefix = place.pythons / python.digest
    if prefix.is_dir():
        return
    held = locks.hold(place.locks / python.digest, is_patient=True)
    assert held
    with held:
        if prefix.is_dir():
            return
        tree = place.pythons / f"{_NEW}{python.digest}"
        shutil.rmtree(tree, ignore_errors=True)
        conda_prefix.copy(python.release, python.packages, tree, prefix)
        tree.chmod(0o755)
        _compile(tree, prefix)
        files.flush_file_system(tree)
        tree.rename(prefix)


def _compile(tree: Path, prefix: Path) -> None:
    """Compile the modules whose bytecode was not copied, since it names the release.

    Users may not write beside them, so each start of a kernel would compile them again.
    """
    options = ["-q", "-j", "0", "-s", str(tree), "-p", str(prefix)]
    command = [str(tree / "bin" / "python3"), "-I", "-m", "compileall", *options]
    libraries = sorted(map(str, tree.glob("lib/python3.*")))
    # Some modules are no valid Python on purpose, such as data for tests.
    subprocess.run([*command, *libraries], capture_output=True)
