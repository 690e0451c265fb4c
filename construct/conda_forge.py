"""The installer built from conda-forge: upstream's constructor reads the same definition.

Our own package is not on conda-forge yet. rattler-build therefore builds it first, from
``recipe/littlest-hub``, into a channel that is used in addition to conda-forge.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from littlest_hub.errors import LittlestHubError

PROGRAMS = ("rattler-build", "constructor")


def commands(root: Path, channel: Path, output: Path) -> list[list[str]]:
    """Return the commands, in order."""
    recipe = root / "recipe" / "littlest-hub" / "recipe.yaml"
    return [
        [
            *("rattler-build", "build", "--recipe", str(recipe), "--output-dir", str(channel)),
            *("--channel", "conda-forge"),
        ],
        ["constructor", str(root), "--output-dir", str(output)],
    ]


def environment(channel: Path, caller: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment variables of the commands.

    Constructor runs conda to create the environment of environment.yml. conda searches the channels
    named there, and then those of ``CONDA_CHANNELS`` (conda/env/installers/conda.py).
    """
    return {**caller, "CONDA_CHANNELS": channel.as_uri()}


def build(root: Path, output: Path) -> Path:
    """Build with upstream's constructor, which needs conda-forge. Return the installer's path.

    Raise LittlestHubError if a program is missing or fails.
    """
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise LittlestHubError(
            f"not installed: {', '.join(missing)}",
            "with conda or micromamba: create -n build -c conda-forge constructor rattler-build",
        )
    output.mkdir(parents=True, exist_ok=True)
    channel = root / "build" / "channel"
    for command in commands(root, channel, output):
        done = subprocess.run(command, env=environment(channel), check=False)
        if done.returncode != 0:
            raise LittlestHubError(f"failed with {done.returncode}: {' '.join(command)}")
    made = sorted(output.glob("*.sh"), key=lambda path: path.stat().st_mtime)
    if not made:
        raise LittlestHubError(f"constructor wrote no .sh into {output}")
    return made[-1]
