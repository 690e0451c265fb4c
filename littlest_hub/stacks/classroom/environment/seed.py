"""The first generation: Python, pip and ipykernel of a release, copied to their new prefix.

The copy needs no network, and does not depend on the release afterwards.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from littlest_hub.system import conda_prefix

PACKAGES = ("python", "pip", "ipykernel")
"""Packages of the release, with what they need."""


def copy(release: Path, tree: Path, prefix: Path) -> None:
    """Copy Python, pip and ipykernel of a release.

    Args:
        release: its prefix.
        tree: the directory to make.
        prefix: the path at which the tree will be used, and which its files are to contain.

    Raises:
        LittlestHubError: the release has no record of a package, or a binary has no room.
    """
    conda_prefix.copy(release, conda_prefix.packages(release, PACKAGES), tree, prefix)
    for library in tree.glob("lib/python3.*"):
        module = library / "ensurepip"
        module.mkdir()
        (module / "__init__.py").touch()
        shutil.copyfile(Path(__file__).with_name("ensurepip.py"), module / "__main__.py")
