"""Wheels made for tests."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SCRIPT = "static/remoteEntry.0123.js"
"""The program of a labextension, as JupyterLab's builder names it."""


def make(
    directory: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    entry_points: str = "",
    licence: str = "",
) -> Path:
    """Make a wheel and return it.

    Args:
        directory: where to put it.
        name: the package's name.
        version: its version.
        files: contents by name; None: a module named after the package.
        requires: what it needs.
        entry_points: text of entry_points.txt.
        licence: text of its licence.
    """
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    contents = {
        **({f"{module}.py": f"VERSION = {version!r}\n"} if files is None else files),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/top_level.txt": f"{module}\n",
    }
    if licence:
        contents[f"{info}/licenses/LICENSE"] = licence
    if entry_points:
        contents[f"{info}/entry_points.txt"] = entry_points
    record = f"{info}/RECORD"
    contents[record] = "".join(f"{each},,\n" for each in (*contents, record))
    directory.mkdir(parents=True, exist_ok=True)
    wheel = directory / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in contents.items():
            archive.writestr(zipfile.ZipInfo(file), text)
    return wheel


def labextension(directory: Path, name: str) -> Path:
    """Make the wheel of a labextension, as JupyterLab's builder writes it, and return the wheel."""
    build = {"load": SCRIPT, "extension": "./extension"}
    description = {"name": name, "version": "1.0.0", "jupyterlab": {"_build": build}}
    place = f"{name}-1.0.data/data/share/jupyter/labextensions/{name}"
    files = {
        f"{name}.py": "",
        f"{place}/package.json": json.dumps(description),
        f"{place}/{SCRIPT}": f"// of {name}\n",
    }
    return make(directory, name, files=files)


def release(prefix: Path) -> Path:
    """Make the parts of a release that wheels are compared with, and return its prefix."""
    site_packages = prefix / "lib/python3.13/site-packages"
    info = site_packages / "own-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[jupyterhub.authenticators]\npam = own:Pam\n")
    (site_packages / "own").mkdir()
    (site_packages / "own/__init__.py").write_text("")
    (site_packages / "shared").mkdir()
    (site_packages / "shared/part.py").write_text("")
    advisories = prefix / "share/littlest-hub/advisories.json"
    advisories.parent.mkdir(parents=True)
    advisories.write_text('{"newest": "2026-01-02", "advisories": []}\n')
    settings = prefix / "etc/jupyter/jupyter_server_config.d/own.json"
    settings.parent.mkdir(parents=True)
    settings.write_text("{}")
    return prefix
