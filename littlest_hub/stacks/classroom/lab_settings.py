"""Settings of JupyterLab for everybody, from a file beside the fragments.

`check` examines the file. The serving hub keeps a copy, which each server sees at the path where
JupyterLab looks for such defaults. So a file that is being edited affects no server.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from littlest_hub.layout import Layout
from littlest_hub.system.files import write
from littlest_hub.units.server import RUNTIME

FILE = "overrides.json"
"""A file beside the fragments, in the format of JupyterLab's file of this name."""
_DIRECTORY = RUNTIME / "lab"
# jupyterlab_server reads a file of this name in each directory of JUPYTER_CONFIG_PATH.
_SEEN = _DIRECTORY / "labconfig" / "default_setting_overrides.json"


def parse(text: str) -> dict[str, Any]:
    """Return the settings in a file's text, by plugin.

    Raises:
        json.JSONDecodeError: the text is no JSON; the error names the line.
        ValueError: the JSON does not contain settings.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError('expected {"PLUGIN": {"SETTING": …}}')
    for plugin, settings in found.items():
        if ":" not in plugin or not isinstance(settings, dict):
            example = '"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}'
            raise ValueError(f"{plugin!r}: expected such as {example}")
    return found


def keep(layout: Layout) -> None:
    """Copy the settings for servers that start from now on; without a file, remove the copy.

    Raises:
        OSError, ValueError: the file cannot be read; the former copy stays.
    """
    file, copy = layout.on_disk(layout.fragments) / FILE, _copy(layout)
    if not file.exists():
        copy.unlink(missing_ok=True)
        return
    write(copy, json.dumps(parse(file.read_text())), 0o644)


def properties(layout: Layout) -> dict[str, list[str]]:
    """Return the properties of a unit that show the settings to its server, if there are any."""
    copy = _copy(layout)
    if not copy.exists():
        return {}
    directories = (_DIRECTORY, _SEEN.parent)
    return {
        # Separate mounts, because systemd 247 makes directories that the account cannot enter.
        "TemporaryFileSystem": [f"{each}:ro,mode=0755,size=1M" for each in directories],
        "BindReadOnlyPaths": [f"-{copy}:{_SEEN}"],
    }


def variables(layout: Layout, present: str) -> dict[str, str]:
    """Return the variable that leads JupyterLab to the settings.

    Args:
        layout: the installation.
        present: the value of the variable so far; "": it has none.
    """
    paths = [*filter(None, (present, str(_DIRECTORY)))]
    return {"JUPYTER_CONFIG_PATH": ":".join(paths)} if _copy(layout).exists() else {}


def _copy(layout: Layout) -> Path:
    return layout.on_disk(layout.stack_hub_data("class")) / "lab-settings.json"
