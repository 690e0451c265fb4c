"""The packages of user servers that are not the release's: extensions of Jupyter."""

from __future__ import annotations

import os

from littlest_hub.layout import SERVER_PACKAGES, PackageSet
from littlest_hub.system import import_path


def use() -> None:
    """Let Jupyter find the packages that the hub has named, behind those of the release."""
    overlay = os.environ.get(SERVER_PACKAGES)
    if not overlay:
        return
    import_path.append_packages(overlay, PackageSet.SERVER)
    # jupyter_core searches these before it searches the release.
    _append("JUPYTER_PATH", f"{overlay}/{PackageSet.SERVER}/share/jupyter")
    _append("JUPYTER_CONFIG_PATH", f"{overlay}/{PackageSet.SERVER}/etc/jupyter")


def _append(variable: str, directory: str) -> None:
    present = [each for each in os.environ.get(variable, "").split(os.pathsep) if each]
    if directory not in present:
        os.environ[variable] = os.pathsep.join([*present, directory])
