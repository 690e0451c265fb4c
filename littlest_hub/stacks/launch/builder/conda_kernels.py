"""Kernels of a conda environment, which start as in a shell where it is activated.

Packages such as GDAL need the variables that their scripts in etc/conda/activate.d set, and others
look for programs on PATH. The scripts run when the kernel starts, as the person and in the server's
sandbox, like everything else of the packages; never during a build.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from littlest_hub.system import files

_OWN = "python3"
_LARGEST_BYTES = 64 << 10
# Scripts see no arguments, and may change them. Their output would be in the server's log.
_ACTIVATED = (
    'command=("$@"); set --; for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do'
    ' . "$script" > /dev/null; done; exec "${command[@]}"'
)


def write(directory: Path) -> None:
    """Write the specs of an environment's kernels.

    By rename: those of packages are one with the store and with other environments.
    """
    kernels = directory / "share" / "jupyter" / "kernels"
    own = {
        "argv": [
            str(directory / "bin" / "python"),
            *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
        ],
        "display_name": "Python 3",
        "language": "python",
        "metadata": {"debugger": True},
    }
    kernels.mkdir(parents=True, exist_ok=True)
    for each in sorted(kernels.iterdir()):
        if each.name != _OWN and (found := _spec(directory, each / "kernel.json")):
            _write(directory, each / "kernel.json", found)
    _write(directory, kernels / _OWN / "kernel.json", own)


def _spec(directory: Path, file: Path) -> dict[str, Any] | None:
    """Return a kernel spec of a package; None: it is none."""
    try:
        # Code that has been approved may have put a link there.
        if not file.resolve().is_relative_to(directory.resolve()):
            return None
        if file.stat().st_size > _LARGEST_BYTES:
            return None
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    is_spec = isinstance(found, dict) and isinstance(found.get("argv"), list) and found["argv"]
    return found if is_spec and isinstance(found.get("env", {}), dict) else None


def _write(directory: Path, file: Path, spec: dict[str, Any]) -> None:
    program, *words = map(str, spec["argv"])
    # jupyter_client would take "python" for the server's own.
    beside = directory / "bin" / program
    argv = [str(beside) if "/" not in program and beside.exists() else program, *words]
    if any(directory.glob("etc/conda/activate.d/*.sh")):
        argv = ["/bin/bash", "-c", _ACTIVATED, "kernel", *argv]
    variables = {
        "CONDA_PREFIX": str(directory),
        "CONDA_DEFAULT_ENV": str(directory),
        "CONDA_SHLVL": "1",
        # jupyter_client puts the server's in.
        "PATH": f"{directory}/bin:${{PATH}}",
    }
    text = json.dumps({**spec, "argv": argv, "env": {**spec.get("env", {}), **variables}}, indent=1)
    files.write(file, text + "\n", is_durable=False)
