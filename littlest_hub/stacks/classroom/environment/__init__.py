"""One environment for all kernels of a class: a conda prefix that administrators change.

Each change makes a new generation in `BASE/environments/.class/NUMBER`. The link
`BASE/environments/class` leads to the present generation. See docs/how-to/class-environment.md.
"""

from __future__ import annotations

from typing import Any

from littlest_hub import installation
from littlest_hub.stacks.classroom.environment.place import Place


def configure(c: Any) -> None:
    """Let terminals and kernels of all user servers find the environment first.

    The servers themselves run from the release, and start even without the environment.
    """
    place = Place.of(installation.of_this_release())
    programs = [str(place.programs), str(place.link / "bin")]
    c.UnitSpawner.extra_paths.extend(programs)
    # Before the directories of users: their own kernel specs cannot replace the environment's.
    kernels = ":".join(map(str, place.kernels))
    c.Spawner.environment.update({"JUPYTER_PATH": kernels})
